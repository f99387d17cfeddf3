"""The database itself: connections, transactions, migrations."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from nvlhub.store.unit import Unit

WRITES = "nvlhub_writes"
"""Execution option of a connection that is going to write."""


class Store:
    """One database. :meth:`writing` and :meth:`reading` give a unit of work: one transaction each.

    SQLite: write-ahead log, every write flushed, and writing units begin at once as writers (``BEGIN IMMEDIATE``), so
    that a read followed by a write cannot fail half-way. PostgreSQL: READ COMMITTED, with row locks where a
    decision rests on what was read.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.url = url
        made = _read_only(sa.make_url(url)) if read_only else sa.make_url(url)
        # Errors end in logs: what was to be written may hold a mailbox's token.
        self._engine = sa.create_engine(made, pool_size=20, max_overflow=40, hide_parameters=True)
        # SQLite has one writer. Who waits for it here is woken at once; SQLite itself looks again now and then, and
        # those who have waited longest look the least often.
        self._turn: threading.Lock | nullcontext[None] = nullcontext()
        if self._engine.dialect.name == "sqlite":
            self._turn = threading.Lock()
            sa.event.listen(self._engine, "connect", _only_read_sqlite if read_only else _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables up to date, or back to an earlier `revision`; a new database gets them all."""
        config = _migrations()
        writing = self._engine.connect().execution_options(**{WRITES: True})
        with writing as connection, self._rebuilding(connection), connection.begin():
            config.attributes["connection"] = connection
            if revision == "head":
                command.upgrade(config, revision)
            else:
                command.downgrade(config, revision)
            self._check_references(connection)

    def revisions(self) -> tuple[str | None, list[str]]:
        """Return the version of the tables (None: there are none), and those that are known here, the newest first."""
        with self.reading() as unit:
            have = MigrationContext.configure(unit.connection).get_current_revision()
        return have, [script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()]

    def _check_references(self, connection: sa.Connection) -> None:
        if self._engine.dialect.name == "sqlite":
            lost = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if lost is not None:
                raise RuntimeError(f"migration would leave rows that point to nothing: {tuple(lost)}")

    @contextmanager
    def _rebuilding(self, connection: sa.Connection) -> Iterator[None]:
        """SQLite makes a table anew to change a column; others may point to it meanwhile."""
        if self._engine.dialect.name != "sqlite":
            yield
            return
        raw: Any = connection.connection.dbapi_connection
        raw.execute("PRAGMA foreign_keys=OFF")
        try:
            yield
        finally:
            raw.execute("PRAGMA foreign_keys=ON")

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        """Return a unit that may write; saved when the block ends well, gone without trace when it raises."""
        with (
            self._turn,
            self._engine.connect().execution_options(**{WRITES: True}) as connection,
            connection.begin(),
        ):
            yield Unit(connection)

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """Return a unit that reads one consistent state."""
        connection = self._engine.connect()
        if self._engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection, connection.begin():
            yield Unit(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "nvlhub.store:migrations")
    return config


def _read_only(url: sa.URL) -> sa.URL:
    """Return an address at which the database itself refuses to be changed, or made."""
    if url.get_backend_name() == "postgresql":
        given = url.query.get("options", "")
        return url.update_query_dict({"options": f"{given} -c default_transaction_read_only=on"})
    file = Path(url.database or "").absolute()
    asked = {"mode": "ro", "uri": "true"}
    if not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists():
        # Nobody has it open, and there is no place for the files that SQLite puts beside a database with a log.
        asked["immutable"] = "1"
    return url.set(database=f"file:{quote(str(file))}", query=asked)


def _only_read_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")


def _prepare_sqlite(connection: Any, record: object) -> None:
    # Transactions are begun by _begin_sqlite, not by the driver (which would begin them as readers).
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    raw: Any = connection.connection.dbapi_connection
    raw.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
