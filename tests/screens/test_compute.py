"""*My compute*, driven without a browser."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from nvlhub.engines.scripted import Script
from nvlhub.flow.queue import Wait
from nvlhub.text import LANGUAGES, say
from nvlhub.wire import SILENT, Extend, Kind, Offer, Problem
from nvlwidgets.markup import clock
from nvlwidgets.panels.screens.compute import Compute, can_start
from tests.api.world import PEOPLE
from tests.portal_kit import GRACE, Kit
from tests.screens.kit import Said, listed, press, problem, tags, visit_of, words
from tests.waiting import eventually

OPTICS = (("optics", "Project optics", "member"),)
LEAD = (("optics", "Project optics", "pi"),)
MEMBER = PEOPLE["member"]


async def test_the_first_row_says_what_can_start_what_is_held_and_what_is_wasted(
    portal: Kit, http: httpx.AsyncClient
) -> None:
    lease = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    portal.runner.beat(lease.id, 1500)
    portal.runner.step()
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: screen.answers.known and screen.offers.known and screen.leases.known)
    told = words(screen.answers)
    assert "“Profile gpu1” can start at once, paid by Project optics." in told
    assert "1 GPU In 1 lease. The first one ends in 3 h 59 min" in told
    assert "1 idle GPU" in told
    assert "Nothing ran for 25 min. It is taken back after 1 h without work." in words(screen.leases)


async def test_a_new_user_is_told_what_to_do_next(portal: Kit, http: httpx.AsyncClient) -> None:
    screen = Compute(visit_of(http, "other"))
    await eventually(lambda: all(block.known is not None for block in (screen.answers, screen.offers, screen.leases)))
    assert "You are in no project. Ask whoever leads your project to add you; your name here is other." in words(
        screen.answers
    )
    assert "You hold no GPU now, and nothing is charged. Start JupyterLab" in words(screen.leases)
    await eventually(lambda: screen.awards.known is not None)
    assert "nobody pays for GPUs. Ask for more" in words(screen.awards)
    assert screen.led not in screen.blocks
    await eventually(lambda: "Maintenance" in words(screen.announcements))


async def test_extending_and_ending_say_what_came_of_it_at_the_lease(portal: Kit, http: httpx.AsyncClient) -> None:
    lease = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html)
    press(screen.leases, "extend", lease=lease.id, name="optics · gpu1")
    await eventually(lambda: "got one hour more" in words(screen.leases))
    assert portal.seen(lease).seconds == 5 * 3600
    portal.desk.extend(MEMBER, lease.id, Extend(seconds=3 * 3600))
    press(screen.leases, "extend", lease=lease.id, name="optics · gpu1")
    await eventually(lambda: screen.leases.said is not None and not screen.leases.said.ok)
    said = screen.leases.said
    assert said is not None
    assert said.place == lease.id
    assert 'role="alert"><p class="notice error">' in screen.leases.html.html
    press(screen.leases, "end", lease=lease.id, name="optics · gpu1")
    await eventually(lambda: "is ending" in words(screen.leases))
    await eventually(lambda: portal.seen(lease).state in {"ending", "settled"})


async def test_a_path_is_made_of_what_was_sent_never_from_it(portal: Kit, http: httpx.AsyncClient) -> None:
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: screen.leases.known is not None)
    press(screen.leases, "end", lease="../projects/optics/members/pi", name="x")
    await eventually(lambda: screen.leases.said is not None)
    assert screen.leases.said is not None
    assert not screen.leases.said.ok
    with portal.store.reading() as unit:
        assert unit.member("optics", "pi")


async def test_workers_stand_below_their_kernel_and_are_paged(portal: Kit, http: httpx.AsyncClient) -> None:
    kernel = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    for _ in range(25):
        portal.ask("gpu1", MEMBER, "optics", kind=Kind.WORKER, parent=kernel.id, seconds=600)
    portal.step(1)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: "25 workers with 25 GPUs" in words(screen.leases))
    assert screen.leases.html.html.count("<li") == 1
    press(screen.leases, "workers", lease=kernel.id)
    await eventually(lambda: "↳ Worker" in words(screen.leases))
    assert "Page 1 of 2, 25 in all" in words(screen.leases)
    press(screen.leases, "workers_page", page="2")
    await eventually(lambda: "Page 2 of 2" in words(screen.leases))
    press(screen.leases, "workers", lease="")
    await eventually(lambda: "↳ Worker" not in words(screen.leases))


async def test_a_kernel_of_no_server_that_falls_silent_is_marked(portal: Kit, http: httpx.AsyncClient) -> None:
    lease = portal.ask("gpu1", replace(MEMBER, server=""), "optics")
    portal.step(1)
    portal.clock.forward(SILENT + 2)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html)
    assert f"No sign of life for {SILENT + 2} s: its Jupyter server is gone" in words(screen.leases)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("member/", "/hub/spawn/member?opt-back=1"),
        ("member/big one", "/hub/spawn/member/big%20one?opt-back=1"),
        ("m/../x", "/hub/spawn/m/..%2Fx?opt-back=1"),
    ],
)
async def test_a_kernel_without_a_server_can_be_gone_back_to_or_ended(
    portal: Kit, http: httpx.AsyncClient, server: str, address: str
) -> None:
    lease = portal.ask("gpu1", replace(MEMBER, server=server), "optics")
    worker = portal.ask("gpu1", replace(MEMBER, server=server), "optics", kind=Kind.WORKER, parent=lease.id)
    portal.step(1)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html)
    assert "Go back in" not in words(screen.leases)
    portal.clock.forward(SILENT + 2)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html)
    told = words(screen.leases)
    assert f"Its notebook server has not answered for {SILENT + 2} s." in told
    assert "It ends by itself in" in told
    assert f'href="{address}" aria-label="Go back in: optics · gpu1"' in screen.leases.html.html
    assert screen.leases.html.html.count("Go back in</a>") == 1
    seen = portal.seen(lease)
    assert seen.kept_until == (seen.beat_at or 0) + GRACE
    press(screen.leases, "end", lease=lease.id, name="optics · gpu1")
    await eventually(lambda: portal.seen(lease).state in {"ending", "settled"})
    assert portal.seen(lease).kept_until is None
    portal.step(1)
    assert portal.seen(worker).state in {"ending", "settled"}


async def test_a_kernel_that_is_suspended_says_so_and_offers_no_way_back_to_it(
    portal: Kit, http: httpx.AsyncClient
) -> None:
    portal.engine.scripts = {"*": Script(still=Wait("slurm-still"))}  # type: ignore[attr-defined]
    lease = portal.ask("gpu1", replace(MEMBER, server="member/"), "optics")
    portal.step(1)
    portal.clock.forward(SILENT + 2)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html)
    told = words(screen.leases)
    assert f"{say('slurm-still')} It ends by itself in" in told
    assert "notebook server has not answered" not in told
    assert "Go back in" not in told


async def test_those_who_answer_for_a_project_end_a_members_lease(portal: Kit, http: httpx.AsyncClient) -> None:
    lease = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    screen = Compute(visit_of(http, "pi", projects=LEAD))
    await eventually(lambda: lease.id in screen.led.html.html)
    await eventually(lambda: "You hold no GPU now" in words(screen.leases))
    press(screen.led, "end", lease=lease.id, name="gpu1", holder="member")
    await eventually(lambda: "They are told that it was you." in words(screen.led))
    portal.step(1)
    assert portal.desk.lease(MEMBER, lease.id).detail == "pi, who answers for the project, ended it"


async def test_what_its_engine_has_queued_says_why_and_until_when_and_leaves_the_queue_unpaid(
    portal: Kit, http: httpx.AsyncClient
) -> None:
    wait = Wait("slurm-wait-limit", portal.clock.now() + 600)
    portal.engine.scripts = {"*": Script(pending=1000, wait=wait)}  # type: ignore[attr-defined]
    lease = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    member = Compute(visit_of(http, "member", projects=OPTICS))
    lead = Compute(visit_of(http, "pi", projects=LEAD))
    words_of_it = f"{say('slurm-wait-limit')} Expected at {clock(wait.start)[-9:]}."
    await eventually(lambda: words_of_it in words(member.leases))
    await eventually(lambda: words_of_it in words(lead.led))
    assert "Leave the queue" in words(member.leases)
    press(member.leases, "end", lease=lease.id, name="optics · gpu1", waits="starting")
    await eventually(
        lambda: (
            "leaves the cluster's queue. Unless the cluster had begun it, nothing is charged." in words(member.leases)
        )
    )
    portal.step(1)
    assert (portal.seen(lease).state, portal.seen(lease).charged) == ("settled", 0)


async def test_while_the_engine_is_away_nothing_is_promised(portal: Kit, http: httpx.AsyncClient) -> None:
    portal.engine.away = True
    lease = portal.ask("gpu1", MEMBER, "optics")
    portal.step(1)
    screen = Compute(visit_of(http, "member", projects=OPTICS))
    await eventually(lambda: lease.id in screen.leases.html.html and screen.offers.known)
    assert say("engine-away-waiting") in words(screen.leases)
    assert "Nothing can start at once" in words(screen.answers)


# --- what comes from outside ----------------------------------------------------------------------------------------

EVIL = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'=HYPERLINK("http://evil")'
NOW = 1_800_000_000
BODY = {
    "id": "l-1", "state": "running", "user": EVIL, "project": EVIL, "profile": EVIL, "kind": "kernel", "gpus": 8,
    "server": f"{EVIL}/{EVIL}", "pool": EVIL, "placement": [{"domain": EVIL, "tray": 1, "gpus": [0]}], "factor_milli": 1000,
    "seconds": 3600, "held": 10, "asked_at": NOW, "started_at": NOW, "deadline": NOW + 3600, "beat_at": NOW,
    "idle_seconds": 900, "now": NOW, "workers": 2, "worker_gpus": 2,
}  # fmt: skip
OFFER = {
    "project": "p", "project_name": EVIL, "profile": "x", "version": 1, "display_name": EVIL, "gpus": 1, "span": "domain",
    "pool": EVIL, "gpu_model": EVIL, "simulated": True, "factor_milli": 1000, "price_milli": 1000, "longest": 60,
    "hold": 1, "left": 1, "free_now": 0, "expected_wait": 90,
    "why_not": {"type": "x", "title": "x", "status": 409, "detail": EVIL + "\n" + EVIL},
}  # fmt: skip
AWARD = {
    "id": "1", "project": EVIL, "pool": EVIL, "state": "active", "awarded": 100, "charged": 20, "held": 30, "left": 50,
    "starts": NOW, "ends": NOW + 9, "dry_at": None,
}  # fmt: skip
HOLDING = {"leases": 1, "gpus": 8, "waiting": 0, "ends_at": NOW + 60, "idle_gpus": 8, "now": NOW}


def everything(**but: object) -> Said:
    return Said({
        "/me": {"user": "x", "projects": [{"slug": "p", "name": EVIL, "role": "pi"}], "holding": HOLDING},
        "/leases": listed([BODY]), "/offers": listed([OFFER]), "/awards": listed([AWARD]),
        "/activity": {"since": NOW - 900, "step": 900,
                      "items": [{"at": NOW - 900, "held": 43_200, "busy": 11_160, "measured": 43_200}]},
        **but,
    })  # fmt: skip


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_markup_and_formulas_in_names_are_text(lang: str) -> None:
    said = everything()
    async with said.http as http:
        screen = Compute(visit_of(http, "x", lang, projects=(("p", EVIL, "pi"),)))
        blocks = [screen.answers, screen.leases, screen.awards, screen.offers, screen.led]
        await eventually(lambda: all(block.known is not None for block in blocks))
        for block in blocks:
            assert "&lt;script&gt;" in block.html.html or block is screen.answers
            assert not {"script", "img"} & {tag for tag, _ in tags(block.html.html)}
            assert not any("onerror" in attributes for _, attributes in tags(block.html.html))
            assert block._error == ""
        assert EVIL in words(screen.offers)


async def test_what_was_held_without_computing_is_said_in_one_sentence() -> None:
    async with everything().http as http:
        screen = Compute(visit_of(http, "x"))
        await eventually(lambda: screen.activity.known is not None)
        assert screen.activity.view.visible
        assert "You held 12.0 GPU-hours and computed on 3.10 of them." in screen.activity._plot._head.html
        assert list(screen.activity._bars.data_source.data["held"]) == [48.0]
        assert "In 24 h, 8.9 GPU-hours were held without computing." in words(screen.answers)


RUBBISH = [
    problem(500, "The portal could not."),
    httpx.Response(502, text="<html>Bad gateway"),
    httpx.Response(200, text='{"items": [{"id": '),
    httpx.Response(200, text="<html>login</html>"),
    httpx.Response(200, json=None),
    httpx.Response(200, json=[]),
    httpx.Response(200, json=listed([{}])),
    httpx.Response(200, json=listed(["x", 3])),
    httpx.Response(200, json={"items": {}, "total": "many", "page": None, "per_page": 0}),
]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
@pytest.mark.parametrize("first", [True, False], ids=["at first", "after a good answer"])
async def test_rubbish_keeps_the_last_good_value_and_says_so(rubbish: httpx.Response, *, first: bool) -> None:
    said = everything()
    good = dict(said.answers)
    bad = {path: (lambda _request: httpx.Response(rubbish.status_code, content=rubbish.content)) for path in good}
    async with said.http as http:
        said.answers = dict(bad) if first else good
        screen = Compute(visit_of(http, "x", projects=(("p", "P", "pi"),)))
        blocks = [screen.answers, screen.leases, screen.awards, screen.offers, screen.led]
        if not first:
            await eventually(lambda: all(block.known is not None for block in blocks))
            before = [block.known for block in blocks]
            said.answers = dict(bad)
            for block in blocks:
                block.refresh()
        await eventually(lambda: all('class="notice stale"' in block.html.html for block in blocks))
        for block in blocks:
            assert "portal" in words(block)
        if not first:
            assert [block.known for block in blocks] == before
            assert "This is from" in words(screen.leases)
            assert "Time left" in words(screen.leases)
        said.answers = good
        for block in blocks:
            block.refresh()
        await eventually(lambda: all(block.known is not None and "stale" not in block.html.html for block in blocks))


async def test_times_that_count_down_by_themselves_send_nothing() -> None:
    said = everything()
    beat = {"now": NOW}

    def leases(_request: httpx.Request) -> httpx.Response:
        beat["now"] += 3
        return httpx.Response(
            200,
            json=listed([{**BODY, "idle_seconds": 0, "now": beat["now"], "beat_at": beat["now"], "started_at": NOW}]),
        )

    said.answers["/leases"] = leases
    async with said.http as http:
        screen = Compute(visit_of(http, "x"))
        await eventually(lambda: screen.leases.known is not None)
        shown = screen.leases.html.html
        for passed in (6, 9, 12):
            screen.leases.refresh()
            await eventually(lambda passed=passed: screen.leases.known[0].items[0]["now"] == NOW + passed)
        assert hash(screen.leases.html.html) == hash(shown)


async def test_hundreds_of_leases_are_pages() -> None:
    rows = [{**BODY, "id": f"lease-{number}"} for number in range(220)]

    def page(request: httpx.Request) -> httpx.Response:
        at, size = (int(request.url.params[name]) for name in ("page", "per_page"))
        return httpx.Response(200, json=listed(rows[(at - 1) * size : at * size], at, size, len(rows)))

    async with everything(**{"/leases": page}).http as http:
        screen = Compute(visit_of(http, "x"))
        await eventually(lambda: screen.leases.known is not None)
        assert "Page 1 of 19, 220 in all" in words(screen.leases)
        assert len(screen.leases.html.html) < 60_000
        press(screen.leases, "page", page="19")
        await eventually(lambda: "Page 19 of 19" in words(screen.leases))
        assert screen.leases.html.html.count('class="card lease') == 4
        press(screen.leases, "page", page="no number")
        await eventually(lambda: "Page 1 of 19" in words(screen.leases))


def test_nothing_can_start_is_an_answer_too() -> None:
    told = can_start([], "x", "en")
    assert told["kind"] == "no"
    assert "your name here is x" in told["words"]


def test_a_shorter_start_is_a_yes() -> None:
    refused = {
        "type": "urn:nvlhub:problem:balance",
        "title": "Conflict",
        "status": 409,
        "longest_gpus": 2,
        "longest_seconds": 4000,
    }
    offer = Offer(
        project="demo", project_name="Demo", profile="gpu2", version=1, display_name="2 GPUs", gpus=2, span="domain",
        pool="main", gpu_model="GB300", simulated=True, factor_milli=1000, price_milli=2000, longest=14400, hold=1, left=1,
        free_now=3, expected_wait=0, why_not=Problem(**refused),
    )  # fmt: skip
    told = can_start([offer], "x", "en")
    assert told["kind"] == "yes"
    assert "“2 GPUs” can start at once for 1 h" in told["words"]
    allowed = offer.model_copy(update={"why_not": None, "free_now": 0})
    told = can_start([allowed], "x", "en")
    assert (told["kind"], told["words"]) == ("yes", "“2 GPUs” can start at once, paid by Demo.")
    told = can_start([allowed.model_copy(update={"expected_wait": 300, "queue_outside": 1})], "x", "en")
    assert told["kind"] == "wait"
    assert told["words"].endswith(
        "One job outside the portal waits in the cluster's queue, too; the expected start does not count it."
    )
