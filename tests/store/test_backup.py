"""Backups of a database that is being written to: each copy is whole, and proves itself."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from nvlhub.cli import app
from nvlhub.store import Store, offline, replay, verify
from nvlhub.store.backup import back_up
from tests.conftest import HandClock
from tests.portal_kit import kit
from tests.store.books import hammered, hold, settle
from tests.tables import store_at


def proven(url: str) -> int:
    """Verify and replay a copy; return how many transactions it has."""
    with offline.reading(url) as unit:
        assert verify(unit) == []
        found = replay(unit)
    assert (found.broken, found.warnings) == ([], [])
    return found.transactions


@pytest.fixture
def data(tmp_path: Path, clock: HandClock) -> Iterator[tuple[Path, Store]]:
    """A data directory whose database is in use, with something in it to copy."""
    directory = tmp_path / "data"
    directory.mkdir()
    store = store_at(directory / "portal.sqlite")
    kit(store, clock)
    for _ in range(3):
        settle(store, hold(store))
    yield directory, store
    store.close()


def backup(file: Path, directory: Path) -> Result:
    return CliRunner().invoke(app, ["ledger", "backup", str(file), "--data", str(directory)])


def test_copies_of_a_busy_sqlite_database_are_whole(data: tuple[Path, Store], tmp_path: Path) -> None:
    directory, store = data
    sizes = []
    with hammered(store):
        for number in range(5):
            copy = tmp_path / f"copy{number}.sqlite"
            back_up(directory / "portal.sqlite", copy)
            sizes.append(proven(f"sqlite:///{copy}"))
            time.sleep(0.2)
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_writers_do_not_make_a_slow_copy_begin_anew(
    data: tuple[Path, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page at a time, with a write between any two of them: it ends, and is as the database was at the beginning."""
    directory, store = data
    monkeypatch.setattr("nvlhub.store.backup.PAGES", 1)
    monkeypatch.setattr("nvlhub.store.backup.PAUSE", 0.03)
    before = proven(store.url)
    copying = threading.Thread(target=back_up, args=(directory / "portal.sqlite", tmp_path / "copy.sqlite"))
    with hammered(store):
        copying.start()
        copying.join(60)
        assert not copying.is_alive()
    assert before <= proven(f"sqlite:///{tmp_path / 'copy.sqlite'}") < proven(store.url)


def test_the_command_copies_proves_and_says_so(data: tuple[Path, Store], tmp_path: Path) -> None:
    directory, store = data
    copy = tmp_path / "copy? 100%41.sqlite"
    with hammered(store):
        told = backup(copy, directory)
    assert told.exit_code == 0, told.output
    assert f"{copy.stat().st_size} bytes" in told.output
    assert "every invariant holds" in told.output
    assert "everything comes out as it is stored" in told.output
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == [copy.name, "data"]


def test_a_copy_is_one_file_that_needs_no_companions(data: tuple[Path, Store], tmp_path: Path) -> None:
    directory, _ = data
    copy = tmp_path / "copy.sqlite"
    back_up(directory / "portal.sqlite", copy)
    with closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    proven(f"sqlite:///{copy}")
    assert [file.name for file in tmp_path.glob("copy*")] == ["copy.sqlite"]


def test_a_portal_goes_on_from_a_restored_copy(data: tuple[Path, Store], tmp_path: Path, clock: HandClock) -> None:
    directory, store = data
    held = hold(store)
    back_up(directory / "portal.sqlite", tmp_path / "copy.sqlite")
    restored = Store(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    restored.migrate()
    settle(restored, held)
    with restored.reading() as unit:
        assert verify(unit) == []
    restored.close()


def test_a_broken_ledger_is_copied_and_told(data: tuple[Path, Store], tmp_path: Path) -> None:
    directory, store = data
    with store.writing() as unit:
        unit.connection.exec_driver_sql("UPDATE awards SET held = 5")
    told = backup(tmp_path / "copy.sqlite", directory)
    assert told.exit_code == 1
    assert "BROKEN" in told.output
    assert (tmp_path / "copy.sqlite").exists()


def test_nothing_is_overwritten(data: tuple[Path, Store], tmp_path: Path) -> None:
    directory, _ = data
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("precious")
    link.symlink_to(tmp_path / "nowhere")
    for file in (there, link):
        told = backup(file, directory)
        assert told.exit_code == 1
        assert "is there already" in told.output
    assert there.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for file in (tmp_path / "copy.sqlite", tmp_path / "no" / "such" / "directory.sqlite"):
        told = backup(file, empty)
        assert told.exit_code == 1
        assert "could not be copied" in told.output
        assert not file.exists()
    (empty / "portal.sqlite").write_bytes(b"no database " * 1000)
    assert "not a database" in backup(tmp_path / "copy.sqlite", empty).output
    assert not (tmp_path / "copy.sqlite").exists()


def test_another_database_is_left_to_its_own_programs(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text('database = "postgresql+psycopg://u:hunter2@db/x"\n')
    told = backup(tmp_path / "copy", tmp_path)
    assert told.exit_code == 1
    assert "pg_dump" in told.output
    assert "hunter2" not in told.output


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text("trays = 19\n")
    told = backup(tmp_path / "copy", tmp_path)
    assert told.exit_code == 1
    assert "trays" in told.output


@pytest.mark.postgres
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_dumps_of_a_busy_postgresql_database_are_whole(
    postgres: str, clock: HandClock, tmp_path: Path, form: str
) -> None:
    plain = postgres.replace("+psycopg", "")
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    names = [f"b{os.getpid()}_{time.monotonic_ns()}_{number}" for number in range(4)]

    def server(statement: str) -> None:
        with psycopg.connect(f"{plain}/postgres", autocommit=True) as admin:
            admin.execute(statement)

    for name in names:
        server(f"CREATE DATABASE {name}")
    store = Store(f"{postgres}/{names[0]}")
    try:
        store.migrate()
        kit(store, clock)
        sizes = []
        with hammered(store):
            for name in names[1:]:
                dump = tmp_path / name
                subprocess.run(
                    [programs / "pg_dump", f"--format={form}", f"--file={dump}", f"{plain}/{names[0]}"], check=True
                )
                restore = (
                    ["pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={plain}/{name}", str(dump)]
                    if form == "custom"
                    else ["psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={plain}/{name}", f"--file={dump}"]
                )
                subprocess.run([programs / restore[0], *restore[1:]], check=True, stdout=subprocess.DEVNULL)
                sizes.append(proven(f"{postgres}/{name}"))
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0]
    finally:
        store.close()
        for name in names:
            server(f"DROP DATABASE {name} WITH (FORCE)")
