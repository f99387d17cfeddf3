"""A private directory on the node of a job: gone with its agent, or with the next one there where that was killed.

Slurm kills what is left of a job after a while, and at once where its ``srun`` is signalled. Keys would stay on the node.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

PREFIX = f"nvlhub-agent-{socket.gethostname()}-"
"""Names the machine: on a file system that several share, locks may be known to one of them alone."""
LOCK = "lock"
"""Held as long as its agent lives: the operating system lets it go."""
FRESH = 60.0
"""Seconds within which a directory may not have its lock yet."""


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Yield a new directory below the temporary directory of the job. Raises `OSError`."""
    _tidy(Path(gettempdir()))
    made = Path(mkdtemp(prefix=PREFIX))
    try:
        with (made / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield str(made)
    finally:
        rmtree(made, ignore_errors=True)


def _tidy(where: Path) -> None:
    """Remove what agents of the same account left that were killed."""
    for left in where.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = left.lstat()
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > FRESH and _abandoned(left):
                rmtree(left)


def _abandoned(directory: Path) -> bool:
    """Tell whether nobody holds the lock of a directory, or it never came to one. Raises `OSError`."""
    try:
        with (directory / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
