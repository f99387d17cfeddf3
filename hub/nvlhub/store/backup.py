"""A copy of a SQLite database that is in use."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

PAGES = 2000
"""Pages per step."""
PAUSE = 0.005
"""Seconds between two steps, in which others use the disk."""


def back_up(source: Path, target: Path) -> None:
    """Copy the database `source` as it is at one moment, while a portal goes on writing to it.

    The copy is one file, readable by its owner alone. Raises `FileExistsError` rather than overwrite anything, other
    `OSError` where there cannot be a file, `sqlite3.Error` when the copying failed; then nothing is left of it.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(_open(source, "ro")) as live, closing(_open(target, "rw")) as copy:
            # What is read within a transaction stays as it is. Without one, every write of the portal would make the
            # copying begin anew, and a busy portal could never be copied.
            live.execute("BEGIN")
            live.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=PAGES, progress=lambda *_: time.sleep(PAUSE))
            # No companions beside it: it can be moved, and read from where nothing can be written.
            copy.execute("PRAGMA journal_mode=DELETE")
    except BaseException:
        target.unlink()
        raise


def _open(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?mode={mode}", uri=True, isolation_level=None, timeout=30
    )
