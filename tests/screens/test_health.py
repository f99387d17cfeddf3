"""*Health and audit*, driven without a browser."""

from __future__ import annotations

import json

import httpx
import pytest

from nvlhub.forms import ProgrammePatch
from nvlhub.text import LANGUAGES, say
from nvlwidgets.panels.screens.health import Health, changes
from tests.api.world import PEOPLE
from tests.portal_kit import Kit
from tests.screens.kit import Said, listed, press, problem, tags, visit_of, words
from tests.screens.test_compute import EVIL, NOW, RUBBISH
from tests.waiting import eventually


async def test_an_administrator_sees_how_the_portal_does_and_verifies_the_ledger(
    portal: Kit, http: httpx.AsyncClient
) -> None:
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    portal.desk.end(PEOPLE["member"], lease.id)
    portal.step(1)
    shown = Health(visit_of(http, "admin", admin=True))
    await eventually(lambda: shown.report.known is not None)
    assert "given back by the holder 1" in words(shown.report)
    assert "In the last 24 hours 1 lease started" in shown.report._plot._head.html
    press(shown.ledger, "verify")
    await eventually(lambda: "Right: " in words(shown.ledger))
    await eventually(lambda: shown.differences.known is not None)
    assert "No difference waits for a person." in words(shown.differences)


async def test_an_engine_that_is_away_is_told_beside_its_name(portal: Kit, http: httpx.AsyncClient) -> None:
    portal.engine.away = True
    portal.step(1)
    shown = Health(visit_of(http, "admin", admin=True))
    await eventually(lambda: shown.report.known is not None)
    assert say("engine-away-admin") in words(shown.report)


async def test_a_broken_ledger_is_not_called_right(portal: Kit, http: httpx.AsyncClient) -> None:
    shown = Health(visit_of(http, "admin", admin=True))
    with portal.store.writing() as unit:
        unit.connection.exec_driver_sql("UPDATE awards SET charged = 7 WHERE id = 1")
    press(shown.ledger, "verify")
    await eventually(lambda: "Not right." in words(shown.ledger))
    assert "award-columns-equal-journal" in words(shown.ledger)


async def test_the_trail_is_searched_and_tells_from_what_to_what(portal: Kit, http: httpx.AsyncClient) -> None:
    directory = portal.registry.directory
    for share in (1, 2, 3):
        directory.change_programme(PEOPLE["admin"], "science", ProgrammePatch(share=share), "*")
    directory.change_programme(PEOPLE["officer"], "science", ProgrammePatch(share=9), "*")
    shown = Health(visit_of(http, "admin", admin=True))
    await eventually(lambda: "share: 3 → 9" in words(shown.audit))
    press(shown.audit, "find", actor="admin", object="programme:science", did="programme-change")
    await eventually(lambda: "share: 3 → 9" not in words(shown.audit) and "share: 2 → 3" in words(shown.audit))
    press(shown.audit, "find", actor="", object="", did="member-set")
    await eventually(lambda: "There is no such line." in words(shown.audit))


def test_a_line_without_a_before_tells_what_came() -> None:
    assert changes({"before": None, "after": {"cap": 3}}) == [("cap", None, "3")]
    assert changes({"before": {"cap": 3, "x": 1}, "after": {"cap": None, "x": 1}}) == [("cap", "3", "–")]
    assert changes({"before": {"role": "pi"}, "after": None}) == [("role", "pi", "–")]


# --- what comes from outside ----------------------------------------------------------------------------------------

REPORT = {
    "version": EVIL, "engine": EVIL, "simulated": True, "database": "sqlite", "now": NOW, "up": 99, "admitted": 3,
    "refused": [{"slug": "no-award", "count": 2}, {"slug": EVIL, "count": 1}], "since": NOW - 9, "started": 2,
    "start_median": 1, "start_most": 2, "took": [{"below": 1, "count": 0}, {"below": None, "count": 2}],
    "ended": [{"reason": "engine", "count": 1}], "turns": 9, "turn_mean": 0.004, "turn_ago": 44.0, "active": 1, "waiting": 1,
    "differences_open": 1, "proof": {"at": NOW, "ok": False},
}  # fmt: skip
DIFFERENCE = {
    "id": "7", "lease": EVIL, "project": EVIL, "user": EVIL, "kind": "amount", "ledger": 5, "engine": None, "found_at": NOW,
}  # fmt: skip
LINE = {
    "id": 1, "at": NOW, "actor": EVIL, "action": EVIL, "object": EVIL, "hash": EVIL, "before": {EVIL: EVIL}, "after": {EVIL: 2},
}  # fmt: skip
NOTICE = {
    "id": "3",
    "level": "warning",
    "text": EVIL,
    "text_zh": EVIL,
    "programme": EVIL,
    "user": "",
    "ends": NOW,
    "withdrawn_at": None,
}


def everything() -> Said:
    return Said({
        "/health/report": REPORT, "/differences": listed([DIFFERENCE]), "/audit": listed([LINE], total=10_000),
        "/announcements": listed([NOTICE]), "/health": {"now": NOW},
        "/ledger/verify": {"ok": False, "transactions": 5, "broken": [{"invariant": EVIL, "detail": EVIL}]},
    })  # fmt: skip


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_markup_and_formulas_in_names_are_text(lang: str) -> None:
    async with everything().http as http:
        shown = Health(visit_of(http, "x", lang, admin=True))
        blocks = [shown.report, shown.differences, shown.announcements, shown.audit]
        await eventually(lambda: all(block.known is not None for block in blocks))
        press(shown.ledger, "verify")
        await eventually(lambda: EVIL in words(shown.ledger))
        for block in (*blocks, shown.ledger):
            assert EVIL in words(block) or "&lt;script" in block.html.html
            assert not {"script", "img"} & {tag for tag, _ in tags(block.html.html)}


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
async def test_rubbish_keeps_the_last_good_value_and_says_so(rubbish: httpx.Response) -> None:
    said = everything()
    async with said.http as http:
        shown = Health(visit_of(http, "x", admin=True))
        blocks = [shown.report, shown.differences, shown.audit]
        await eventually(lambda: all(block.known is not None for block in blocks))
        for path in said.answers:
            said.answers[path] = lambda _request: httpx.Response(rubbish.status_code, content=rubbish.content)
        for block in blocks:
            block.refresh()
        await eventually(lambda: all("stale" in block.html.html for block in blocks))
        assert "Page 1 of 200, 10,000 in all" in words(shown.audit)
        press(shown.ledger, "verify")
        await eventually(lambda: shown.ledger.said is not None)
        assert shown.ledger.said is not None
        assert not shown.ledger.said.ok


async def test_announcing_withdrawing_and_closing_say_what_came_of_it() -> None:
    said = everything()
    said.answers |= {
        "/announcements/3": httpx.Response(204), "/differences/7/close": problem(409, "It was closed before."),
    }  # fmt: skip
    async with said.http as http:
        shown = Health(visit_of(http, "x", admin=True))
        await eventually(lambda: shown.announcements.known is not None and shown.differences.known is not None)
        press(shown.announcements, "withdraw", number="3")
        await eventually(lambda: "Announcement 3 is withdrawn." in words(shown.announcements))
        press(shown.announcements, "announce", text="Maintenance", text_zh="", level="info", programme="", hours="4")
        await eventually(lambda: "It is announced." in words(shown.announcements))
        sent = [json.loads(body) for method, path, body in said.asked if (method, path) == ("POST", "/announcements")]
        assert sent == [{"text": "Maintenance", "level": "info", "ends": NOW + 4 * 3600}]
        press(shown.differences, "close", number="7", how="correct", reason="late records")
        await eventually(lambda: "It was closed before." in words(shown.differences))
