"""What is asked for once and followed by many."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from bokeh.document import Document

from nvlhub.text import say
from nvlhub.wire import Problem
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.source import Reading, Source, Sources
from nvlwidgets.panels.visit import Visit
from tests.waiting import eventually


class Fetch:
    """Counts, and fails as told."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails: Exception | None = None
        self.at_once = 0
        self.most = 0

    async def __call__(self) -> int:
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fails:
            raise self.fails
        return self.asked


async def test_many_followers_cost_one_question() -> None:
    fetch = Fetch()
    source = Source(fetch, 60)
    heard: list[int] = []

    def hears(reading: Reading[int] | None, _error: str) -> None:
        heard.append(reading.value if reading else 0)

    leaves = [source.follow(hears) for _ in range(50)]
    await eventually(lambda: len(heard) >= 50)
    later = source.follow(hears)
    await asyncio.sleep(0)
    assert (fetch.asked, fetch.most) == (1, 1)
    for leave in (*leaves, later):
        leave()
    await eventually(lambda: not source.asking)


async def test_nothing_is_asked_when_the_last_has_left_and_again_when_somebody_comes() -> None:
    fetch = Fetch()
    source = Source(fetch, 0.01)
    leave = source.follow(lambda _reading, _error: None)
    await eventually(lambda: fetch.asked > 2)
    leave()
    await eventually(lambda: not source.asking)
    asked = fetch.asked
    leave = source.follow(lambda _reading, _error: None)
    await eventually(lambda: fetch.asked > asked)
    leave()
    await eventually(lambda: not source.asking)


async def test_who_comes_while_the_poller_ends_is_served() -> None:
    fetch = Fetch()
    source = Source(fetch, 60)
    heard: list[object] = []
    leave = source.follow(lambda reading, _error: heard.append(reading))
    await eventually(lambda: heard)
    leave()
    source.follow(lambda reading, _error: heard.append(reading))
    source.refresh()
    await eventually(lambda: len(heard) > 1)
    source.stop()


async def test_a_failure_keeps_the_last_good_value_and_says_why() -> None:
    fetch = Fetch()
    source = Source(fetch, 60)
    await source.ask()
    good = source.reading
    assert good is not None
    for error, reason in (
        (PortalDownError("away"), "panels-no-portal"),
        (PortalError(Problem(type="x", title="t", status=409, detail="no room")), ""),
        (KeyError("items"), "panels-failed"),
    ):
        fetch.fails = error
        await source.ask()
        assert source.reading is not None
        assert (source.reading.value, source.reading.at) == (good.value, good.at)
        assert source.reading.error == source.error != ""
        assert source.reason == reason
    fetch.fails = None
    await source.ask()
    assert (source.error, source.reason, source.reading.error) == ("", "", "")


async def test_a_view_that_breaks_takes_no_other_with_it() -> None:
    fetch = Fetch()
    source = Source(fetch, 0.01)
    heard: list[object] = []

    def breaks(_reading: object, _error: str) -> None:
        raise ZeroDivisionError

    source.follow(breaks)
    source.follow(lambda reading, _error: heard.append(reading))
    await eventually(lambda: len(heard) > 3)
    assert source.followed == 1
    source.stop()


def visit_of(name: str, sources: Sources, lang: str = "en") -> Visit:
    http = httpx.AsyncClient()
    api = Api(http, "http://portal", f"token-of-{name}", lang)
    return Visit(Guest(name, f"token-of-{name}", admin=False), lang, "UTC", "/p", {}, api, api, sources, Document())


async def test_two_people_never_share_what_is_their_own_and_two_tabs_of_one_do() -> None:
    sources = Sources()
    fetch = Fetch()
    alice, bob = visit_of("alice", sources), visit_of("bob", sources)
    assert alice.own("leases", fetch, 1) is visit_of("alice", sources).own("leases", fetch, 1)
    assert alice.own("leases", fetch, 1) is not bob.own("leases", fetch, 1)
    assert alice.own("leases", fetch, 1) is not visit_of("alice", sources, "zh-TW").own("leases", fetch, 1)
    assert alice.public("pools", fetch, 1) is bob.public("pools", fetch, 1)
    nobody: Any = visit_of("", sources)
    assert nobody.own("pools", fetch, 1) is not alice.public("pools", fetch, 1)


async def test_what_nobody_looks_at_is_forgotten() -> None:
    sources = Sources()
    old = sources.get("old", Fetch(), 1)
    old.looked_at -= 61
    sources.get("new", Fetch(), 1)
    assert list(sources._known) == ["new"]


async def test_a_failure_of_what_all_see_is_told_in_each_ones_language() -> None:
    sources = Sources()
    fetch = Fetch()
    fetch.fails = PortalDownError("in no language in particular")
    told: dict[str, str] = {}
    for lang in ("en", "zh-TW"):
        visit = visit_of("alice", sources, lang)
        source = visit.public("pools", fetch, 1)
        await source.ask()

        def hears(_reading: object, error: str, lang: str = lang) -> None:
            told[lang] = error

        visit.follow(source, hears)
        visit.leave()
    assert told == {lang: say("panels-no-portal", lang) for lang in ("en", "zh-TW")}
    source.stop()


async def test_a_visit_that_is_over_stops_what_it_does() -> None:
    visit = visit_of("alice", Sources())
    begun = asyncio.Event()

    async def long() -> None:
        begun.set()
        await asyncio.Event().wait()

    visit.run(long())
    await begun.wait()
    [task] = visit._tasks
    visit.leave()
    await eventually(task.done)
    assert task.cancelled()


async def test_what_is_known_before_the_browser_shows_the_page_waits_for_it() -> None:
    """Panel loses changes between the fetching of a document and the browser's word that it is there."""
    visit = visit_of("alice", Sources())
    visit.ready = False
    done: list[int] = []
    visit.soon(lambda: done.append(1))
    visit.soon(lambda: done.append(2))
    assert visit.doc.session_callbacks == []
    visit.shown()
    visit.soon(lambda: done.append(3))
    for callback in visit.doc.session_callbacks:
        callback.callback()
    assert sorted(done) == [1, 2, 3]
    assert done.index(1) < done.index(2)
