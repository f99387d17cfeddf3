"""What NVIDIA's DCGM exporter measures, read from a Prometheus: who holds a GPU is found by node and index.

A portal whose Prometheus is slow, half there or talks rubbish goes on without: that is logged once, and once more when it
is well again.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from nvlhub.board import Board
from nvlhub.flow.lease import Lease
from nvlhub.flow.series import MIB
from nvlhub.telemetry import Telemetry
from nvlhub.trust import trusted
from nvlhub.wire import GpuSample, State

logger = logging.getLogger(__name__)

EVERY = 15.0
"""Seconds between two looks."""
WITHIN = 5.0
"""Seconds that an answer may take, all of it."""
LARGEST = 32 * 1024 * 1024
"""Bytes of an answer that are read: 10,008 GPUs need a fifth of it."""
BUSY, USED, FREE = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"

Gpu = tuple[str, int]
"""Name of a node, index of a GPU in it."""


class DcgmError(Exception):
    """The answer cannot be used; the text says why."""


class Dcgm:
    """Reads a Prometheus now and then, in a thread of its own; without an address it does nothing."""

    def __init__(
        self, telemetry: Telemetry, board: Callable[[], Board], url: str, node: str, *, within: float = WITHIN
    ) -> None:
        self._telemetry = telemetry
        self._board = board
        self._url = url.rstrip("/")
        self._node = node
        self._within = within
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        """Start to look."""
        if self._url:
            self._thread = threading.Thread(target=self._loop, name="dcgm", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1)
            self._thread = None

    def _loop(self) -> None:
        while not self._ended.wait(EVERY):
            self.look()

    def look(self) -> bool:
        """Look once; return whether there was an answer that could be used."""
        try:
            with httpx.Client(timeout=self._within, verify=trusted()) as http:
                busy, used, free = (self._ask(http, metric) for metric in (BUSY, USED, FREE))
            self._tell(busy, used, free)
        except Exception as error:  # noqa: BLE001  # whatever it was: no lease may suffer from a figure that is missing
            if not self._failing:
                why = str(error) or type(error).__name__
                logger.warning("%s does not tell what GPUs do (%s); going on without, and trying again", self._url, why)
            self._failing = True
            return False
        if self._failing:
            logger.warning("%s tells again what GPUs do", self._url)
        self._failing = False
        return True

    def _ask(self, http: httpx.Client, metric: str) -> dict[Gpu, float]:
        until = time.monotonic() + self._within
        body = bytearray()
        with http.stream("GET", f"{self._url}/api/v1/query", params={"query": metric}) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise DcgmError(f"more than {LARGEST} bytes")
                if time.monotonic() > until:
                    raise DcgmError(f"slower than {self._within:g} s")
            if not response.is_success:
                raise DcgmError(f"status {response.status_code}")
        return dict(_values(body))

    def _tell(self, busy: Mapping[Gpu, float], used: Mapping[Gpu, float], free: Mapping[Gpu, float]) -> None:
        for lease in list(self._board().leases.values()):
            if lease.state is State.RUNNING:
                sample = {
                    place: _sample(busy[gpu], used.get(gpu, 0), free.get(gpu, 0))
                    for place, gpu in enumerate(self._gpus(lease))
                    if gpu in busy
                }
                if sample:
                    self._telemetry.take(lease, sample, real=True, site=True)

    def _gpus(self, lease: Lease) -> Iterator[Gpu]:
        for share in lease.placement:
            node = self._node.format(domain=share.domain, tray=share.tray)
            for gpu in share.gpus:
                yield node, gpu


def _sample(busy: float, used: float, free: float) -> GpuSample:
    used, free = (min(max(0.0, amount), 2.0**24) for amount in (used, free))
    return GpuSample(
        busy=round(min(100.0, max(0.0, busy))), memory=int(used) * MIB, memory_total=int(used + free) * MIB
    )  # fmt: skip


def _values(body: bytes | bytearray) -> Iterator[tuple[Gpu, float]]:
    """Yield the values of an answer of Prometheus by GPU; single ones that make no sense are left out.

    Raises `DcgmError` for what is no answer at all.
    """
    try:
        answer: Any = json.loads(body)
        rows = answer["data"]["result"]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise DcgmError("no answer of a Prometheus") from None
    if answer.get("status") != "success" or not isinstance(rows, list):
        raise DcgmError("no answer of a Prometheus")
    for row in rows:
        try:
            labels, value = row["metric"], float(row["value"][1])
            gpu = (str(labels["Hostname"]), int(labels["gpu"]))
        except (ValueError, TypeError, LookupError):
            continue
        if math.isfinite(value):
            yield gpu, value
