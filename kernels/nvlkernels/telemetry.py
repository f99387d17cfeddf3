"""What the GPUs of a lease are doing: by NVML where they are real, by the process where they are simulated.

nvlkernels.usage()                  # this kernel
nvlkernels.usage(cluster)           # this kernel and the workers of a cluster, with what all of it was charged so far
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nvlhub.text import say
from nvlhub.wire import gpu_hours

PER_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One GPU, or the process that stands for a simulated one."""

    where: str
    """``kernel``, or the name of a worker."""
    device: str
    real: bool
    busy: float
    """Per cent: of the GPU's time in its last sample, or of one CPU core since the process began."""
    memory: int
    """Bytes in use, on the GPU or in the process."""
    memory_total: int
    """Bytes there are, on the GPU or in the machine."""


def measure(where: str = "kernel", environment: Mapping[str, str] = os.environ) -> list[Measured]:
    """Measure the GPUs of this process's lease."""
    devices = [name for name in environment.get("NVLHUB_DEVICES", "").split(",") if name]
    if environment.get("NVLHUB_SIMULATED") == "0":
        return _by_nvml(where, devices)
    return [_by_process(where, device) for device in devices]


def _by_nvml(where: str, devices: list[str]) -> list[Measured]:
    import pynvml  # noqa: PLC0415  # loads the driver's library: only where there is a GPU

    pynvml.nvmlInit()
    try:
        found = []
        for device in devices:
            handle = pynvml.nvmlDeviceGetHandleByUUID(device)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            busy = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            found.append(Measured(where, device, True, busy, int(memory.used), int(memory.total)))
        return found
    finally:
        pynvml.nvmlShutdown()


def _by_process(where: str, device: str) -> Measured:
    import time  # noqa: PLC0415  # needed here alone

    import psutil  # noqa: PLC0415  # likewise

    process = psutil.Process()
    times = process.cpu_times()
    lived = max(0.1, time.time() - process.create_time())
    busy = 100 * (times.user + times.system) / lived
    return Measured(where, device, False, busy, process.memory_info().rss, psutil.virtual_memory().total)


@dataclass(frozen=True, slots=True)
class Usage:
    """What GPUs do and what they cost; shown as a table in a notebook."""

    rows: tuple[Measured, ...]
    charge: int
    """Charged so far, in milli-GPU-seconds."""
    lang: str = "en"
    coming: int = 0
    """Workers that have not joined yet, or wait for room."""

    def _cells(self) -> list[tuple[str, ...]]:
        head = tuple(say(f"usage-{name}", self.lang) for name in ("where", "device", "busy", "memory"))
        return [
            head,
            *(
                (
                    row.where,
                    row.device,
                    say("usage-gpu-busy" if row.real else "usage-cpu-busy", self.lang, percent=f"{row.busy:.0f}"),
                    f"{row.memory / PER_GB:.2f} / {row.memory_total / PER_GB:.0f} GB",
                )
                for row in self.rows
            ),
        ]

    def _foot(self) -> str:
        coming = say("usage-coming", self.lang, workers=str(self.coming)) + " " if self.coming else ""
        return coming + say("usage-charge", self.lang, hours=gpu_hours(self.charge), seconds=str(self.charge // 1000))

    def __repr__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        lines = [
            "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([*lines, self._foot()])

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(part) for part in row] for row in self._cells()]
        top = "".join(f'<th style="text-align:left">{part}</th>' for part in head)
        body = "".join(f"<tr>{''.join(f'<td>{part}</td>' for part in row)}</tr>" for row in rows)
        return f"<table><tr>{top}</tr>{body}</table><p>{html.escape(self._foot())}</p>"


def usage(cluster: Any = None) -> Usage:
    """Measure this kernel's GPUs and those of a cluster's workers.

    Raises `PortalDownError` or `PortalError` with words for the user.
    """
    from nvlkernels.cluster_view import spent  # noqa: PLC0415  # a view is not needed to measure
    from nvlkernels.own import lease  # noqa: PLC0415  # likewise

    held = lease()
    rows = measure()
    charge, coming = spent(held.view, held.view.now) if held.view else 0, 0
    if cluster is not None:
        charge += cluster.standing.charge
        # A closed cluster has cost something, and has no workers to ask.
        told = cluster.get_client().run(_measure_worker) if cluster.standing.leases else {}
        rows += [row for worker in told.values() for row in worker]
        coming = sum(lease.gpus for lease in cluster.standing.leases) - len(told)
    return Usage(tuple(rows), charge, held.lang, max(0, coming))


def _measure_worker(dask_worker: Any) -> list[Measured]:
    return measure(str(dask_worker.name))
