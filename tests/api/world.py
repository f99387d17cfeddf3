"""A portal in which every role is somebody and owns something; built once, copied for each who may change it.

programme science (officer: officer)      programme industry (officer: foreign)
  project optics: pi, manager, member       project casting: founder, instructor
    award 1, requests 1 and 2                 award 2, request 3
    leases running, settled (member's)        lease theirs (founder's)
announcements: 1 to everybody, 2 to science, 3 to industry, 4 to member about running
    reservation 1
    course lenses, runs 1 (a draft) and 2 (asked for)
    course lasers, run 3 (goes on): seat, attempt and certificate of `other`
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.flow.request import Pool, Profile
from nvlhub.forms import NewCourse, NewRequest, NewReservation, NewRun, Review, RunAsk
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import token_of
from nvlhub.store import Store, Unit
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR, Span
from tests.conftest import START, HandClock
from tests.portal_kit import Kit
from tests.tables import store_at

BASE = "/services/portal/api/v1"
DAY = 86_400
YEAR = 365 * DAY
RUBRIC = {"files": ["solve.py"], "items": [{"name": "quick", "check": "time", "max": 60}]}
KEY, CERTIFICATE = "0123456789ab", "2345678923456789"

PEOPLE = {
    name: Visitor(name, server=f"{name}/")
    for name in ("other", "instructor", "member", "manager", "pi", "foreign", "officer", "founder")
} | {"admin": Visitor("admin", admin=True), "hub": Visitor("nvlhub-hub", hub=True)}


def identify(request: Request) -> Visitor:
    """Take a role's name for its token: any other token is one that the hub does not know."""
    visitor = PEOPLE.get(token_of(request))
    if visitor is None:
        raise LoginNeededError("login-needed")
    return visitor


def ask_for(project: str, **values: Any) -> NewRequest:
    full = {
        "kind": "new", "pool": "main", "gpu_hours": 10, "starts": START, "ends": START + 30 * DAY,
        "reasons": f"what {project} is for",
    }  # fmt: skip
    return NewRequest(project=project, **full | values)


def _fill(unit: Unit) -> None:
    for pool in ("main", "cloud"):
        unit.set_pool(Pool(pool, "GB300", 1000, 72, 72))
    for name in PEOPLE.keys() - {"hub"}:
        unit.know_user(name, START)
    unit.add_institution("uni", "University")
    for programme, officer in (("science", "officer"), ("industry", "foreign")):
        unit.add_programme(programme, programme.title())
        unit.set_officer(programme, officer, is_one=True)
        for pool in ("main", "cloud"):
            granted = 1000 * MILLI_PER_GPU_HOUR
            unit.set_budget(programme, pool, granted, ref="first", at=START, actor="admin")
    projects = (
        ("optics", "science", {"pi": "pi", "manager": "manager", "member": "member"}),
        ("casting", "industry", {"founder": "pi", "instructor": "member"}),
    )
    for project, programme, members in projects:
        unit.add_project(project, f"Project {project}", programme, institution="uni")
        for name, role in members.items():
            unit.set_member(project, name, role)
        hours = 100 * MILLI_PER_GPU_HOUR
        unit.add_award(project, "main", hours, START - 3600, START + YEAR, cap=None, at=START, actor=programme)
    for name in ("gpu1", "draft"):
        unit.add_profile(Profile(name, 0, f"Profile {name}", "main", 1, Span.DOMAIN, 4 * 3600, idle=3600))
    unit.publish("gpu1", 1)
    for programme in ("", "science", "industry"):
        unit.add_announcement(
            at=START, actor="admin", level="info", text="Maintenance", starts=START, programme=programme
        )  # fmt: skip


def _go_on(unit: Unit) -> None:
    """Have optics teach: a course with a live run; `other` learns there, passed, and has a certificate."""
    unit.add_course(
        (), slug="lasers", project="optics", title="Lasers", profile="gpu1", made_by="manager", made_at=START,
        assessment=RUBRIC,
    )  # fmt: skip
    run = unit.add_run(
        ["Ant", "Bee"], course="lasers", name="Spring", zone="UTC", starts=START, ends=START + DAY // 2, seats=2, gpus=1, warm=1800,
        flex=1800, grace=1800, no_show=0, code="LASERS23", roster_only=False, state="approved", made_by="manager", made_at=START,
    )  # fmt: skip
    unit.take_seat(run, "other", START, name="Other")
    unit.connection.execute(
        t.attempts.insert().values(run=run, seat=1, number=1, user="other", at=START, state="passed", score_milli=900)
    )
    unit.add_key(KEY, "A" * 43 + "=", START)
    unit.add_certificate(
        id=CERTIFICATE, run=run, seat=1, user="other", attempt=1, document="{}", signature="", key=KEY, issued_at=START
    )  # fmt: skip


def inhabit(store: Store, clock: HandClock) -> Kit:
    """Fill a database with everybody and with awards 1 and 2, and open a portal on it."""
    with store.writing() as unit:
        _fill(unit)
    return Kit(store, clock, ScriptedEngine(SimulatedFloor(1)))


@dataclass(frozen=True)
class Template:
    """A world at rest: its database, what its engine plays, when it is, and what its leases are called."""

    database: Path
    engine: ScriptedEngine
    now: int
    names: Mapping[str, str]


def build(folder: Path) -> Template:
    """Build the world."""
    database = folder / "template.sqlite"
    store = store_at(database)
    portal = inhabit(store, HandClock())
    awards = portal.registry.awards
    awards.ask(PEOPLE["pi"], ask_for("optics"))
    second = awards.ask(PEOPLE["manager"], ask_for("optics"))
    awards.review(PEOPLE["officer"], int(second.id), Review(verdict="revise", reason="Say more."))
    awards.ask(PEOPLE["founder"], ask_for("casting"))
    settled = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(100)
    portal.desk.end(PEOPLE["member"], settled.id)
    portal.step(1)
    running = portal.ask("gpu1", PEOPLE["member"], "optics")
    theirs = portal.ask("gpu1", PEOPLE["founder"], "casting")
    portal.step(1)
    with store.writing() as unit:
        unit.add_announcement(
            at=START, actor="admin", level="warning", text="It idles.", starts=START, user="member", lease=running.id
        )  # fmt: skip
    kept = NewReservation(name="Beam time", project="optics", gpus=8, starts=START + 9 * DAY, ends=START + 10 * DAY)
    portal.registry.reservations.add(PEOPLE["admin"], kept)
    _teach(portal)
    with store.writing() as unit:
        _go_on(unit)
    assert portal.broken() == []
    store.close()
    names = {"settled": settled.id, "running": running.id, "theirs": theirs.id}
    return Template(database, portal.engine, portal.clock.now(), names)  # type: ignore[arg-type]


def _teach(portal: Kit) -> None:
    course = NewCourse(slug="lenses", project="optics", title="Lenses", profile="gpu1")
    portal.registry.courses.add(PEOPLE["pi"], course)
    facts = {"course": "lenses", "zone": "UTC", "seats": 4, "starts": START + DAY, "ends": START + DAY + 7200}
    for name in ("planned", "asked"):
        portal.registry.runs.add(PEOPLE["pi"], NewRun(name=name, **facts))  # type: ignore[arg-type]
    portal.registry.runs.request(PEOPLE["pi"], 2, RunAsk())


class Api:
    """One application for all copies of the world: building its routes takes longer than a copy does."""

    def __init__(self) -> None:
        self.app: FastAPI = make_app(Doors(None, None, identify), "/services/portal/")  # type: ignore[arg-type]
        self.http = TestClient(self.app, raise_server_exceptions=False)

    def __call__(self, method: str, path: str, who: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"token {who}"} if who else {}
        headers |= more.pop("headers", {})
        return self.http.request(method, BASE + path, headers=headers, **more)  # type: ignore[return-value]

    def serve(self, portal: Kit) -> None:
        """Answer for this portal from now on."""
        self.app.state.doors = Doors(portal.desk, portal.registry, identify)

    @contextmanager
    def world(self, template: Template, folder: Path) -> Iterator[Kit]:
        """Open a copy of the world to whoever calls."""
        database = folder / "copy.sqlite"
        shutil.copy(template.database, database)
        store = Store(f"sqlite:///{database}")
        try:
            portal = Kit(store, HandClock(template.now), copy.deepcopy(template.engine))
            self.serve(portal)
            yield portal
        finally:
            store.close()
