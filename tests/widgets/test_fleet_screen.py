"""The screen Fleet on the real API, without a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from bokeh.document import Document
from bokeh.document.events import ModelChangedEvent
from bokeh.protocol import Protocol

from nvlhub.api import Doors, make_app
from nvlhub.flow.queue import Running
from nvlhub.wire import Share
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.fleet_day import levels
from nvlwidgets.panels.fleet_map import FleetMap
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.screens.fleet import Fleet
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit
from tests.api.test_api import identify
from tests.conftest import HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at
from tests.waiting import eventually

ADMIN = Guest("admin", "admin", admin=True)


class AtOnce(Document):
    """A document that may always be changed."""

    def add_next_tick_callback(self, callback: Any) -> Any:
        callback()


@dataclass
class Scene:
    """One administrator who looks at the fleet."""

    portal: Kit
    visit: Visit
    fleet: Fleet

    def press(self, part: Any, action: str, **more: object) -> None:
        """Do what a browser does when somebody presses something in a part."""
        part.asked = {"count": id(more), "action": action, **more}

    async def look(self) -> None:
        """Take a new picture, of what is so now: a question may be under way that was asked before."""
        self.portal.step()
        for _ in range(2):
            before = self.fleet._picture.reading
            self.fleet._picture.refresh()
            await eventually(lambda before=before: self.fleet._picture.reading is not before)


@asynccontextmanager
async def scene(folder: Path, domains: int = 2, lang: str = "en") -> AsyncIterator[Scene]:
    store = store_at(folder / "fleet.sqlite")
    portal = kit(store, HandClock(), domains=domains)
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        own, nobody = (Api(http, "http://portal", token, lang) for token in ("admin", "outsider"))
        visit = Visit(ADMIN, lang, "UTC", "/services/panels", {}, own, nobody, Sources(), AtOnce())
        fleet = Fleet(visit)
        made = Scene(portal, visit, fleet)
        await eventually(lambda: fleet._map.cells and fleet._holders.html)
        try:
            yield made
        finally:
            visit.leave()
            for source in visit.sources._known.values():
                source.stop()
    store.close()


async def test_the_map_has_a_byte_for_each_gpu_and_a_sentence_that_says_what_it_shows(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        assert seen.fleet._map.cells == bytes(144)
        assert [name for name, _ in seen.fleet._map.racks] == ["nvl001", "nvl002"]
        assert "144 of 144 GPUs are free" in seen.fleet._head.html
        assert "2 racks have all their trays in service" in seen.fleet._state.html
        assert "Nobody waits for room" in seen.fleet._state.html


async def test_a_lease_shows_on_the_map_and_its_holder_in_the_list(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.portal.ask("gpu4")
        await seen.look()
        assert seen.fleet._map.cells == bytes([1] * 4 + [0] * 140)
        seen.press(seen.fleet._modes, "by", value="user")
        await eventually(lambda: "researcher" in seen.fleet._holders.html)
        seen.press(seen.fleet._modes, "mode", value="holder")
        assert seen.fleet._map.cells[:5] == bytes([1 | 1 << 3] * 4 + [0])
        assert [9, "researcher"] in seen.fleet._map.legend
        seen.press(seen.fleet._modes, "mode", value="busy")
        assert seen.fleet._map.cells[:5] == bytes([1] * 4 + [0])


async def test_a_rack_is_opened_down_to_the_lease_which_can_be_ended(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        lease = seen.portal.ask("gpu2")
        await seen.look()
        rack = seen.fleet._rack.html
        seen.press(seen.fleet._map, "rack", domain="nvl001")
        await eventually(lambda: f"/services/panels/lease?id={lease.id}" in rack.html)
        assert seen.fleet._map.chosen == "nvl001"
        seen.press(rack, "tray", tray="1")
        await eventually(lambda: f"in-tray-{lease.id}" in rack.html)
        assert "researcher · demo · gpu2" in rack.html
        seen.press(rack, "end", lease=lease.id)
        await eventually(lambda: "is ending" in seen.fleet._acts.html.html)
        assert seen.portal.seen(lease).end_reason == "admin"
        seen.press(rack, "close")
        assert (rack.html.strip(), seen.fleet._map.chosen) == ("", "")


async def test_a_tray_is_drained_and_put_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        rack = seen.fleet._rack.html
        seen.press(seen.fleet._map, "rack", domain="nvl002")
        await eventually(lambda: "18 of 18 trays" in rack.html)
        seen.press(rack, "drain", tray="18")
        await eventually(lambda: "Out of service: nvl002 · Tray 18" in seen.fleet._acts.html.html)
        await seen.look()
        await eventually(lambda: "17 of 18 trays" in rack.html)
        await eventually(lambda: seen.fleet._map.cells == bytes(140) + bytes([2] * 4))
        seen.press(rack, "undrain")
        await eventually(lambda: "Back in service: nvl002" in seen.fleet._acts.html.html)
        await seen.look()
        await eventually(lambda: seen.fleet._map.cells == bytes(144))


async def test_a_message_goes_to_the_holder_about_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str, Any]] = []

    async def act(_visit: Visit, method: str, path: str, **more: Any) -> tuple[Any, str]:
        sent.append((method, path, more["json"]))
        return None, "" if len(sent) > 1 else "Too long."

    monkeypatch.setattr(Visit, "act", act)
    async with scene(tmp_path) as seen:
        note = seen.fleet._acts.html
        seen.press(seen.fleet._holders, "message", user="researcher", lease="abc-1")
        assert "<form" in note.html
        seen.press(note, "send", level="warning", text="Please <b>save</b>.")
        await eventually(lambda: "Too long." in note.html)
        assert "<form" in note.html
        seen.press(note, "send", level="warning", text="Save.")
        await eventually(lambda: "researcher has been sent" in note.html)
        assert "<form" not in note.html
    assert sent[0] == ("POST", "/announcements", {"level": "warning", "text": "Please <b>save</b>.", "user": "researcher", "lease": "abc-1"})  # fmt: skip


async def test_the_racks_are_a_table_in_pages(tmp_path: Path) -> None:
    async with scene(tmp_path, domains=50) as seen:
        table = seen.fleet._table
        assert "<table" not in table.html
        seen.press(table, "table")
        assert table.html.count('data-ask="rack"') == 20
        seen.press(table, "page", to="2")
        assert "Racks 41 to 50 of 50" in table.html
        for wrong in ("-1", "99", "x", ""):
            seen.press(table, "page", to=wrong)
            assert 'data-ask="rack"' in table.html
        seen.press(table, "table")
        assert "<table" not in table.html


@pytest.mark.parametrize(
    "asked",
    [{"action": "rack", "domain": "<script>alert(1)</script>"}, {"action": "mode", "value": "nonsense"}, {}, {"action": "by", "value": None}],
)  # fmt: skip
async def test_what_a_browser_makes_up_changes_nothing_and_is_escaped(tmp_path: Path, asked: dict[str, Any]) -> None:
    async with scene(tmp_path) as seen:
        seen.fleet._map.asked = asked
        rack = seen.fleet._rack.html
        if asked.get("domain"):
            await eventually(lambda: seen.fleet._rack._error)
            assert 'data-ask="close"' in rack.html
        assert "<script>" not in rack.html
        assert (seen.fleet._mode, seen.fleet._by) == ("state", "programme")


async def test_what_strangers_hold_has_no_lease_to_open_and_the_engines_trays_no_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as seen:
        engine = seen.portal.engine
        theirs = (Share(domain="nvl001", tray=1, gpus=(0, 1, 2, 3)),)
        monkeypatch.setattr(engine, "outside", (Running(theirs, seen.portal.clock.now() + 60),))
        first, *others = engine.capacity()
        down = tuple(replace(tray, in_service=tray.index != 2, reason="<fan> & pump") for tray in first.trays)
        monkeypatch.setattr(engine, "capacity", lambda: (replace(first, trays=down), *others))
        await seen.look()
        assert "4 are held outside the portal." in seen.fleet._head.html
        await eventually(
            lambda: '<th scope="row">outside the portal</th><td class="number">4</td>' in seen.fleet._holders.html
        )
        seen.press(seen.fleet._map, "rack", domain="nvl001")
        await eventually(lambda: "tray-18" in seen.fleet._rack.html.html)
        html = seen.fleet._rack.html.html
        trays = html.split('<tr id="tray-')[1:]
        assert trays[0].count("outside the portal") == 4
        assert re.search(r'data-ask="tray"[^>]* disabled', trays[0])
        assert "out of service, by the cluster: &lt;fan&gt; &amp; pump" in trays[1]
        assert "pump" not in trays[0]
        assert re.search(r'data-ask="undrain"[^>]* disabled', trays[1])
        assert "4 are held outside the portal: nothing can be done to them here." in html
        assert "comes back by itself" in html
        seen.press(seen.fleet._rack.html, "tray", tray="1")
        await eventually(lambda: "No lease holds a GPU of this tray." in seen.fleet._rack.html.html)


async def test_a_portal_that_goes_away_leaves_the_last_picture_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path, lang="zh-TW") as seen:
        monkeypatch.setattr(httpx.ASGITransport, "handle_async_request", _refuse)
        seen.fleet._picture.refresh()
        await eventually(lambda: "notice stale" in seen.fleet._head.html)
        assert seen.fleet._map.cells == bytes(144)
        assert "144 個可用" in seen.fleet._head.html


async def _refuse(_transport: Any, request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def told(view: Any) -> dict[tuple[Any, str], Any]:
    """Return what every part of a screen says to the browser."""
    parts = view.select(lambda part: isinstance(part, (Html, FleetMap)))
    return {(part, name): getattr(part, name) for part in parts for name in part.param if name in SAID}


SAID = {"html", "cells", "racks", "mode", "legend", "words", "chosen", "sentence"}


def wire_bytes(document: Document, changes: dict[tuple[Any, str], Any]) -> int:
    """Return the bytes of the messages that Bokeh sends for changes, one message each."""
    total = 0
    for (part, name), value in changes.items():
        [(model, _)] = part._models.values()
        message = Protocol().create("PATCH-DOC", [ModelChangedEvent(document, model.data, name, value)])
        total += len(message.header_json) + len(message.metadata_json) + len(message.content_json)
        total += sum(len(buffer.to_bytes()) + len(buffer.ref) for buffer in message._buffers)
    return total


async def test_one_per_cent_of_a_factory_changes_in_less_than_14_kilobytes(tmp_path: Path) -> None:
    async with scene(tmp_path, domains=139) as seen:
        await eventually(lambda: all(source.reading for source in seen.visit.sources._known.values()))
        document, view = Document(), seen.fleet.view
        document.add_root(view.get_root(document))
        before = told(view)
        for _ in range(12):
            seen.portal.ask("gpu8", seconds=600)
        seen.portal.ask("gpu4", seconds=600)
        await seen.look()
        assert seen.fleet._map.cells.count(1) == 100
        changed = {what: value for what, value in told(view).items() if value != before[what]}
        assert 10_008 < wire_bytes(document, changed) <= 14_000
        before = told(view)
        await seen.look()
        assert told(view) == before, "a second in which nothing happens changes nothing"


def test_quarters_of_an_hour_become_gpus() -> None:
    items = [
        {"at": 0, "held": 1800, "busy": 900},
        {"at": 900, "held": 450, "busy": 0},
        {"at": 1800, "held": 0, "busy": 0},
    ]
    assert levels(items, 1350) == [(0, 2.0, 1.0), (900, 1.0, 0.0)]
    assert levels([], 0) == []
