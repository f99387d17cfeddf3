"""A database read without its portal, on every database: what it says, and that nothing in it is changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner, Result

from nvlhub.cli import app
from nvlhub.cli.base import API_PATH
from nvlhub.store import Store, offline
from nvlhub.store.offline import UnreadableError
from tests.conftest import HandClock
from tests.portal_kit import kit
from tests.store.books import hold, settle


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("command", ["verify", "replay"])
def test_a_copy_is_read_without_a_portal(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("nvlhub.cli.ledger.call", lambda *_, **__: pytest.fail(f"nobody asks {API_PATH}"))
    kit(store, clock)
    settle(store, hold(store))
    told = run("ledger", command, "--database", store.url)
    assert (told.exit_code, told.output.count("5 transactions")) == (0, 1), told.output
    found = json.loads(run("ledger", command, "--database", store.url, "--json").output)
    assert (found["ok"], found["transactions"], found["broken"]) == (True, 5, [])
    with store.writing() as unit:
        unit.connection.execute(sa.text("UPDATE awards SET held = 5"))
    told = run("ledger", command, "--database", store.url)
    assert told.exit_code == 1
    assert "BROKEN" in told.output
    assert "award-columns-equal" in told.output


def test_what_is_read_offline_cannot_be_changed(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    reader = Store(store.url, read_only=True)
    with pytest.raises(DBAPIError, match=r"read-?only"), reader.writing() as unit:
        unit.connection.execute(sa.text("UPDATE awards SET held = 5"))
    with offline.reading(store.url) as unit, pytest.raises(DBAPIError, match=r"read-?only"):
        unit.connection.execute(sa.text("UPDATE awards SET held = 5"))
    reader.close()


def test_a_portal_may_go_on_writing_while_somebody_reads(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    with offline.reading(store.url) as unit:
        before = unit.journal(per_page=1)[1]
        hold(store)
        assert unit.journal(per_page=1)[1] == before
    with offline.reading(store.url) as unit:
        assert unit.journal(per_page=1)[1] == before + 1


@pytest.mark.parametrize(("revision", "told"), [("0001", "earlier version"), ("9999", "later version")])
def test_tables_of_another_version_are_named(store: Store, revision: str, told: str) -> None:
    if revision == "9999":
        with store.writing() as unit:
            unit.connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    else:
        store.migrate(revision)
    found = run("ledger", "verify", "--database", store.url)
    assert found.exit_code == 1
    assert told in found.output
    assert revision in found.output
    assert "Traceback" not in found.output


def test_a_database_without_a_portals_tables_is_named(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        Path(sa.make_url(database_url).database or "").touch()
    assert "holds no tables of a portal" in run("ledger", "replay", "--database", database_url).output


@pytest.mark.parametrize(
    "url",
    [
        "/var/lib/portal.sqlite",
        "nonsense",
        "nosuch://x/y",
        "mysql://u:hunter2@h/x",
        "sqlite:////no/such/file",
        "sqlite://",
    ],
)
def test_what_is_no_database_is_refused_in_words(url: str) -> None:
    found = run("ledger", "verify", "--database", url)
    assert found.exit_code == 1
    assert isinstance(found.exception, SystemExit)
    assert "hunter2" not in found.output
    assert len(found.output) > 20


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(UnreadableError) as caught, offline.reading("postgresql+psycopg://u:hunter2@127.0.0.1:9/x"):
        pass
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_is_not_made_and_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite"
    assert run("ledger", "verify", "--database", f"sqlite:///{missing}").exit_code == 1
    assert list(tmp_path.iterdir()) == []
    other = tmp_path / "a file.sqlite"
    other.write_bytes(b"no database at all " * 100)
    with pytest.raises(UnreadableError, match="not a database"), offline.reading(f"sqlite:///{other}"):
        pass


def test_a_file_is_left_as_it_is_and_may_lie_where_nothing_can_be_written(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a read-only medium; to root every directory is open.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    file = tmp_path / "x.sqlite"
    store = Store(f"sqlite:///{file}")
    store.migrate()
    kit(store, clock)
    store.close()
    file.chmod(0o400)
    before = hashlib.sha256(file.read_bytes()).digest()
    for command in ("verify", "replay"):
        assert run("ledger", command, "--database", f"sqlite:///{file}").exit_code == 0
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert list(tmp_path.iterdir()) == [file]
