"""A portal that is not well, and screens that break: readable pages each time, and a service that goes on."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import panel as pn
import pytest
from bokeh.plotting import figure

from nvlhub.text import say
from nvlwidgets.panels import api, door, service, visit
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.screens import SCREENS, Screen
from nvlwidgets.panels.source import Reading, Sources
from nvlwidgets.panels.visit import Visit
from tests.panels.kit import Endless, Kit, serving
from tests.stories.visitor import Socket, Visitor
from tests.waiting import eventually

ILL = ["away", "half", "cut", "html", "other", "failed", "huge", "drips"]


class Sample:
    """A screen as they all are: one source, one part that is told what was pressed."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.html = Html(self._asked)
        self._said = ""
        self._leases = visit.own("sample", lambda: visit.api.items("/leases"), 1)
        visit.follow(self._leases, self._show)

    def _show(self, reading: Reading[list[dict[str, Any]]] | None, error: str) -> None:
        stale = self._visit.markup(
            "stale.html", known=reading is not None, error=error, age=reading.age if reading else 0
        )
        self.html.put(f"{stale}<p>{[lease['id'] for lease in reading.value] if reading else '…'}</p>{self._said}")

    def _asked(self, asked: Any) -> None:
        self._visit.run(self._end(asked["lease"]))

    async def _end(self, lease: str) -> None:
        _, self._said = await self._visit.act("DELETE", f"/leases/{lease}")
        self._leases.refresh()


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """*My compute* is the sample."""
    with_it = tuple(
        replace(screen, make=lambda visit: Sample(visit).html) if screen.slug == "compute" else screen
        for screen in SCREENS
    )
    monkeypatch.setattr(service, "SCREENS", with_it)


QUERY = {"lease": "?id=57e09b2f-3461-4ff1-a0f0-8a5b7535dbb0"}
"""What a screen needs to have something to ask for."""
LEASE = {"id": "lease-1"}


async def tab(visitor: Visitor, screen: str, **headers: str) -> Socket:
    visitor.http.headers.update(headers)
    return await visitor.socket(screen, await visitor.token(screen, QUERY.get(screen, "")))


async def bare(kit: Kit, screen: Screen) -> bool:
    """Tell whether a screen says nothing at all."""
    async with kit.guest("root") as root, await tab(root, screen.slug) as socket:
        return not re.sub("<[^>]*>", "", await socket.words()).strip()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LONGEST", 0.5)
    monkeypatch.setattr(api, "LARGEST", 4 * 1024 * 1024)
    get = Sources.get
    monkeypatch.setattr(Sources, "get", lambda own, key, fetch, every: get(own, key, fetch, min(every, 0.1)))


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.slug)
async def test_a_screen_comes_up_without_a_portal_and_says_so(screen: Screen, lang: str) -> None:
    async with serving() as kit, kit.guest("root") as root:
        if await bare(kit, screen):
            pytest.skip(f"the screen {screen.slug} shows nothing yet")
        kit.panels.sources.clear()
        kit.portal.mode = "away"
        socket = await tab(root, screen.slug, **{"Accept-Language": lang})
        async with socket:
            await socket.shows(say("panels-no-portal", lang))


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("mode", ILL)
async def test_a_portal_that_falls_ill_leaves_the_last_good_value_and_its_age(mode: str) -> None:
    async with serving() as kit, kit.guest("alice") as alice:
        kit.portal.leases = [LEASE]
        socket = await tab(alice, "compute")
        async with socket:
            await socket.shows("lease-1")
            kit.portal.mode = mode
            await socket.shows(say("stale-since", age="").split("{")[0].strip(" .")[:12])
            assert "lease-1" in await socket.words()
            kit.portal.mode = "well"
            kit.portal.leases = []
            async with asyncio.timeout(15):
                while "lease-1" in await socket.words() or "stale" in await socket.words():
                    await asyncio.sleep(0.05)
        # What is too large is not read to its end.
        assert Endless.most < 10


@pytest.mark.parametrize("mode", ILL)
async def test_a_portal_that_is_ill_from_the_start_stops_no_page(mode: str) -> None:
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("root") as root:
        kit.portal.mode = mode
        for screen in SCREENS:
            page = await root.get(f"/{screen.slug}")
            assert page.status_code == 200, screen.slug
            assert page.text.count("<h1") == 1
        # Whether somebody decides for a programme cannot be told now: that is no refusal.
        waiting = await alice.get("/programme")
        assert waiting.status_code == 503
        assert say("panels-no-portal") in waiting.text
        assert (await alice.get("/fleet")).status_code in {403, 503}
        kit.portal.mode = "well"
        await eventually(lambda: kit.sessions > 0)
        assert (await alice.get("/programme")).status_code == 403


async def test_a_portal_that_takes_its_time_does_not_hold_up_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LONGEST", 30.0)
    monkeypatch.setattr(door, "PATIENCE", 0.3)
    async with serving() as kit, kit.guest("root") as root:
        kit.portal.mode = "slow"
        for screen in SCREENS:
            async with asyncio.timeout(api.LONGEST / 2), await tab(root, screen.slug) as socket:
                await socket.words()


async def test_an_officer_stays_one_while_the_portal_is_away() -> None:
    async with serving() as kit, kit.guest("bob") as bob:
        kit.portal.officers["bob"] = ["council"]
        assert (await bob.get("/programme")).status_code == 200
        kit.portal.mode = "away"
        kit.panels.door._told = {token: (0.0, told) for token, (_, told) in kit.panels.door._told.items()}
        assert (await bob.get("/programme")).status_code == 200


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
async def test_a_screen_that_breaks_is_a_readable_page(monkeypatch: pytest.MonkeyPatch, lang: str) -> None:
    def breaks(_visit: Any) -> Any:
        raise ZeroDivisionError

    broken = tuple(replace(screen, make=breaks) if screen.slug == "compute" else screen for screen in SCREENS)
    monkeypatch.setattr(service, "SCREENS", broken)
    async with serving() as kit, kit.guest("alice") as alice:
        socket = await tab(alice, "compute", **{"Accept-Language": lang})
        async with socket:
            assert say("panels-broken", lang) in await socket.words()


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
@pytest.mark.parametrize("screen", ["compute", "fleet"])
async def test_an_engine_that_is_away_is_told_around_a_screen_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, screen: str, lang: str
) -> None:
    monkeypatch.setattr(visit, "SITE_EVERY", 0.05)
    async with serving() as kit, kit.guest("root") as root:
        socket = await tab(root, screen, **{"Accept-Language": lang})
        async with socket:
            assert say("engine-away", lang) not in await socket.words()
            kit.portal.engine_away = True
            await socket.shows(say("engine-away", lang))
            kit.portal.engine_away = False
            async with asyncio.timeout(15):
                while say("engine-away", lang) in await socket.words():
                    await asyncio.sleep(0.05)


@pytest.mark.usefixtures("sample")
async def test_what_was_asked_for_and_not_answered_is_told_as_such() -> None:
    async with serving() as kit, kit.guest("alice") as alice:
        kit.portal.leases = [LEASE]
        socket = await tab(alice, "compute")
        async with socket:
            await socket.shows("lease-1")
            kit.portal.mode = "away"
            await socket.ask(action="end", lease="lease-1")
            await socket.shows(say("panels-no-answer"))


@pytest.mark.usefixtures("sample")
async def test_a_session_ends_with_its_tab_and_nothing_is_asked_for_it_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "UNUSED", 1)
    monkeypatch.setattr(service, "SWEEP", 0.3)
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("root") as root:
        for screen in SCREENS:
            socket = await tab(root, screen.slug)
            async with socket:
                await socket.words()
        one, two = await tab(alice, "compute"), await tab(alice, "compute")
        leases = [source for source in kit.panels.sources._known.values() if source.followed]
        async with two:
            async with one:
                await one.words()
                await two.words()
            await eventually(lambda: kit.sessions == 1)
            assert any(source.followed for source in leases)
        await eventually(lambda: kit.sessions == 0)
        sources = list(kit.panels.sources._known.values())
        assert [source for source in sources if source.followed] == []
        await eventually(lambda: not any(source.asking for source in sources))


async def test_an_address_that_somebody_else_has_chosen_is_only_text() -> None:
    async with serving() as kit, kit.guest("root") as root:
        for screen in SCREENS:
            evil = "<script>alert(1)</script>"
            query = dict.fromkeys(("lease", "project", "domain", "to", "next", "profile", "x", "id"), evil)
            page = await root.get(f"/{screen.slug}", params={**query, "long": "y" * 3000, "nul": "\x00"})
            assert page.status_code == 200, screen.slug
            assert evil not in page.text


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
async def test_a_page_without_scripts_or_sockets_leads_to_the_plain_one(lang: str) -> None:
    async with serving() as kit, kit.guest("alice") as alice:
        page = (await alice.get("/compute", headers={"Accept-Language": lang})).text
        without_scripts = page.partition("<noscript>")[2].partition("</noscript>")[0]
        without_socket = page.partition('id="silent"')[2].partition("</p>")[0]
        for part, message in ((without_scripts, "frame-noscript"), (without_socket, "frame-silent")):
            assert say(message, lang) in part
            assert 'href="/services/portal/"' in part


async def test_what_changes_together_comes_in_one_message_and_is_shown_last(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late:
        """Something hidden that is filled and shown as soon as the page is there."""

        def __init__(self, visit: Visit) -> None:
            self.hidden = pn.Column(visible=False)
            self.plot = figure()
            self.line = self.plot.line(x="x", y="y", source={"x": [], "y": []})
            visit.soon(self._fill)

        def _fill(self) -> None:
            self.hidden.visible = True
            self.hidden[:] = [pn.pane.Bokeh(self.plot)]
            self.line.data_source.data = {"x": [1, 2], "y": [3, 4]}

    with_it = tuple(
        replace(screen, make=lambda visit: Late(visit).hidden) if screen.slug == "compute" else screen
        for screen in SCREENS
    )
    monkeypatch.setattr(service, "SCREENS", with_it)
    async with serving() as kit, kit.guest("alice") as alice, await tab(alice, "compute") as socket:
        assert await socket.document()
        while (message := await socket.message()).msgtype != "PATCH-DOC":
            pass
        told = [event["attr"] for event in message.content["events"]]
        assert told[-1] == "visible"
        assert {"children", "visible"} <= set(told)
        assert told.count("visible") == 1
