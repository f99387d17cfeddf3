"""The processes of a lease on this machine, found by what cannot be mistaken.

A pid alone is not enough: numbers are used again. A process is known by its pid *and* when it was created; everything that a
task started carries the lease's id in its environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

LEASE = "NVLHUB_LEASE"
"""Environment variable that marks every process of a lease."""


def alive(pid: int, created: float) -> bool:
    """Tell whether the process with this pid and creation time still runs."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def of_lease(lease_id: str) -> list[psutil.Process]:
    """Return what runs for a lease: all that carry its id in their environment."""
    return [process for process, found in _marked() if found == lease_id]


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            found = process.environ().get(LEASE)
            if found and process.status() != psutil.STATUS_ZOMBIE:
                yield process, found


def kill_all(processes: list[psutil.Process]) -> None:
    """End processes at once."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
