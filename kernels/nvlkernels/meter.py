"""What the GPUs of a lease do, measured where they are: by NVML, or by the processes that stand for simulated ones.

In a thread of its own, because a driver that hangs must not keep the node agent from its mailbox. As light as the agent:
standard library, and NVML's own module where there are real GPUs and it is installed.

    sample    {real, busy, gpus: [[per cent, bytes used, bytes there are], ...]}   as it goes into the agent's frames
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVERY = 5.0
"""Seconds that a sample covers."""
LOOKS = 5
"""Looks at a GPU in that time: its own figure covers a second at most."""
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST = 72
"""GPUs of a sample at most."""

Sample = dict[str, Any]


class Meter(threading.Thread):
    """Takes a sample every :data:`EVERY` seconds; `take` returns each of them once."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(name="meter", daemon=True)
        self._devices = [name for name in environment.get("NVLHUB_DEVICES", "").split(",") if name][:MOST]
        self._real = environment.get("NVLHUB_SIMULATED") == "0"
        # The driver finds a GPU by its UUID or its number, not by a name that says its node.
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._seen = visible.split(",")[:MOST] if visible else self._devices
        self._newest: Sample | None = None

    def take(self) -> Sample | None:
        """Return the newest sample, if it was not taken before."""
        newest, self._newest = self._newest, None
        return newest

    def run(self) -> None:
        """Measure until the process ends, or until it is clear that nothing can be measured here."""
        measure = self._measure()
        while measure is not None:
            try:
                self._newest = measure()
            except ImportError:
                return
            except Exception:  # noqa: BLE001  # a driver can fail in any way, and a lease lives without being measured
                self._newest = None
                time.sleep(EVERY)

    def _measure(self) -> Callable[[], Sample] | None:
        """Return what measures for :data:`EVERY` seconds; None where nothing can."""
        if not self._devices:
            return None
        if not self._real:
            return Processes(len(self._devices)).sample
        return lambda: of_gpus(self._seen)


# --- real GPUs --------------------------------------------------------------------------------------------------------


def of_gpus(devices: list[str], *, every: float = EVERY) -> Sample:
    """Look at GPUs, by UUID or number, for `every` seconds. Raises what NVML raises, `ImportError` where its module is missing."""
    import pynvml  # noqa: PLC0415  # loads the driver's library: only where there is a GPU

    pynvml.nvmlInit()
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(int(device))
            if device.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(device)
            for device in devices
        ]
        busy = [0] * len(handles)
        for _ in range(LOOKS):
            time.sleep(every / LOOKS)
            for place, handle in enumerate(handles):
                busy[place] += int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        memory = [pynvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    gpus = [
        [min(100, round(total / LOOKS)), int(used.used), int(used.total)]
        for total, used in zip(busy, memory, strict=True)
    ]
    return {"real": True, "busy": any(busy), "gpus": gpus}


# --- processes that stand for simulated ones --------------------------------------------------------------------------


class Processes:
    """The processes below this one: their CPU time and memory, in one figure for all `gpus` simulated GPUs."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._total = machine_memory()
        self._before = (time.monotonic(), below(os.getpid())[0])

    def sample(self, every: float = EVERY) -> Sample:
        """Look for `every` seconds. 100 per cent is one CPU core for each simulated GPU."""
        time.sleep(every)
        at, (used, memory) = time.monotonic(), below(os.getpid())
        since, before = self._before
        self._before = (at, used)
        # What ended unseen took its CPU time along: the sum can shrink.
        cores = max(0.0, used - before) / max(0.001, at - since)
        busy = min(100, round(100 * cores / self._gpus))
        return {"real": False, "busy": None, "gpus": [[busy, memory, self._total]]}


def below(root: int) -> tuple[float, int]:
    """Return the CPU seconds and the bytes in memory of the processes below `root`, those that have ended among them."""
    seconds, memory = _ended_children(root), 0
    waiting = _children(root)
    while waiting:
        pid = waiting.pop()
        # A process may end between two looks.
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _stat(pid)
            seconds += sum(int(field) for field in fields[11:15]) / TICKS
            memory += int(fields[21]) * PAGE
            waiting += _children(pid)
    return seconds, memory


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third on: the second is a name that may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _ended_children(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return sum(int(field) for field in _stat(pid)[13:15]) / TICKS
    return 0.0


def _children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
    return found


def machine_memory() -> int:
    """Return the bytes of memory of this machine; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * PAGE
    return 0
