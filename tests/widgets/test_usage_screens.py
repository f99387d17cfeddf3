"""The screens *Usage* and *Lease*, and the files beside them, on what a real portal says."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from bokeh.document import Document
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from nvlhub.wire import API_PATH, Beat, GpuSample, Problem, Sample
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.markup import markup
from nvlwidgets.panels.answers import refusal
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.download import FILES, Download
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.screens import lease as lease_screen
from nvlwidgets.panels.screens import usage as usage_screen
from nvlwidgets.panels.screens.usage import Choice
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit
from tests.api import world
from tests.conftest import HandClock
from tests.portal_kit import RESEARCHER, Kit, kit
from tests.tables import store_at

LEAD = Guest(
    "researcher", "researcher", admin=False, projects=(("demo", "Demo", "pi"), ("other", "Other <project>", "member"))
)


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    monkeypatch.setitem(world.PEOPLE, "researcher", RESEARCHER)
    store = store_at(tmp_path / "x.sqlite")
    yield kit(store, clock)
    store.close()


@dataclass
class Near:
    """The API without a network between; `error` is what it says instead of an answer."""

    served: world.Api
    who: str
    lang: str = "en"
    error: str = ""
    asked: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        self.asked.append(f"{method} {path}")
        if self.error:
            raise PortalDownError(self.error)
        response = self.served(method, path, self.who, headers={"Accept-Language": self.lang}, **more)
        if not response.is_success:
            raise PortalError(Problem(**response.json()))
        return response.json()

    async def get(self, path: str, **params: Any) -> Any:
        return await self.call("GET", path, params=params)


class HereAndNow(Visit):
    """A visit that needs no browser."""

    def soon(self, do: Any) -> None:
        do()


@pytest.fixture
def near(portal: Kit) -> Iterator[Near]:
    served = world.Api()
    with served.http:
        served.serve(portal)
        yield Near(served, "researcher")


def visit(near: Near, guest: Guest = LEAD, **args: str) -> Visit:
    api: Any = near
    return HereAndNow(
        guest, near.lang, "Asia/Taipei", "/services/panels", args, api, api, Sources(), Document()
    )  # fmt: skip


async def shown(view: Any, until: str) -> str:
    """Return all HTML of a screen as soon as it holds a text."""

    def html() -> str:
        return "\n".join(part.html for part in view.select(Html))

    async with asyncio.timeout(60):
        while until not in html():
            await asyncio.sleep(0.01)
    return html()


def run(portal: Kit, seconds: int = 120, busy: int = 40, project: str = "demo", *, end: bool = False) -> str:
    lease = portal.ask("gpu2", project=project, seconds=3600)
    for _ in range(seconds // 10):
        portal.clock.forward(10)
        sample = Sample(real=False, gpus=(GpuSample(busy=busy, memory=10**9, memory_total=8 * 10**9),))
        portal.desk.beat(RESEARCHER, lease.id, Beat(sample=sample), "en")
        portal.runner.step()
    if end:
        portal.desk.end(RESEARCHER, lease.id)
        portal.step(1)
    portal.desk.telemetry.keep()
    return lease.id


# --- one lease ------------------------------------------------------------------------------------------------------------


async def test_a_lease_is_told_with_what_its_process_did(portal: Kit, near: Near) -> None:
    lease = run(portal)
    visiting = visit(near, id=lease)
    view = lease_screen.screen(visiting)
    html = await shown(view, "CPU of the process (GPUs are simulated)")
    assert 'data-charge="240000"' in html
    assert "40 % now, 40 % at most, 40 % on average" in html
    assert "1 GB now, 1 GB at most, of 8 GB in the machine" in html
    assert "GPU utilisation" not in html
    assert "nvl001: tray 1 (GPU 0, 1)" in html
    assert html.count('fill="#0072B2"') == 2
    assert html.count("<rect") == 72
    assert "(CST)" in html or "CST" in html
    assert 'data-ask="extend"' in html
    visiting.leave()


async def test_a_lease_can_be_extended_and_given_back_from_its_page(portal: Kit, near: Near) -> None:
    lease = run(portal)
    visiting = visit(near, id=lease)
    view = lease_screen.screen(visiting)
    await shown(view, "data-ask")
    [top, *_] = view.select(Html)
    top.asked = {"count": 1, "action": "extend", "minutes": "many"}
    await shown(view, "minutes: give a whole number")
    top.asked = {"count": 2, "action": "extend", "minutes": "30"}
    await shown(view, "The lease was extended.")
    assert portal.runner.board.leases[lease].seconds == 3600 + 1800
    top.asked = {"count": 3, "action": "extend", "minutes": "43200"}
    assert 'class="notice error"' in await shown(view, "notice error")
    top.asked = {"count": 4, "action": "end"}
    await shown(view, "The lease was given back.")
    html = await shown(view, "Settled:")
    assert 'data-ask="end"' not in html
    visiting.leave()


async def test_who_leads_a_project_sees_a_lease_and_cannot_end_it(portal: Kit, near: Near) -> None:
    lease = run(portal)
    guest = Guest("someone", "researcher", admin=False)
    visiting = visit(near, guest, id=lease)
    html = await shown(lease_screen.screen(visiting), "What happened")
    assert "data-ask" not in html
    visiting.leave()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({}, "No lease was named"),
        ({"id": ""}, "No lease was named"),
        ({"id": "../../me"}, "No lease was named"),
        ({"id": "<script>"}, "No lease was named"),
        ({"id": "00000000-0000-0000-0000-000000000000"}, "There is no lease “00000000-0000-0000-0000-000000000000”"),
    ],
)
async def test_a_lease_that_is_none_is_a_readable_page(near: Near, args: dict[str, str], text: str) -> None:
    visiting = visit(near, **args)
    html = await shown(lease_screen.screen(visiting), text)
    assert "My compute" in html
    assert "<script>" not in html
    visiting.leave()


async def test_a_portal_that_goes_away_leaves_the_last_good_figures(portal: Kit, near: Near) -> None:
    visiting = visit(near, id=run(portal))
    screen = lease_screen.Lease(visiting, visiting.args["id"])
    await shown(screen.view, "What happened")
    near.error = "The portal does not answer."
    screen._use.refresh()
    html = await shown(screen.view, "The portal does not answer.")
    assert "What happened" in html
    visiting.leave()


def test_a_name_with_markup_stays_text() -> None:
    lease = {"project": "p", "profile": "q", "state": "held", "user": "<b>x</b>", "label": "<i>", "detail": "<u>", "held": 1,
             "deadline": None, "simulated": True}  # fmt: skip
    use = {"charge": 1, "idle": 0, "held": 0, "real": None, "efficiency": None, "events": [{"at": 1, "text": "<s>"}]}
    html = markup(
        "lease.html", "en", prefix="/p", guest=LEAD, use=use, lease=lease, domains={}, mine=True, said=("", ""), known=True,
        error="", age=0, trays=18, gpus=4,
    )  # fmt: skip
    assert not re.search(r"<[biu]>|<s>", html)


def test_a_gap_in_what_was_measured_is_a_gap_in_the_line(near: Near) -> None:
    line = lease_screen._Line(visit(near), "busy-gpu", (0, 100), "#000")
    points = [{"at": 0, "seconds": 10}, {"at": 10, "seconds": 10}, {"at": 600, "seconds": 10}]
    line.put(points, [1, 2, 3], share=0.5)
    values = list(line._data.data["value"])
    assert [str(value) for value in values] == ["1", "2", "nan", "3"]
    # 1970-01-01 08:00 in Taipei.
    assert line._data.data["at"][0] == 8 * 3600 * 1000


# --- usage ----------------------------------------------------------------------------------------------------------------


async def test_usage_is_told_by_day_project_and_lease(portal: Kit, near: Near) -> None:
    first, second = run(portal, end=True), run(portal, seconds=60, project="demo-small", end=True)
    html = await shown(usage_screen.screen(visit(near)), "How busy the processes were")
    assert "0.10 GPU-hours in 30 days (UTC), stacked by project. The largest: Demo project." in html
    assert html.index(first) < html.index(second)
    assert f'href="/services/panels/lease?id={first}"' in html
    assert "By member" in html
    assert "40–50 %" in html
    assert "Other &lt;project&gt;" in html
    assert "/leases.csv?since=" in html


async def test_what_is_chosen_is_asked_for(portal: Kit, near: Near) -> None:
    run(portal, end=True)
    visiting = visit(near, days="7", project="demo-small")
    view = usage_screen.screen(visiting)
    await shown(view, "Nothing ran in this period")
    [top, *_] = view.select(Html)
    top.asked = {"count": 1, "action": "project", "value": "demo"}
    html = await shown(view, "in 7 days")
    assert '<option value="demo" selected>' in html
    top.asked = {"count": 2, "action": "days", "value": "90"}
    await shown(view, "in 90 days")


async def test_a_member_who_leads_nothing_has_no_table_by_member(portal: Kit, near: Near) -> None:
    run(portal, end=True)
    guest = Guest("researcher", "researcher", admin=False, projects=(("demo", "Demo", "member"),))
    assert "By member" not in await shown(usage_screen.screen(visit(near, guest)), "As files")


async def test_a_portal_that_is_away_can_be_asked_again(portal: Kit, near: Near) -> None:
    run(portal, end=True)
    near.error = "The portal does not answer."
    view = usage_screen.screen(visit(near))
    html = await shown(view, "The portal does not answer.")
    assert 'data-ask="again"' in html
    near.error = ""
    [top, *_] = view.select(Html)
    top.asked = {"count": 1, "action": "again"}
    await shown(view, "As files")


async def test_usage_in_chinese(portal: Kit, near: Near) -> None:
    run(portal, end=True)
    near.lang = "zh-TW"
    html = await shown(usage_screen.screen(visit(near)), "下載檔案")
    assert "閒置持有" in html
    assert "GPU-hours" not in html


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"action": "days", "value": "8"}, {"action": "page", "page": "0"}, {"action": "page", "page": "²"},
        {"action": "sort", "value": "user"}, {"action": "page", "page": "9" * 30}, {"action": "project"},
        {"action": "project", "value": "../x"}, {"action": "project", "value": ["a", "b"]}, {"action": "drop"},
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_changes_nothing(asked: Mapping[str, Any]) -> None:
    assert Choice().changed(asked) == Choice()


def test_what_is_chosen_starts_at_the_first_page() -> None:
    later = Choice(page=3).changed({"action": "page", "page": "4"})
    assert later.page == 4
    assert later.changed({"action": "sort", "value": "idle"}) == Choice(sort="idle")


def test_small_projects_share_what_is_left_of_the_total() -> None:
    total = [{"gpu_seconds": 100_000}, {"gpu_seconds": 50}]
    assert usage_screen._by_project(total, {"a": [{"gpu_seconds": 30_000}, {"gpu_seconds": 51}]}) == {
        "a": [30_000, 51], "": [70_000, 0]
    }  # fmt: skip
    assert list(usage_screen._by_project(total, {"a": total})) == ["a"]


# --- files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def files(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimpleNamespace]:
    """The files' handlers behind a door, and a portal behind them that answers as it is told."""
    told = SimpleNamespace(guest=LEAD, answer=lambda _request: httpx.Response(200), asked=[])

    async def guest(_handler: object) -> Guest | None:
        return told.guest  # type: ignore[no-any-return]

    def answer(request: httpx.Request) -> httpx.Response:
        told.asked.append(request)
        return told.answer(request)  # type: ignore[no-any-return]

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    args = {
        "door": SimpleNamespace(guest=guest), "prefix": "/services/panels",
        "api": lambda guest, lang: Api(http, "http://portal", guest.token, lang),
    }  # fmt: skip
    sockets = bind_sockets(0, "127.0.0.1")
    monkeypatch.setattr(Download, "write_error", refusal)
    application: Any = Application([(address, Download, {**args, "path": path}) for address, path in FILES.items()])
    application.prefix = "/services/panels"
    server = HTTPServer(application)
    server.add_sockets(sockets)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sockets[0].getsockname()[1]}") as browser:
        told.browser = browser
        yield told
    server.stop()
    await http.aclose()


async def test_a_file_comes_with_the_visitors_own_token(files: SimpleNamespace) -> None:
    csv_headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="x.csv"'}
    files.answer = lambda _request: httpx.Response(200, headers=csv_headers, content=b"user\n'=SUM(1)\n")
    got = await files.browser.get("/leases.csv?since=7&project=demo&format=html&page=9")
    [asked] = files.asked
    assert asked.url.path == f"{API_PATH}/usage/leases"
    assert dict(asked.url.params) == {"since": "7", "project": "demo", "format": "csv"}
    assert asked.headers["Authorization"] == "token researcher"
    assert got.headers["Content-Disposition"] == csv_headers["Content-Disposition"]
    assert list(csv.reader(io.StringIO(got.text))) == [["user"], ["'=SUM(1)"]]


async def test_who_is_not_logged_in_is_sent_to_the_login(files: SimpleNamespace) -> None:
    files.guest = None
    got = await files.browser.get("/usage.csv?since=7&by=day")
    assert (got.status_code, got.headers["Location"]) == (
        302, "/services/panels/login?next=%2Fusage.csv%3Fsince%3D7%26by%3Dday"
    )  # fmt: skip
    assert files.asked == []


@pytest.mark.parametrize(("status", "shown_as"), [(404, 404), (422, 404), (403, 403), (500, 500)])
async def test_what_the_portal_refuses_is_a_readable_page(files: SimpleNamespace, status: int, shown_as: int) -> None:
    files.answer = lambda _request: httpx.Response(status, json={"detail": "no"})
    got = await files.browser.get("/usage.csv")
    assert got.status_code == shown_as
    assert "<h1" in got.text


async def test_a_portal_that_is_away_is_a_readable_page(files: SimpleNamespace) -> None:
    def away(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away")

    files.answer = away
    assert (await files.browser.get("/usage.csv")).status_code == 503


async def test_half_a_file_does_not_look_like_a_whole_one(files: SimpleNamespace) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"a,b\n" * 100
        raise httpx.ReadError("gone")

    files.answer = lambda _request: httpx.Response(200, content=half())
    with pytest.raises(httpx.HTTPError):
        await files.browser.get("/usage.csv")
