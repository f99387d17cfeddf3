"""The screen of reservations against the real API, without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from bokeh.document import Document

from nvlhub.api import Doors, make_app
from nvlhub.forms import NewReservation, ReservationPatch
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.screens.reservations import Reservations, peak, stacked
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit
from tests.api.test_api import identify
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, Kit, kit
from tests.tables import store_at
from tests.waiting import eventually

HOUR = 3600
DAY = 24 * HOUR


class HereAndNow(Visit):
    """A visit whose document is changed at once: there is no server that has a turn."""

    def soon(self, do: Callable[[], None]) -> None:
        do()


class Tab:
    """One open tab."""

    def __init__(self, portal: Kit, lang: str = "en") -> None:
        self.kit = portal
        application = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(application, raise_app_exceptions=False))
        api = Api(self.http, "http://portal", "admin", lang)
        guest = Guest("admin", "admin", admin=True)
        zone = portal.desk.zone
        self.visit = HereAndNow(guest, lang, zone, "/services/panels", {}, api, api, Sources(), Document())
        self.screen = Reservations(self.visit)

    @property
    def html(self) -> str:
        return "".join(part.html for part in (self.screen._head, self.screen._new, self.screen._list))

    async def until(self, words: str) -> None:
        await eventually(lambda: words in self.html)

    async def do(self, action: str, **told: Any) -> None:
        """Do something, and wait until the screen shows what came of it."""
        self.screen._asked({"action": action, **told})
        while self.visit._tasks:
            await asyncio.gather(*self.visit._tasks)
        await self.screen._source.ask()
        self.screen._show(self.screen._source.reading, self.screen._source.error)

    def input(self, name: str, form: str = "") -> str:
        [value] = re.findall(rf'name="{name}" value="([^"]*)"', self.html.partition(form)[2] if form else self.html)[:1]
        return str(value)


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Kit:
    store = store_at(tmp_path / "x.sqlite")
    return kit(store, clock)


@pytest.fixture
async def tab(portal: Kit) -> AsyncIterator[Tab]:
    portal.desk.zone = "Asia/Taipei"
    made = Tab(portal)
    await made.until("Nothing is reserved. Fill in")
    yield made
    made.visit.leave()
    for source in made.visit.sources._known.values():
        source.stop()
    await made.http.aclose()
    portal.store.close()


FILLED = {
    "name": "Typhoon week", "project": "demo", "gpus": "30", "starts": "2027-03-14T09:00", "ends": "2027-03-15T09:00",
    "note": "=HYPERLINK(1)",
}  # fmt: skip


async def test_what_is_typed_is_tried_and_sent_once(tab: Tab) -> None:
    assert tab.input("starts") == "2027-01-15T17:00"
    await tab.do("try", **FILLED)
    assert "This would keep 32 GPUs: nvl001: 1-8." in tab.html
    assert "Nobody is in the way." in tab.html
    tab.screen._asked({"action": "add", **FILLED})
    await tab.do("add", **FILLED)
    assert "Reserved: 32 GPUs for demo." in tab.html
    assert tab.html.count('data-ask="cancel"') == 1
    assert "2027-03-14 09:00 CST (UTC+8) to 2027-03-15 09:00 CST (UTC+8)" in tab.html
    assert (tab.input("name"), tab.input("project"), tab.input("starts")) == ("", "demo", "2027-03-14T09:00")


async def test_who_is_in_the_way_and_what_would_be_possible_is_told(tab: Tab) -> None:
    lease = tab.kit.ask("gpu4", seconds=4 * HOUR)
    near = {**FILLED, "starts": "2027-01-15T17:00", "ends": "2027-01-15T18:00", "gpus": "72"}
    await tab.do("try", **near)
    assert f"4 GPUs of {lease.user} (demo), until" in tab.html
    await tab.do("add", **FILLED)
    await tab.do("try", **{**FILLED, "gpus": "72"})
    assert "Possible in the same time: 40 GPUs." in tab.html
    assert "from 2027-03-15 09:00 CST (UTC+8) on" in tab.html
    await tab.do("try", **{**FILLED, "gpus": "many"})
    assert "whole number from 1 to 10008" in tab.html


async def test_a_reservation_is_moved_as_it_was_shown_and_cancelled(tab: Tab) -> None:
    await tab.do("add", **FILLED)
    [row] = tab.screen._reading.value.rows  # type: ignore[union-attr]
    was = {"wasStarts": str(row["starts"]), "wasEnds": str(row["ends"])}
    later = {"id": row["id"], "starts": "2027-03-14T10:00", "ends": "2027-03-15T10:00"}
    await tab.do("move", **later, **was)
    assert "Moved." in tab.html
    assert "2027-03-14 10:00 CST (UTC+8) to" in tab.html
    await tab.do("move", **later, **was)
    assert "somebody else changed this reservation" in tab.html
    now = {"wasStarts": str(row["starts"] + HOUR), "wasEnds": str(row["ends"] + HOUR)}
    await tab.do("move", id=row["id"], starts="2020-01-01T00:00", ends="2027-03-15T10:00", **now)
    assert "it lies in the past" in tab.html
    await tab.do("cancel", id=row["id"])
    assert "Cancelled. Its trays are free" in tab.html
    assert 'data-ask="cancel"' not in tab.html


async def test_an_hour_that_exists_twice_is_asked_about(tab: Tab) -> None:
    tab.visit.zone = "Europe/Berlin"
    twice = {**FILLED, "starts": "2027-10-31T02:30", "ends": "2027-10-31T08:00"}
    await tab.do("add", **twice)
    assert "exists twice" in tab.html
    assert 'data-ask="cancel"' not in tab.html
    await tab.do("add", **twice, starts_second="1")
    [row] = tab.screen._reading.value.rows  # type: ignore[union-attr]
    assert row["ends"] - row["starts"] == 5 * HOUR + 1800
    await tab.do("try", **{**FILLED, "starts": "2027-03-28T02:30"})
    assert "does not exist" in tab.html


async def test_names_are_escaped_and_nobody_chooses_what_is_asked(tab: Tab) -> None:
    await tab.do("add", **{**FILLED, "name": '"><script>x</script>'})
    assert "<script>" not in tab.html
    await tab.do("add", **{**FILLED, "name": "'\" onclick=x"})
    assert '" onclick' not in tab.html
    for asked in ({"action": "cancel", "id": "../leases/1"}, {"action": "move"}, {"action": "span", "value": "9"}, {}):
        tab.screen._asked(asked)
    assert not tab.visit._tasks


async def test_the_plot_says_in_words_and_as_a_table_what_it_shows(tab: Tab) -> None:
    now = tab.kit.clock.now()
    for starts, gpus in ((DAY, 8), (2 * DAY, 40), (20 * DAY, 4)):
        body = NewReservation(name="x", project="demo", gpus=gpus, starts=now + starts, ends=now + starts + 3 * DAY)
        tab.kit.registry.reservations.add(ADMIN, body)
    await tab.do("none")
    plot = tab.screen._chart._plot
    assert "2 reservations keep up to 48 of the 72 GPUs" in plot._head.html
    assert plot._table.html.count("<tr>") == 3
    await tab.do("span", value="28")
    assert "In the next 28 days 3 reservations" in plot._head.html
    assert tab.screen._chart._bars.data["bottom"] == [0, 8, 0]
    # Midnight in Taipei stands at midnight.
    assert tab.screen._chart._x.start == (START + 8 * HOUR) * 1000


async def test_when_the_portal_is_away_the_last_value_stays_with_its_age(tab: Tab, monkeypatch: Any) -> None:
    await tab.do("add", **FILLED)

    async def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("away")

    monkeypatch.setattr(httpx.ASGITransport, "handle_async_request", away)
    await tab.do("try", **FILLED)
    assert "Typhoon week" in tab.html
    assert "This is from" in tab.html


async def test_in_chinese(portal: Kit) -> None:
    tab = Tab(portal, "zh-TW")
    await tab.until("目前沒有預約")
    portal.registry.reservations.add(
        ADMIN, NewReservation(name="課程", project="demo", gpus=4, starts=START, ends=START + HOUR)
    )
    portal.registry.reservations.move(ADMIN, 1, ReservationPatch(ends=START + 2 * HOUR), "*")
    await tab.do("none")
    assert "課程" in tab.html
    assert "預約本身不收費" in tab.html
    tab.visit.leave()
    await tab.http.aclose()
    portal.store.close()


def test_bars_never_lie_on_each_other() -> None:
    rows = [
        {"starts": starts, "ends": starts + length, "gpus": gpus}
        for starts, length, gpus in ((0, 10, 8), (2, 3, 4), (4, 10, 16), (5, 2, 4), (11, 2, 8))
    ]
    lows = stacked(rows)
    assert lows == [0, 8, 12, 8, 0]
    assert peak(rows) == 28
