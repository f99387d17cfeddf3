"""The log: one JSON object per line, the lease that a line is about, and nothing that is secret."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import SQLAlchemyError
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.api.doors import Here, LeaseId, Who
from nvlhub.engines.base import EngineError, Handle, Task
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import Script, ScriptedEngine, _Played
from nvlhub.logs import JsonLines, about
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.wire import Beat, Beats, Extend
from tests.conftest import HandClock
from tests.portal_kit import MAILBOX, RESEARCHER, Kit
from tests.tables import store_at

Lines = Callable[[], list[dict[str, Any]]]
logger = logging.getLogger("nvlhub.test")


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the package logs meanwhile."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("nvlhub")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in text.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


class Talkative(ScriptedEngine):
    """Says what it does, as an engine may that runs commands."""

    def start(self, task: Task) -> Iterator[Handle]:
        logging.getLogger("nvlhub.engines.talkative").info("start of %s", task.lease_id)
        yield from super().start(task)

    def stop(self, lease_id: str, handle: Handle) -> None:
        logging.getLogger("nvlhub.engines.talkative").info("stop of %s", lease_id)
        super().stop(lease_id, handle)


def talkative(store: Store, clock: HandClock, **script: Any) -> Kit:
    return Kit(store, clock, Talkative(SimulatedFloor(1, 18), {"*": Script(**script)}))


def formatted(message: str, *args: object, **extra: object) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": message, "args": args, **extra})
    return dict(json.loads(JsonLines().format(record)))


def test_a_line_tells_when_how_bad_who_and_what() -> None:
    line = formatted("%d of %s", 3, "四", created=1_800_000_000.9996, pool="main", size=7, rate=0.5, bad=float("nan"))
    assert line == {
        "time": "2027-01-15T08:00:00.999Z", "level": "INFO", "logger": "x", "message": "3 of 四", "pool": "main",
        "size": 7, "rate": 0.5, "bad": "nan",
    }  # fmt: skip


@given(st.text(), st.dictionaries(st.text(min_size=1).filter(lambda name: not hasattr(logging.makeLogRecord({}), name)), st.text() | st.floats() | st.binary() | st.none()))  # fmt: skip
def test_whatever_is_logged_is_one_line_of_printable_json(message: str, extra: dict[str, object]) -> None:
    record = logging.makeLogRecord({"name": "x", "msg": message.replace("%", ""), **extra})
    line = JsonLines().format(record)
    assert re.fullmatch(r"[ -~]+", line)
    assert {"time", "level", "logger", "message"} <= json.loads(line, parse_constant=lambda name: 1 / 0).keys()


def test_an_exception_is_one_field(lines: Lines) -> None:
    try:
        int("two\nlines")
    except ValueError:
        logger.exception("it failed")
    [line] = lines()
    assert (line["level"], line["message"]) == ("ERROR", "it failed")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith(r"'two\nlines'")


def test_lines_carry_the_lease_that_they_are_about_and_no_other(lines: Lines) -> None:
    def work(lease: str) -> None:
        for _ in range(50):
            with about(lease):
                logger.info(lease)
                with about(f"{lease}-inner"):
                    logger.info("%s-inner", lease)
                logger.info(lease)

    threads = [threading.Thread(target=work, args=(f"lease{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.info("given", extra={"lease": "given"})
    with about("another"):
        logger.info("given", extra={"lease": "given"})
    assert len(lines()) == 8 * 50 * 3 + 2
    assert all(line["lease"] == line["message"] for line in lines())
    logger.info("about none")
    assert "lease" not in lines()[-1]


def test_every_line_of_a_lease_carries_its_id(store: Store, clock: HandClock, lines: Lines) -> None:
    portal = talkative(store, clock, ending=1)
    leases = [portal.ask().id for _ in range(3)]
    portal.step(5)
    portal.desk.extend(RESEARCHER, leases[0], Extend(seconds=60))
    portal.desk.beat_all(RESEARCHER, Beats(beats={leases[1]: Beat(phase="ended")}), "en")
    for _ in range(4):
        portal.step(20, beats=False)
    said = lines()
    assert {line["logger"] for line in said} == {"nvlhub.run", "nvlhub.engines.talkative"}
    for line in said:
        assert line["lease"] in line["message"]
    for lease in leases:
        told = [line["message"] for line in said if line["lease"] == lease]
        for part in ("start of", "held -> placed", "running -> ending", "stop of", "ending -> settled"):
            assert any(part in message for message in told), part
    with store.reading() as unit:
        assert unit.active_leases() == []


def test_failures_and_strays_carry_the_lease_too(
    store: Store, clock: HandClock, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = talkative(store, clock)
    lease = portal.ask().id
    portal.engine.played["stray"] = _Played(Script(), 1)  # type: ignore[attr-defined]
    portal.step(1)
    del portal.engine.played["stray"]  # type: ignore[attr-defined]
    monkeypatch.setattr(portal.engine, "stop", lambda *_: 1 / 0)
    portal.desk.end(RESEARCHER, lease)
    portal.step(1)
    bad = [line for line in lines() if line["level"] in {"WARNING", "ERROR"}]
    assert [line["lease"] for line in bad] == ["stray", *[lease] * (len(bad) - 1)]
    assert {line["message"].partition(lease)[2] for line in bad[1:]} == {" could not go on; trying again"}
    assert all("ZeroDivisionError" in line["exception"] for line in bad[1:])


def test_an_engine_that_refuses_is_logged_with_the_lease(
    store: Store, clock: HandClock, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = talkative(store, clock)

    def refuse(task: Task) -> Iterator[Handle]:
        logger.warning("the node is on fire")
        raise EngineError("on fire")
        yield {}

    monkeypatch.setattr(portal.engine, "start", refuse)
    lease = portal.ask().id
    assert {line.get("lease") for line in lines()} == {lease}
    assert any(line["logger"] == "nvlhub.test" for line in lines())


def test_what_is_logged_for_a_request_about_a_lease_carries_it(
    tmp_path: Path, clock: HandClock, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(tmp_path / "x.sqlite")
    portal = talkative(store, clock)
    app = make_app(Doors(portal.desk, portal.registry, lambda request: RESEARCHER), "/services/portal/")
    router = APIRouter()

    @router.get("/{lease_id}/said")
    def said(here: Here, who: Who, lease_id: LeaseId) -> str:
        logger.info("said")
        return lease_id

    app.include_router(router, prefix="/leases")

    def broken(*_: object) -> None:
        logger.info("about to fail")
        raise ZeroDivisionError

    monkeypatch.setattr(portal.desk, "lease", broken)
    with TestClient(app, raise_server_exceptions=False) as http:
        assert http.get("/leases/abc/said").json() == "abc"
        assert http.get("/services/portal/api/v1/leases/def").status_code == 500
        assert http.get("/services/portal/api/v1/me").status_code == 200
    assert [(line["message"], line.get("lease")) for line in lines()] == [
        ("said", "abc"),
        ("about to fail", "def"),
        ("a request failed", "def"),
    ]
    store.close()


@pytest.mark.parametrize(
    "text",
    [
        f"mailbox {MAILBOX!r}",
        f"mailbox {MAILBOX.model_dump()}",
        f"mailbox {MAILBOX.model_dump_json()}",
        f"mailbox {json.dumps(MAILBOX.model_dump_json())}",
        f"Authorization: token {MAILBOX.token}",
        f"{{'authorization': 'Bearer {MAILBOX.token}'}}",
        f"GET /x?access_token={MAILBOX.token}&page=2",
        f"host=db password={MAILBOX.token} user=u",
        f'DETAIL:  Failing row contains (17, {{"address": "tcp://h:1", "token": "{MAILBOX.token}"}}, []).',
    ],
)
def test_no_secret_is_in_a_line_wherever_it_stood(lines: Lines, text: str) -> None:
    logger.info("%s", text, extra={"more": text})
    logger.error("failed: %s", text, exc_info=RuntimeError(text))
    assert MAILBOX.token not in json.dumps(lines())
    assert lines()[0]["message"][:8] == text[:8]


def test_an_error_of_the_database_does_not_tell_what_was_to_be_written(
    store: Store, clock: HandClock, lines: Lines
) -> None:
    portal = talkative(store, clock)
    portal.ask()
    try:
        with store.writing() as unit:
            row = unit.connection.execute(t.leases.select()).mappings().one()
            changed = {name: value for name, value in row.items() if name != "number"} | {"user": None}
            unit.connection.execute(t.leases.insert().values(**changed, number=99))
    except SQLAlchemyError:
        logger.exception("not saved")
    told = json.dumps(lines())
    assert "not saved" in told
    assert MAILBOX.token not in told


def test_the_words_around_a_secret_stay() -> None:
    text = "token: abc, tokens are counted; password authentication failed; the key of award 3"
    assert formatted(text)["message"] == text.replace("abc", "…")


def test_a_record_without_a_handler_of_ours_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stdout)
    other = logging.getLogger("elsewhere")
    other.addHandler(handler)
    with about("l1"):
        other.warning("plain")
    other.removeHandler(handler)
    assert capsys.readouterr().out == "plain\n"
