"""*Programme*, driven without a browser."""

from __future__ import annotations

import json

import httpx
import pytest

from nvlhub.forms import ProgrammePatch
from nvlhub.text import LANGUAGES
from nvlwidgets.panels.screens.programme import Programme
from tests.api.world import PEOPLE, ask_for
from tests.portal_kit import Kit
from tests.screens.kit import Said, listed, press, problem, tags, visit_of, words
from tests.screens.test_compute import EVIL, NOW, RUBBISH
from tests.waiting import eventually

OFFICER = {"officer_of": ("science",)}
RULES = {"share": "100", "priority": "0", "cap": "", "at_zero": "stop", "factor_milli": "1000"}


@pytest.fixture
async def screen(portal: Kit, http: httpx.AsyncClient) -> Programme:
    portal.registry.awards.ask(PEOPLE["pi"], ask_for("optics"))
    shown = Programme(visit_of(http, "officer", officer_of=("science",)))
    await eventually(lambda: all(part.known is not None for part in shown.parts))
    return shown


async def test_an_officer_sees_their_programme_and_no_other(screen: Programme) -> None:
    assert words(screen.choice) == "Science"
    assert "casting" not in "".join(part.html.html for part in screen.parts)
    assert "Request 1: optics · new award" in words(screen.requests)
    assert "The programme can award 900.00 more GPU-hours in the pool main." in words(screen.requests)
    assert "100.00 of 100.00 GPU-hours are not used" in screen.burn._plot._head.html


async def test_an_officer_approves_with_an_amount_and_a_reason(portal: Kit, screen: Programme) -> None:
    press(screen.requests, "decide", verdict="approve", number="1", gpu_hours="ten", reason="Good.")
    await eventually(lambda: "GPU-hours: a whole number is wanted" in words(screen.requests))
    press(screen.requests, "decide", verdict="approve", number="1", gpu_hours="99", reason="Good.")
    await eventually(lambda: screen.requests.said and "10" in screen.requests.said.text and not screen.requests.said.ok)
    press(screen.requests, "decide", verdict="approve", number="1", gpu_hours="7", reason="Good.")
    await eventually(lambda: "Request 1 is approved." in words(screen.requests))
    await eventually(lambda: "No request waits for a decision." in words(screen.requests))
    request, _ = portal.registry.awards.request(PEOPLE["officer"], 1)
    assert (request.state, request.reviews[0].amount) == ("approved", 7 * 3_600_000)
    press(screen.requests, "state", value="approved")
    await eventually(lambda: "Approved by officer" in words(screen.requests))


async def test_an_unknown_verdict_is_nothing(portal: Kit, screen: Programme) -> None:
    press(screen.requests, "decide", verdict="award everything", number="1", reason="x")
    press(screen.requests, "state", value="anything")
    press(screen.choice, "programme", value="industry")
    assert screen.requests.said is None
    assert screen.choice.programme == "science"


async def test_rules_are_saved_and_the_second_of_two_learns_of_the_first(portal: Kit, screen: Programme) -> None:
    tag = screen.rules.known[1]
    press(screen.rules, "rules", tag=tag, **{**RULES, "share": "many"})
    await eventually(lambda: "Share in the queue: whole numbers only" in words(screen.rules))
    press(screen.rules, "rules", tag=tag, **{**RULES, "share": "250", "cap": "16"})
    await eventually(lambda: "The rules are saved" in words(screen.rules))
    await eventually(lambda: screen.rules.known[1] != tag)
    tag = screen.rules.known[1]
    directory = portal.registry.directory
    directory.change_programme(PEOPLE["admin"], "science", ProgrammePatch(priority=7), "*")
    press(screen.rules, "rules", tag=tag, **{**RULES, "share": "300", "cap": "16"})
    await eventually(lambda: screen.rules.said and not screen.rules.said.ok)
    assert "Nothing was saved. Now it is: Priority: 7." in words(screen.rules)
    found, _ = directory.programme(PEOPLE["admin"], "science")
    assert (found.share, found.cap, found.priority) == (250, 16, 7)


async def test_members_and_caps_are_changed_in_their_project(portal: Kit, screen: Programme) -> None:
    press(screen.projects, "members", project="optics")
    await eventually(lambda: "Members of optics" in words(screen.projects))
    press(screen.projects, "set_member", user="other", role="manager", cap="4")
    await eventually(lambda: "other is a member of optics now, as manager." in words(screen.projects))
    press(screen.projects, "set_member", user="nobody at all", role="member", cap="")
    await eventually(lambda: screen.projects.said and not screen.projects.said.ok)
    press(screen.projects, "drop", user="other")
    await eventually(lambda: "other is no member of optics any more." in words(screen.projects))
    press(screen.projects, "cap", project="optics", cap="8", was="")
    await eventually(lambda: "optics: the cap is saved." in words(screen.projects))
    press(screen.projects, "cap", project="optics", cap="9", was="")
    await eventually(lambda: "Somebody else changed optics" in words(screen.projects))
    project, _ = portal.registry.directory.project(PEOPLE["admin"], "optics")
    assert project.cap == 8


async def test_administrators_choose_the_programme(portal: Kit, http: httpx.AsyncClient) -> None:
    shown = Programme(visit_of(http, "admin", admin=True, programme="science"))
    await eventually(lambda: shown.choice.known is not None and shown.projects.known is not None)
    assert "Project optics" in words(shown.projects)
    press(shown.choice, "programme", value="industry")
    await eventually(lambda: "Project casting" in words(shown.projects))
    assert "Project optics" not in words(shown.projects)
    await eventually(lambda: shown.shares.known is not None)
    assert shown.shares.view.visible


# --- what comes from outside ----------------------------------------------------------------------------------------

PROGRAMME = {
    "slug": "p", "name": EVIL, "cap": None, "share": 1, "priority": 0, "at_zero": "stop", "factor_milli": 1000,
    "officers": [EVIL], "budgets": [{"pool": EVIL, "granted": 0, "awarded": 0}],
}  # fmt: skip
REQUEST = {
    "id": "1", "project": EVIL, "programme": "p", "kind": "new", "state": "submitted", "pool": EVIL, "amount": 36_000_000,
    "starts": NOW, "ends": NOW + 9, "cap": 3, "award": EVIL, "reasons": EVIL, "asked_by": EVIL, "asked_at": NOW, "result": None,
    "reviews": [{"reviewer": EVIL, "verdict": "revise", "amount": None, "reason": EVIL, "at": NOW}],
}  # fmt: skip


def everything() -> Said:
    point = {"at": NOW, "awarded": 100, "charged": 10, "left": 90}
    utilisation = [{"kind": "in_service", "pool": EVIL, "since": 1, "available": 10, "used": 20, "share": 2.0}]
    return Said({
        "/programmes": listed([PROGRAMME]), "/programmes/p": PROGRAMME, "/requests": listed([REQUEST]),
        "/pools": listed([{"name": "main", "in_service": 72, "free": 0}]),
        "/pools/main/shares": listed([{"programme": "p", "name": EVIL, "share": 1, "gpus": 72, "preemptible_gpus": 0,
                                       "gpu_seconds": 5}]),
        "/usage": {"utilisation": utilisation},
        "/programmes/p/burndown": {"points": [point], "dry_at": None, "ends": None},
        "/awards": listed([{"id": "1", "project": EVIL, "state": "active"}]),
        "/projects": listed([{"slug": "x", "name": EVIL, "institution": EVIL, "cap": None}]),
        "/projects/x/members": listed([{"user": EVIL, "role": "pi", "cap": 3}]),
    })  # fmt: skip


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_markup_and_formulas_in_names_are_text(lang: str) -> None:
    async with everything().http as http:
        shown = Programme(visit_of(http, "x", lang, admin=True))
        await eventually(lambda: all(part.known is not None for part in shown.parts))
        press(shown.projects, "members", project="x")
        await eventually(lambda: shown.projects.known and shown.projects.known[1] is not None)
        for html in [part.html.html for part in shown.parts] + [shown.choice.html.html, shown.shares._plot._table.html]:
            assert not {"script", "img"} & {tag for tag, _ in tags(html)}
        assert EVIL in words(shown.requests)
        assert EVIL in words(shown.projects)


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
async def test_rubbish_keeps_the_last_good_value_and_says_so(rubbish: httpx.Response) -> None:
    said = everything()
    async with said.http as http:
        shown = Programme(visit_of(http, "x", admin=True))
        await eventually(lambda: all(part.known is not None for part in shown.parts))
        before = [part.known for part in shown.parts]
        for path in said.answers:
            said.answers[path] = lambda _request: httpx.Response(rubbish.status_code, content=rubbish.content)
        for part in shown.parts:
            part.refresh()
        await eventually(
            lambda: all(
                "stale" in part.html.html or part.known != old for part, old in zip(shown.parts, before, strict=True)
            )
        )
        assert "stale" in shown.requests.html.html
        assert "Request 1" in words(shown.requests)


async def test_what_is_sent_is_what_was_filled_in() -> None:
    said = everything()
    said.answers["/requests/1/reviews"] = problem(409, EVIL)
    async with said.http as http:
        shown = Programme(visit_of(http, "x", admin=True))
        await eventually(lambda: shown.requests.known is not None)
        press(shown.requests, "decide", verdict="decline", number="1", gpu_hours="5", reason=f" {EVIL} ")
        await eventually(lambda: shown.requests.said is not None)
        sent = [body for method, path, body in said.asked if method == "POST"]
        assert json.loads(sent[0]) == {"verdict": "decline", "reason": EVIL}
        assert EVIL in words(shown.requests)
