"""Courses and runs in a portal without a hub: what most tests of them begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvlhub.forms import NewCourse, NewRun, ProgrammePatch, RunAsk, RunDecision, RunView
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit
from tests.tables import store_at

HOUR, MINUTE = 3600, 60
TEACHER = Visitor("instructor")
"""Named as an instructor of the course; a plain member of its project."""


@contextmanager
def with_course(folder: Path, clock: HandClock) -> Iterator[Kit]:
    """A portal of four trays whose project has one course."""
    store = store_at(folder / "x.sqlite")
    made = kit(store, clock, trays=4)
    make_course(made)
    yield made
    store.close()


def make_course(kit: Kit, slug: str = "frames", **more: Any) -> None:
    facts = {"title": "Data frames", "project": "demo", "profile": "gpu1", "instructors": ["instructor"]} | more
    kit.registry.courses.add(RESEARCHER, NewCourse(slug=slug, **facts))


def plan(course: str = "frames", **more: Any) -> NewRun:
    """Return a run of eight seats with one GPU each: two trays, from half an hour before two hours of class."""
    facts = {
        "name": "Spring", "zone": "Asia/Taipei", "starts": START + 2 * HOUR, "ends": START + 4 * HOUR, "seats": 8, "gpus": 1,
    } | more  # fmt: skip
    return NewRun(course=course, **facts)


def approved(kit: Kit, **more: Any) -> RunView:
    """Make a run of the course, ask for it, and have it approved."""
    run = int(kit.registry.runs.add(TEACHER, plan(**more)).id)
    kit.registry.runs.request(TEACHER, run, RunAsk())
    return kit.registry.runs.decide(ADMIN, run, RunDecision(approve=True, reason="good"))


def charge_slots(kit: Kit, slots: bool = True) -> None:
    """Have the programme charge whole slots."""
    kit.registry.directory.change_programme(ADMIN, "demo", ProgrammePatch(slot_charge=slots), "*")


def sit(kit: Kit, run: RunView, user: str) -> None:
    """Give somebody a seat, and make them a member of the course's project as joining does."""
    with kit.store.writing() as unit:
        unit.know_user(user, START)
        assert unit.take_seat(int(run.id), user, kit.clock.now()) is not None
        if unit.member("demo", user) is None:
            unit.set_member("demo", user, "member", run.gpus)
