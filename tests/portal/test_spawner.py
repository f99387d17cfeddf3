"""The spawn page's form and the hub's word to servers: whatever the portal does, the page comes, and soon."""

from __future__ import annotations

import ast
import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nvlhub.flow.request import Span
from nvlhub.portal import spawner
from nvlhub.portal.spawner import LeaseSpawnerMixin, read_form
from nvlhub.wire import Offer, Problem
from tests.portal.hub_kit import MARKUP, Handler


def offer(project: str = "demo", profile: str = "gpu1", **more: Any) -> dict[str, Any]:
    full = {
        "project": project, "project_name": f"Project {project}", "profile": profile, "version": 1, "display_name": "1 GPU",
        "gpus": 1, "span": Span.DOMAIN, "pool": "main", "gpu_model": "GB300", "simulated": True, "factor_milli": 1000,
        "price_milli": 250, "longest": 3600, "hold": 1, "left": 3_600_000, "free_now": 7, "expected_wait": 0,
    }  # fmt: skip
    return Offer(**{**full, **more}).model_dump(mode="json")


class Base:
    name = ""
    ends: asyncio.Event | None = None
    """Set when the hub has taken in that the server ended."""
    looks = 0

    async def poll_and_notify(self) -> int | None:
        self.looks += 1
        if self.ends is None:
            return None
        await self.ends.wait()
        return -9

    async def stop(self) -> None:
        pass

    def get_env(self) -> dict[str, str]:
        return {}

    def get_args(self) -> list[str]:
        return []


class Spawner(LeaseSpawnerMixin, Base):
    """A spawner without a hub. `told`: what the portal says, in turn; the last again and again."""

    def __init__(self, *told: Any, lang: str = "en", **headers: str) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.told = list(told)
        self.asked: list[str] = []
        self.user = SimpleNamespace(name="researcher", escaped_name="researcher")
        self.handler = Handler("/hub/spawn", Accept_Language=lang, **headers)
        self.log = logging.getLogger("hub")

    async def _portal(self, method: str, path: str, lang: str = "en", **more: Any) -> Any:
        self.asked.append(lang)
        self.paths.append(path)
        answer = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            return await answer()
        return answer


AWAY = spawner.httpx.ConnectError("refused")
ONE = {"items": [offer()]}


async def slow() -> None:
    await asyncio.Event().wait()


async def test_offers_are_cards_by_project_with_price_and_what_is_free() -> None:
    text = await Spawner({"items": [offer(), offer("other", free_now=0, expected_wait=600)]}).offers_form()
    assert "<table" not in text
    assert text.count("<li data-offer=") == 2
    for part in (
        "7 can start now",
        "expected in 10 min",
        "0.25 GPU-hours per hour",
        "costs nothing",
        "1.00 GPU-hours left",
    ):
        assert part in text
    # The choice has no name: it is not sent, and a server has no options.
    assert '<select id="nvl-project" class="form-select">' in text
    assert 'hidden><label for="nvl-project"' in text


def test_the_way_back_in_is_no_option() -> None:
    assert read_form({"back": ["1"], "_xsrf": ["x"]}) == {}
    assert read_form({"back": ["1"], "gpus": ["73"]}) == {"gpus": "73"}


async def test_one_project_needs_no_choice() -> None:
    assert "<select" not in await Spawner(ONE).offers_form()


async def test_names_and_reasons_are_shown_as_text() -> None:
    why = Problem(type="x", title="x", status=409, detail=MARKUP)
    text = await Spawner(
        {"items": [offer(project_name=MARKUP, display_name=MARKUP, gpu_model=MARKUP, why_not=why.model_dump())]}
    ).offers_form()
    assert MARKUP not in text
    assert text.count("&lt;b&gt;&amp;amp;&lt;/b&gt;") >= 4


@pytest.mark.parametrize(
    "told",
    [
        AWAY,
        spawner.httpx.ReadTimeout("slow"),
        ValueError("no JSON"),
        {"items": [{"project": "demo"}]},
        {},
        [],
        None,
        "x",
    ],
    ids=str,
)
async def test_a_portal_that_is_away_or_answers_half_leaves_a_page_that_says_so(told: Any) -> None:
    text = await Spawner(told).offers_form()
    assert "does not answer now" in text
    assert "data-live" in text


async def test_a_portal_that_is_slow_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner, "PATIENCE", 0.05)
    assert "does not answer now" in await asyncio.wait_for(Spawner(slow).offers_form(), 5)


async def test_what_was_told_lately_is_shown_at_once_and_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Spawner(ONE, slow)
    await page.offers_form()
    assert "7 can start now" in await asyncio.wait_for(page.offers_form(), 5)
    await asyncio.sleep(0)
    assert len(page.asked) == 2
    # One look at a time, however many come.
    await page.offers_form()
    assert len(page.asked) == 2
    page._asking.cancel()  # type: ignore[union-attr]


async def test_the_last_good_word_is_shown_with_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Spawner(ONE, AWAY)
    await page.offers_form()
    now = spawner.time.monotonic()
    monkeypatch.setattr(spawner.time, "monotonic", lambda: now + 120)
    text = await page.offers_form()
    assert "7 can start now" in text
    assert "from 2 min ago" in text
    monkeypatch.setattr(spawner.time, "monotonic", lambda: now + 2 * spawner.KEPT)
    assert "does not answer now" in await page.offers_form()


@pytest.mark.parametrize(
    ("lang", "cookie", "found"),
    [("en", "", "en"), ("zh-TW", "", "zh-TW"), ("en", "zh-TW", "zh-TW"), ("zh-TW", "en", "en"), ("en", "xx", "en")],
)
async def test_the_chosen_language_goes_before_that_of_the_browser(lang: str, cookie: str, found: str) -> None:
    page = Spawner(ONE, lang=lang, **({"Cookie": f"nvlhub-language={cookie}"} if cookie else {}))
    assert f'lang="{found}"' in await page.offers_form()
    assert page.asked == [found]
    assert page.get_env()["NVLHUB_LANGUAGE"] == found


async def test_offers_in_another_language_are_asked_for_again() -> None:
    page = Spawner(ONE)
    await page.offers_form()
    page.handler = Handler("/hub/spawn", Accept_Language="zh-TW")
    assert "目前可啟動 7 個" in await page.offers_form()


def test_the_server_of_a_seat_knows_its_run_and_no_other_does() -> None:
    page = Spawner(ONE)
    for name, run in (("class-12", "12"), ("class-", None), ("my-class-12", None), ("class-x", None), ("", None)):
        page.name = name
        assert page.get_env().get("NVLHUB_COURSE_RUN") == run


def test_a_site_chooses_extensions_of_servers_but_not_those_that_keep_users_apart() -> None:
    made = Spawner()
    made.server_extensions = {"panel.io.jupyter_server_extension": False, "jupyter_server_proxy": True}
    [word] = [word for word in made.get_args() if word.startswith("--ServerApp.jpserver_extensions=")]
    assert ast.literal_eval(word.partition("=")[2]) == {
        "panel.io.jupyter_server_extension": False, "jupyter_server_proxy": False, "nvlkernels.extension": True,
    }  # fmt: skip


def test_a_server_that_starts_without_a_page_speaks_english() -> None:
    page = Spawner(ONE)
    page.handler = None  # type: ignore[assignment]
    assert page.get_env()["NVLHUB_LANGUAGE"] == "en"


async def test_a_portal_that_did_not_hear_that_a_server_stopped_is_told_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spawner, "TOLD_AFTER", (0, 0, 0))
    late = spawner.httpx.ReadTimeout("late")
    for told, times, warned in (([AWAY, late, {}], 3, False), ([{}], 1, False), ([AWAY], 3, True)):
        caplog.clear()
        made = Spawner(*told)
        await made.stop()
        await made.release_leases()
        assert made.paths == ["/servers/researcher/-/stopped"] * times
        assert ("its leases end by silence" in caplog.text) == warned


async def test_who_looks_while_the_hub_takes_in_the_end_of_a_server_waits_for_that() -> None:
    made = Spawner({})
    assert await made.poll_and_notify() is None
    made.ends = asyncio.Event()
    looking = [asyncio.create_task(made.poll_and_notify()) for _ in range(3)]
    await asyncio.sleep(0.01)
    # Whoever goes away meanwhile, as a page that is closed does, undoes nothing of it.
    looking[0].cancel()
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in looking[1:])
    made.ends.set()
    assert await asyncio.gather(*looking[1:]) == [-9, -9]
    assert made.looks == 2
    made.ends = None
    assert await made.poll_and_notify() is None


async def test_the_leases_of_a_server_that_nobody_stopped_are_left(caplog: pytest.LogCaptureFixture) -> None:
    made = Spawner({})
    await made.release_leases()
    assert made.paths == []
    assert "its kernels are kept" in caplog.text
