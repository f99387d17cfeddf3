"""What the GPUs of this kernel do now; without a GPU what its process does, and it says so."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nvlhub.text import say
from nvlkernels.client import spoken
from nvlkernels.telemetry import PER_GB, Measured, measure
from nvlwidgets.asking import UnreadError
from nvlwidgets.feed import HERE, Feed, Topic
from nvlwidgets.live import Live

EVERY = 2.0


@dataclass
class _Process:
    """CPU seconds that were used by this process at the last look, and when that was."""

    used: float
    at: float

    def busy(self) -> float:
        """Return per cent of one CPU core since the last look."""
        used, at = time.process_time(), time.monotonic()
        share = 100 * (used - self.used) / max(0.001, at - self.at)
        self.used, self.at = used, at
        return max(0.0, share)


_HERE = _Process(time.process_time(), time.monotonic())


def _now() -> list[Measured]:
    """Measure the GPUs of this process's lease; where none is real, this process. Raises `UnreadError` for the user."""
    if os.environ.get("NVLHUB_SIMULATED") == "0":
        try:
            return measure()
        except Exception as error:  # noqa: BLE001  # the driver's library and its binding have errors of their own
            raise UnreadError(say("widget-no-nvml", spoken(), why=str(error) or type(error).__name__)) from None
    import psutil  # noqa: PLC0415  # needed here alone

    return [
        Measured("kernel", "", False, _HERE.busy(), psutil.Process().memory_info().rss, psutil.virtual_memory().total)
    ]


class GpuNow(Live):
    """Utilisation and memory, every two seconds."""

    template: ClassVar[str] = "gpu_now.html"
    title: ClassVar[str] = "widget-gpu"
    feed: ClassVar[Feed] = HERE

    def _topic(self) -> Topic:
        return Topic("measured", _now, EVERY)

    def topics(self) -> tuple[Topic, ...]:
        """Return what is measured here; the portal is not needed for it."""
        return (self._topic(),)

    def values(self) -> Mapping[str, Any]:
        """Return a row per GPU, or one of this process."""
        rows: list[Measured] | None = self.reading(self._topic()).value
        names = [name for name in os.environ.get("NVLHUB_DEVICES", "").split(",") if name]
        return {
            "rows": [
                {
                    "device": row.device, "real": row.real, "busy": round(row.busy), "width": min(100, round(row.busy)),
                    "used": f"{row.memory / PER_GB:.2f}", "total": f"{row.memory_total / PER_GB:.0f}",
                    "share": min(100, round(100 * row.memory / max(1, row.memory_total))),
                }
                for row in rows or ()
            ],
            "measured": rows is not None, "real": os.environ.get("NVLHUB_SIMULATED") == "0", "simulated": len(names),
        }  # fmt: skip
