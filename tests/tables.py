"""Databases with all tables: copies of one, because to make the tables takes a tenth of a second and more, for most tests longer than
they take themselves."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg

from nvlhub.store import Store


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory(prefix="nvlhub-tables-") as directory:
        file = Path(directory, "tables")
        made = Store(f"sqlite:///{file}")
        made.migrate()
        made.close()
        return file.read_bytes()


def sqlite_with_tables(file: Path) -> str:
    """Make a database; return its URL."""
    file.write_bytes(_tables())
    return f"sqlite:///{file}"


def store_at(file: Path) -> Store:
    """Make a database and open it."""
    return Store(sqlite_with_tables(file))


@contextlib.contextmanager
def postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """Make a database for the length of the block; yields its URL. Empty, or a copy of another."""
    name = f"t{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
