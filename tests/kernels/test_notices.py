"""What JupyterLab is told of leases and announcements."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from nvlhub.text import LANGUAGES
from nvlhub.wire import Extend, LeaseAsk, LeaseView
from nvlkernels import notices, provisioner
from nvlkernels.client import Portal, PortalDownError, PortalError
from nvlkernels.notices import Announcements, item, level, words
from nvlkernels.provisioner import LeaseProvisioner

NOW = 1_800_000_000
LEASE = {
    "id": "L1", "state": "running", "user": "u", "project": "demo", "profile": "gpu1", "kind": "kernel", "gpus": 1, "pool": "main",
    "factor_milli": 1000, "seconds": 3600, "held": 1, "asked_at": NOW, "deadline": NOW + 1000, "now": NOW,
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(provisioner, "time", made)
    return made


def holding(**more: Any) -> LeaseProvisioner:
    made = LeaseProvisioner()
    made._know(LeaseView(**LEASE | more))
    return made


@pytest.mark.parametrize(
    ("left", "expected"), [(None, ""), (901, ""), (900, "soon"), (301, "soon"), (300, "last"), (0, "last")]
)
def test_the_end_comes_near_at_15_and_5_minutes(left: int | None, expected: str) -> None:
    assert level(left) == expected


async def test_time_left_is_reckoned_from_the_portals_clock_alone(clock: Clock) -> None:
    held = holding()
    clock.at += 150
    told = item("k", held, "en", waiting=False)
    assert (told["left"], told["level"]) == (850, "soon")
    clock.at += 10_000
    assert held.seconds_left == 0


async def test_a_start_that_waits_has_no_time_left_but_a_place_in_the_queue(clock: Clock) -> None:
    told = item("k", holding(state="held", deadline=None, position=2, expected_start=NOW + 90), "en", waiting=True)
    assert told["left"] is None
    assert "position 2" in told["text"]
    assert "about 2 min" in told["text"]


async def test_a_start_that_its_engine_has_queued_says_why_and_can_be_cancelled(clock: Clock) -> None:
    told = {"state": "starting", "deadline": None, "detail": "The cluster is full.", "expected_start": NOW + 90}
    held = holding(**told)
    held.zone = "Asia/Taipei"
    shown = item("k", held, "en", waiting=True)
    assert "1 × GPU (demo): The cluster is full. Expected at 16:01 CST (UTC+8)." in shown["text"]
    assert shown["cancel"] == "Cancel"
    assert "text" not in item("k", held, "en", waiting=False)
    assert "text" not in item("k", holding(state="starting", deadline=None), "en", waiting=True)


async def test_gpus_that_are_there_without_a_kernel_are_told_after_a_while(clock: Clock) -> None:
    assert "text" not in item("k", holding(started_at=NOW - 9), "en", waiting=True)
    assert "the GPUs are there and are charged" in item("k", holding(started_at=NOW - 10), "en", waiting=True)["text"]


class PortalOfAQueue(Portal):
    """Has a lease in its engine's queue until it is given back."""

    def __init__(self) -> None:
        super().__init__({})
        self.ended: list[str] = []
        self.looked = asyncio.Event()
        self.began: int | None = None

    async def ask(self, ask: LeaseAsk, key: str) -> LeaseView:
        return LeaseView(**LEASE | {"state": "starting", "deadline": None})

    async def lease(self, lease_id: str) -> LeaseView:
        self.looked.set()
        wait = {"state": "starting", "deadline": None, "detail": "Full.", "expected_start": NOW + 60}
        return LeaseView(**LEASE | wait | {"started_at": self.began})

    async def zone(self) -> str:
        return "Asia/Taipei"

    async def end(self, lease_id: str) -> LeaseView:
        self.ended.append(lease_id)
        return LeaseView(**LEASE)


@pytest.mark.parametrize(("began", "words"), [(None, "nothing was charged"), (NOW, "Only the seconds")])
async def test_a_start_is_cancelled_while_its_agent_is_awaited(
    monkeypatch: pytest.MonkeyPatch, began: int | None, words: str
) -> None:
    monkeypatch.setattr(provisioner, "QUEUE_POLL", 0.01)
    held, portal = LeaseProvisioner(kernel_id="k1", project="demo", profile="gpu1"), PortalOfAQueue()
    held._portal, portal.began = portal, began
    taking = asyncio.create_task(held._take())
    async with asyncio.timeout(60):
        await portal.looked.wait()
        while not held.zone:
            await asyncio.sleep(0)
        assert "Full. Expected at 16:01 CST (UTC+8)." in item("k1", held, "en", waiting=True)["text"]
        provisioner.WAITING["k1"].cancel()
        with pytest.raises(RuntimeError, match=words):
            await taking
    assert portal.ended == ["L1"]
    assert "k1" not in provisioner.HELD


async def test_more_time_is_known_at_once(clock: Clock) -> None:
    held = holding()

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, json.loads(request.content)) == ("POST", {"seconds": 3600})
        return httpx.Response(200, json=LEASE | {"deadline": NOW + 4600})

    held._portal._http = httpx.AsyncClient(base_url="http://portal", transport=httpx.MockTransport(answer))
    await held.extend(Extend(seconds=3600))
    assert held.seconds_left == 4600


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_sentence_has_what_the_browser_fills(lang: str) -> None:
    told = words(lang)
    assert all(told.values())
    for name, members in {
        "left": "time",
        "soon": "time",
        "last": "time",
        "panel": "gpus project time",
        "startSure": "kernel",
    }.items():
        assert set(re.findall(r"\{(\w+)\}", told[name])) == set(members.split())
    assert bool(re.search("[一-鿿]", "".join(told.values()))) == (lang == "zh-TW")


def scripted(monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response | Exception) -> list[int]:
    script, asked = iter(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        found = next(script)
        if isinstance(found, Exception):
            raise found
        return found

    def made() -> Portal:
        portal = Portal({"JUPYTERHUB_API_TOKEN": "t"})
        portal._http = httpx.AsyncClient(base_url="http://portal", transport=httpx.MockTransport(answer))
        return portal

    monkeypatch.setattr(notices, "Portal", made)
    return asked


async def known(announcements: Announcements) -> list[dict[str, str]]:
    announcements.now()
    assert announcements._asking is not None
    await announcements._asking
    return announcements.now()


async def test_announcements_are_passed_on_and_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        {"id": 3, "level": "critical", "text": "Down at 5", "lease": None},
        {"id": 4, "level": "<b>", "text": "x" * 9999},
    ]
    asked = scripted(monkeypatch, httpx.Response(200, json={"items": items}))
    announcements = Announcements()
    told = await known(announcements)
    assert told[0] == {"id": "3", "level": "critical", "text": "Down at 5"}
    assert (told[1]["level"], len(told[1]["text"])) == ("info", notices.LONGEST)
    assert announcements.now() == told
    assert len(asked) == 1


NOT_THERE = {"type": "urn:nvlhub:problem:not-found", "title": "", "status": 404}


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(404, json=NOT_THERE), httpx.Response(502, text="<html>"), httpx.Response(200, text="<html>"),
     httpx.Response(200, json=[1]), httpx.Response(200, json={"items": [1]}), httpx.ConnectError("away")],
)  # fmt: skip
async def test_a_portal_without_announcements_or_with_rubbish_announces_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception
) -> None:
    scripted(monkeypatch, answer)
    assert await known(Announcements()) == []


async def test_nobody_waits_for_a_portal_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    class Silent(Portal):
        async def announcements(self) -> list[dict[str, Any]]:
            await never.wait()
            return []

    monkeypatch.setattr(notices, "Portal", lambda: Silent({}))
    announcements = Announcements()
    assert announcements.now() == []
    assert announcements.now() == []
    assert announcements._asking is not None
    never.set()
    await announcements._asking


async def test_a_refusal_of_more_time_is_an_error_in_words() -> None:
    no = {"type": "urn:nvlhub:problem:extend-balance", "title": "", "status": 409, "detail": "too little left"}
    for found, error in ((httpx.Response(409, json=no), PortalError), (httpx.Response(502), PortalDownError)):
        held = holding()
        transport = httpx.MockTransport(lambda request, found=found: found)
        held._portal._http = httpx.AsyncClient(base_url="http://portal", transport=transport)
        with pytest.raises(error):
            await held.extend(Extend(seconds=60))
