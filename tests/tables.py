"""Databases with all tables: copies of one, because to make the tables takes a tenth of a second and more, for most tests longer than
they take themselves."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

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


def compiling_once(create_engine: Callable[..., sa.Engine]) -> Callable[..., sa.Engine]:
    """Have all engines for one kind of database share what they compile: each test has an engine of its own."""
    known: dict[str, tuple[sa.Dialect, dict[Any, Any]]] = {}

    def create(url: sa.URL | str, **options: Any) -> sa.Engine:
        engine = create_engine(url, **options)
        kind = engine.url.drivername
        if kind not in known:
            probe = create_engine("sqlite://" if kind == "sqlite" else url)
            with contextlib.suppress(sa.exc.OperationalError), probe.connect():
                known[kind] = (probe.dialect, {})
            probe.dispose()
        if kind in known:
            engine.dialect, compiled = known[kind]
            engine.update_execution_options(compiled_cache=compiled)
        return engine

    return create


@contextlib.contextmanager
def postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """Make a database for the length of the block; yields its URL. Empty, or a copy of another."""
    name = f"t{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
