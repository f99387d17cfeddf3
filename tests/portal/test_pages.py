"""The portal's plain pages and what it puts into JupyterHub's, without a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.engines.scripted import Script
from nvlhub.errors import BadInputError
from nvlhub.flow.queue import Running, Wait
from nvlhub.forms import DomainView, NewAnnouncement, TrayView
from nvlhub.portal import pages
from nvlhub.portal.asking import Asking, asked
from nvlhub.portal.floor_plan import floor_plan, legend
from nvlhub.portal.html import Site, site_of
from nvlhub.portal.identity import LoginNeededError
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import Share
from tests.conftest import HandClock
from tests.courses_kit import TEACHER, make_course
from tests.portal.hub_kit import MARKUP
from tests.portal_kit import ADMIN, GRACE, RESEARCHER, Kit, kit
from tests.tables import store_at

PREFIX = "/services/portal/"
TAIPEI = ZoneInfo("Asia/Taipei")
CHINESE = {"Accept-Language": "zh-TW"}


class Login:
    """Knows one browser; without it, everybody is sent to the hub."""

    who: Visitor | None = replace(RESEARCHER, csrf="own")

    def visitor(self, request: Request) -> Visitor:
        if self.who is None:
            raise LoginNeededError("login-needed")
        return self.who

    def begin(self, request: Request) -> Response:
        return RedirectResponse("/hub/login")


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    yield kit(store, clock, domains=2)
    store.close()


@pytest.fixture
def login() -> Login:
    return Login()


@pytest.fixture
def http(portal: Kit, login: Login) -> Iterator[TestClient]:
    site = Site(PREFIX, "/jupyter/hub/", "/jupyter/services/panels/", "Asia/Taipei")
    app = make_app(Doors(portal.desk, portal.registry, lambda request: RESEARCHER), PREFIX)
    app.include_router(pages.routes(portal.desk, portal.registry, login, site))  # type: ignore[arg-type]
    app.include_router(Asking(portal.registry, login, site, "").routes())  # type: ignore[arg-type]
    with TestClient(app, follow_redirects=False) as client:
        yield client


def shown(http: TestClient, path: str = "", **headers: str) -> str:
    answer = http.get(PREFIX + path, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def announce(portal: Kit, text: str, **more: Any) -> None:
    portal.registry.announcements.add(ADMIN, NewAnnouncement(level="warning", text=text, **more))


@pytest.mark.parametrize("path", ["", "more"])
def test_pages_lead_to_the_hub_the_dashboards_and_the_other_language(http: TestClient, path: str) -> None:
    text = shown(http, path)
    assert 'href="/jupyter/hub/home"' in text
    assert 'href="/jupyter/services/panels/compute"' in text
    assert f"language?to=zh-TW&amp;next={PREFIX}{path}" in text
    assert f"language?to=en&amp;next={PREFIX}{path}" in shown(http, path, **CHINESE)
    assert '<html lang="zh-TW">' in shown(http, path, **CHINESE)
    assert '<html lang="en">' in shown(http, path, **CHINESE, Cookie="nvlhub-language=en")


def test_a_site_without_dashboards_has_no_link_to_them() -> None:
    told = {"JUPYTERHUB_BASE_URL": "/jupyter/"}
    assert site_of("/x/", told, "UTC", dashboards=True).panels == "/jupyter/services/panels/"
    assert site_of("/x/", told, "UTC", dashboards=False).panels == ""
    assert site_of("/x/", {}, "UTC", dashboards=False).hub == "/hub/"


def test_times_are_those_of_the_sites_zone(portal: Kit, http: TestClient) -> None:
    lease = portal.ask()
    portal.step(60)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    ended = datetime.fromtimestamp(portal.clock.now(), TAIPEI)
    text = shown(http)
    assert f"{ended:%Y-%m-%d %H:%M}" in text
    assert "Times are in Asia/Taipei" in text
    assert " UTC" not in text


def test_days_of_a_request_are_days_of_the_sites_zone() -> None:
    sent = {"project": "demo", "kind": "new", "pool": "main", "gpu_hours": "1", "reasons": "r",
            "starts": "2027-03-01", "ends": "2027-03-01"}  # fmt: skip
    request = asked(sent, TAIPEI)
    assert request.starts == datetime(2027, 3, 1, tzinfo=TAIPEI).timestamp()
    assert request.ends == datetime(2027, 3, 2, tzinfo=TAIPEI).timestamp()
    for day in ("2027-02-30", "9999-12-31", "0001-01-01", "yesterday"):
        with pytest.raises(BadInputError):
            asked({**sent, "ends": day}, TAIPEI)


def test_every_column_of_every_table_has_a_head_that_says_so(portal: Kit, http: TestClient) -> None:
    portal.ask()
    text = shown(http)
    assert re.findall(r"<th\b[^>]*>", text)
    assert all('scope="col"' in head for head in re.findall(r"<th\b[^>]*>", text))
    assert '<th scope="col"></th>' not in text
    assert text.count("<table>") == text.count('<div class="scroll" tabindex="0" role="region" aria-label=') - 1


def test_announcements_and_names_are_shown_as_text(portal: Kit, http: TestClient) -> None:
    announce(portal, MARKUP)
    with portal.store.writing() as unit:
        unit.set_project("demo", name=MARKUP)
    for path in ("", "more", "fragments/home", "fragments/offers"):
        text = shown(http, path)
        assert MARKUP not in text, path
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in shown(http)


def test_announcements_come_in_the_readers_language(portal: Kit, http: TestClient) -> None:
    announce(portal, "Short break", text_zh="短暫停機")
    for path in ("", "fragments/home", "fragments/offers"):
        assert "Short break" in shown(http, path)
        assert "短暫停機" in shown(http, path, **CHINESE)
    assert 'data-dismiss="announcement-1"' in shown(http, "fragments/home")


# --- what JupyterHub's pages fetch ------------------------------------------------------------------------------------


def test_the_home_page_is_told_what_runs_and_what_is_left(portal: Kit, http: TestClient) -> None:
    assert "You hold no GPU now" in shown(http, "fragments/home")
    lease = portal.ask("gpu4")
    portal.step()
    text = shown(http, "fragments/home")
    assert f'data-lease="{lease.id}"' in text
    assert "Time left: <b>4 h" in text or "Time left: <b>3 h" in text
    assert "GPU-hours left in 2 projects" in text
    assert "/jupyter/services/panels/compute" in text


@pytest.mark.parametrize("path", ["", "fragments/home"])
def test_a_kernel_without_its_server_is_told_with_the_way_back(portal: Kit, http: TestClient, path: str) -> None:
    portal.ask("gpu4")
    portal.step()
    assert "notebook server does not answer" not in shown(http, path)
    portal.clock.forward(GRACE + 1)
    assert "its notebook server does not answer; kept for 0 s: start your server to go back in" in shown(http, path)


def test_the_spawn_page_is_told_which_kernels_wait_for_the_server_and_how_long(portal: Kit, http: TestClient) -> None:
    portal.ask("gpu4")
    portal.ask("gpu1")
    portal.step()
    assert "wait for your server" not in shown(http, "fragments/offers")
    portal.clock.forward(GRACE + 1)
    told = "2 GPU kernels wait for your server and go on as soon as it has started. They are kept for another 0 s."
    assert told in shown(http, "fragments/offers")


@pytest.mark.parametrize("path", ["fragments/home", "fragments/offers"])
def test_a_part_of_a_page_says_whose_it_is(http: TestClient, login: Login, path: str) -> None:
    login.who = Visitor("安 a%b", csrf="x")
    answer = http.get(PREFIX + path)
    assert answer.headers["X-Nvlhub-For"] == "%E5%AE%89%20a%25b"
    assert "<html" not in answer.text


@pytest.mark.parametrize("path", ["", "more", "fragments/home", "fragments/offers"])
def test_whoever_is_not_logged_in_is_sent_to_the_hub_and_told_nothing(
    http: TestClient, login: Login, path: str
) -> None:
    login.who = None
    answer = http.get(PREFIX + path)
    assert answer.status_code == 307
    assert answer.text == ""


def test_the_spawn_page_is_told_what_is_free_now(portal: Kit, http: TestClient) -> None:
    before = shown(http, "fragments/offers")
    assert "144 can start now" in before
    portal.ask("gpu8")
    portal.step()
    assert "136 can start now" in shown(http, "fragments/offers")


def test_a_user_without_projects_is_shown_the_way_to_one(portal: Kit, http: TestClient, login: Login) -> None:
    login.who = Visitor("other", csrf="x")
    text = shown(http, "fragments/home")
    assert "None of your projects has GPU-hours left" in text
    assert f"{PREFIX}more" in text


@pytest.mark.parametrize("path", ["", "fragments/home"])
def test_everybody_is_led_to_a_class_and_those_whom_courses_concern_to_these(
    portal: Kit, http: TestClient, login: Login, path: str
) -> None:
    join, teach = f'<a href="{PREFIX}join">Join a class</a>', f'<a href="{PREFIX}teach">Courses</a>'
    # Who answers for a project can make its first course.
    assert join in shown(http, path)
    assert teach in shown(http, path)
    for who in (TEACHER, Visitor("admin")):
        login.who = replace(who, csrf="own")
        assert teach not in shown(http, path), who
    make_course(portal)
    # Who answers for the project, who is named, who decides for the programme, who runs the portal.
    for who in (RESEARCHER, TEACHER, Visitor("admin"), Visitor("root", admin=True)):
        login.who = replace(who, csrf="own")
        assert teach in shown(http, path), who
    assert "加入課堂</a>" in shown(http, path, **CHINESE)
    assert "課程</a>" in shown(http, path, **CHINESE)
    login.who = Visitor("other", csrf="own")
    assert join in shown(http, path)
    assert teach not in shown(http, path)


# --- an engine with a queue of its own, strangers, and bad days --------------------------------------------------------


@pytest.mark.parametrize("path", ["", "fragments/home", "fragments/offers"])
def test_an_engine_that_is_away_is_told_on_the_pages_and_in_the_hubs(portal: Kit, http: TestClient, path: str) -> None:
    assert "does not answer now" not in shown(http, path)
    portal.engine.away = True
    portal.step()
    assert f'role="status">{say("engine-away").replace(chr(39), "&#39;")}</p>' in shown(http, path)
    assert say("engine-away", "zh-TW") in shown(http, path, **CHINESE)


@pytest.mark.parametrize("path", ["", "fragments/home"])
def test_a_lease_that_its_engine_has_queued_says_why_and_until_when(portal: Kit, http: TestClient, path: str) -> None:
    portal.engine.scripts = {"*": Script(pending=9, wait=Wait("slurm-wait-resources", portal.clock.now() + 600))}  # type: ignore[attr-defined]
    portal.ask()
    portal.step()
    starts = datetime.fromtimestamp(portal.clock.now() + 599, TAIPEI)
    assert f"{say('slurm-wait-resources')} Expected at {starts:%H:%M} CST (UTC+8)." in shown(http, path)


@pytest.mark.parametrize("path", ["", "fragments/home"])
def test_a_lease_that_stands_still_says_so_and_nothing_of_its_server(portal: Kit, http: TestClient, path: str) -> None:
    portal.engine.scripts = {"*": Script(still=Wait("slurm-still"))}  # type: ignore[attr-defined]
    portal.ask()
    portal.step()
    portal.clock.forward(GRACE)
    text = shown(http, path)
    assert say("slurm-still") in text
    assert "notebook server does not answer" not in text


def test_what_strangers_hold_is_neither_free_nor_taken(portal: Kit, http: TestClient) -> None:
    theirs = (Share(domain="nvl002", tray=1, gpus=(0, 1, 2)),)
    portal.engine.outside = (Running(theirs, portal.clock.now() + 60),)  # type: ignore[attr-defined]
    portal.step()
    text = shown(http)
    assert "141 of 144 GPUs are free now. 3 GPUs are held by others, outside the portal." in text
    assert text.count(": outside the portal</title>") == 3


# --- the floor plan ---------------------------------------------------------------------------------------------------


def test_states_of_gpus_differ_by_more_than_their_colour() -> None:
    trays = [
        TrayView(index=0, in_service=True, gpus=["", "mine", "*", "outside"]),
        TrayView(index=1, in_service=False, gpus=["", "", "", ""]),
    ]
    domain = DomainView(name="<x>", pool="main", gpus=8, free=1, leased=2, outside=1, in_service=True, trays=trays)
    text = str(floor_plan([domain], "en"))
    shapes = {
        re.search(r": (\w[\w ]*)</title>", part)[1]: tuple(re.findall(r'<path d="[^"]+"', part))  # type: ignore[index]
        for part in text.split("<g ")[1:]
    }
    assert shapes.keys() == {"free", "yours", "taken", "outside the portal", "out of service"}
    # Free is empty and taken is full: one is white, the other dark; the others carry a mark each.
    assert len({shapes["yours"], shapes["outside the portal"], shapes["out of service"], ()}) == 4
    assert "&lt;x&gt;" in text
    assert [meaning for _, meaning in legend("en")] == [
        "free",
        "yours",
        "taken",
        "outside the portal",
        "out of service",
    ]
