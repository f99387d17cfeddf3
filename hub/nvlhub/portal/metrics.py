"""What Prometheus reads, under ``/services/portal/metrics``: totals only, no names of users or projects."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nvlhub.desk import Desk
from nvlhub.flow.lease import FINAL
from nvlhub.wire import State


class Metrics(Collector):
    """Reads the board when asked."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges. Every state that holds something is listed, so that a series exists before it is needed."""
        board = self._desk.board
        by_state = dict.fromkeys((state for state in State if state not in FINAL), 0)
        for lease in board.leases.values():
            by_state[lease.state] += 1
        leases = GaugeMetricFamily("nvlhub_leases", "Leases by state", labels=["state"])
        for state, count in by_state.items():
            leases.add_metric([state.value], count)
        yield leases
        in_service = sum(domain.free_gpus for domain in board.capacity)
        free = sum(domain.free_gpus for domain in board.domains)
        installed = sum(domain.size for domain in board.capacity)
        gpus = GaugeMetricFamily("nvlhub_gpus", "GPUs of the pool", labels=["pool", "state"])
        for name, value in (("installed", installed), ("in_service", in_service), ("free", free)):
            gpus.add_metric([self._desk.pool, name], value)
        yield gpus
        yield GaugeMetricFamily("nvlhub_queue_length", "Leases waiting for room", value=len(board.waiting))
        yield GaugeMetricFamily(
            "nvlhub_board_age_seconds",
            "Age of the run loop's last change",
            value=max(0, self._desk.clock.now() - board.at),
        )

    def routes(self, prefix: str) -> APIRouter:
        """Return the route."""
        router = APIRouter(include_in_schema=False)

        def metrics() -> Response:
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

        router.add_api_route(f"{prefix}metrics", metrics, methods=["GET"])
        return router
