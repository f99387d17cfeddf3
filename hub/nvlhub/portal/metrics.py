"""What Prometheus reads, under ``/services/portal/metrics``: totals only, no names of users or projects."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from nvlhub.desk import Desk
from nvlhub.flow.awarding import RequestState
from nvlhub.flow.lease import FINAL
from nvlhub.portal.counts import Counts
from nvlhub.store.totals import Totals, totals
from nvlhub.wire import State

logger = logging.getLogger(__name__)

SUMMED_EVERY = 15.0
"""Seconds for which sums over the database are shown: anybody may ask for the metrics, as often as they like."""


class Metrics(Collector):
    """Reads the board when asked, and the database now and then; what is counted elsewhere is in `counts`.

    `tick` is the longest time, in seconds, between two turns of the run loop.
    """

    def __init__(self, desk: Desk, counts: Counts, tick: float) -> None:
        self._desk = desk
        self._counts = counts
        self._tick = tick
        self._lock = threading.Lock()
        self._totals: Totals | None = None
        self._summed = float("-inf")
        counts.registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: being registered reads nothing yet."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges. Every value of a label is listed, so that a series exists before it is needed."""
        yield from self._board()
        yield from self._loop()
        yield from self._proof()
        found = self._sums()
        if found is not None:
            yield from _of_database(found)

    def _board(self) -> Iterator[GaugeMetricFamily]:
        board = self._desk.board
        by_state = dict.fromkeys((state for state in State if state not in FINAL), 0)
        for lease in board.leases.values():
            by_state[lease.state] += 1
        yield _gauge("nvlhub_leases", "Leases by state", ["state"], (([state], n) for state, n in by_state.items()))
        in_service = sum(domain.free_gpus for domain in board.capacity)
        free = sum(domain.free_gpus for domain in board.domains)
        installed = sum(domain.size for domain in board.capacity)
        outside = sum(map(len, board.outside.values()))
        by_use = (("installed", installed), ("in_service", in_service), ("free", free), ("outside", outside))
        pool = self._desk.pool
        yield _gauge("nvlhub_gpus", "GPUs of the pool", ["pool", "state"], (([pool, state], n) for state, n in by_use))
        yield GaugeMetricFamily("nvlhub_queue_length", "Leases waiting for room", value=len(board.waiting))
        yield GaugeMetricFamily("nvlhub_engine_away", "Whether the engine does not answer", value=board.away)
        yield GaugeMetricFamily(
            "nvlhub_board_age_seconds",
            "Age of the run loop's last change",
            value=max(0, self._desk.clock.now() - board.at),
        )

    def _loop(self) -> Iterator[GaugeMetricFamily]:
        late = max(0.0, time.monotonic() - self._counts.turned_at - self._tick)
        yield GaugeMetricFamily("nvlhub_run_loop_lag_seconds", "How long a turn of the run loop is overdue", value=late)

    def _proof(self) -> Iterator[GaugeMetricFamily]:
        if self._counts.proof is not None:
            at, ok = self._counts.proof
            yield GaugeMetricFamily(
                "nvlhub_ledger_verified_ok", "Whether the ledger was right when last verified", value=ok
            )
            yield GaugeMetricFamily(
                "nvlhub_ledger_verified_timestamp_seconds", "When the ledger was last verified", value=at
            )

    def _sums(self) -> Totals | None:
        """Return the sums, or None where the database does not answer: the rest is worth reading without them."""
        with self._lock:
            if time.monotonic() - self._summed >= SUMMED_EVERY:
                self._totals = None
                try:
                    with self._desk.store.reading() as unit:
                        self._totals = totals(unit, self._desk.clock.now())
                except SQLAlchemyError:
                    logger.exception("the sums of the metrics could not be read")
                self._summed = time.monotonic()
            return self._totals

    def routes(self, prefix: str) -> APIRouter:
        """Return the route."""
        router = APIRouter(include_in_schema=False)

        def metrics() -> Response:
            return Response(generate_latest(self._counts.registry), media_type=CONTENT_TYPE_LATEST)

        router.add_api_route(f"{prefix}metrics", metrics, methods=["GET"])
        return router


def _of_database(found: Totals) -> Iterator[GaugeMetricFamily]:
    yield _gauge("nvlhub_capacity_gpus", "GPUs by what was said of them", ["pool", "kind"], found.capacity.items())
    left = found.awarded - found.charged - found.held
    amounts = (("awarded", found.awarded), ("charged", found.charged), ("held", found.held), ("left", left))
    yield _gauge(
        "nvlhub_awards_milli_gpu_seconds", "All awards together", ["amount"], (([name], n) for name, n in amounts)
    )
    yield GaugeMetricFamily(
        "nvlhub_budgets_left_milli_gpu_seconds", "What programmes can still award", value=found.budgets_left
    )
    by_state = (([state.value], found.requests.get(state, 0)) for state in RequestState)
    yield _gauge("nvlhub_requests", "Requests for awards by state", ["state"], by_state)
    yield GaugeMetricFamily(
        "nvlhub_differences_open", "Differences from the engine's records", value=found.differences_open
    )
    yield GaugeMetricFamily("nvlhub_audit_lines", "Lines of the audit trail", value=found.audit_lines)


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:  # fmt: skip
    made = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values:
        made.add_metric(label, value)
    return made
