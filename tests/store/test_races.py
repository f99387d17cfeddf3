"""Many at once on every database: what there is goes to exactly as many as it is enough for, and nobody waits forever."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from nvlhub import desk
from nvlhub.desk import Desk
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.errors import NvlhubError, RefusedError
from nvlhub.flow.awarding import RequestKind
from nvlhub.flow.lease import Lease
from nvlhub.forms import (
    AwardPatch,
    Correction,
    Membership,
    NewAward,
    NewBudget,
    NewPool,
    NewProgramme,
    NewProject,
    NewRequest,
    Review,
    Revocation,
    UserPatch,
)
from nvlhub.registry import Registry
from nvlhub.run import Runner
from nvlhub.store import Store, Unit
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import Extend, LeaseAsk, State, WorkersAsk
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, GRACE, MAILBOX, RESEARCHER, Kit
from tests.waiting import PATIENCE, until

HOUR = 3600
MILLI = 3_600_000
OFFICERS = [Visitor(f"officer{number}", admin=True) for number in range(8)]


class Live(Kit):
    """A portal whose run loop turns in a thread of its own, as it does in production."""

    def restart(self) -> None:
        self.runner = Runner(  # type: ignore[assignment]
            self.store, self.engine, self.clock, "main", grace=GRACE, tick=0.02, sweep=0  # type: ignore[arg-type]
        )  # fmt: skip
        self.runner.start()
        self.desk = Desk(self.store, self.runner, self.engine, self.clock, pool="main", more_url="http://x/more")  # type: ignore[arg-type]
        self.registry = Registry(self.desk)

    def rest(self) -> None:
        """Wait until nothing is on its way: everything runs, waits for room, or is settled."""
        on_its_way = {State.PLACED, State.STARTING, State.ENDING}
        until(lambda: all(lease.state not in on_its_way for lease in self.runner.board.leases.values()))

    def rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self.store.reading() as unit:
            return unit.connection.execute(query).all()


@pytest.fixture
def portal(
    store: Store, clock: HandClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    # What matters is what comes of it: a disk that others write to keeps everybody waiting.
    monkeypatch.setattr(desk, "PATIENCE", PATIENCE)
    made = Live(store, clock, ScriptedEngine(SimulatedFloor(1)))
    with store.writing() as unit:
        for officer in OFFICERS:
            unit.know_user(officer.name, clock.now())
    with caplog.at_level(logging.ERROR):
        try:
            yield made
            made.rest()
        finally:
            made.runner.stop()
    assert [record.message for record in caplog.records] == []
    assert made.broken() == []


def together(times: int, do: Callable[[int], object]) -> list[Any]:
    """Do something many times at once; return what came of it: values, or slugs of refusals."""
    ready = threading.Barrier(times)
    outcomes: list[Any] = [None] * times

    def one(number: int) -> None:
        ready.wait()
        try:
            outcomes[number] = do(number)
        except NvlhubError as error:
            outcomes[number] = error.slug if error.status < 500 else error
        except Exception as error:  # noqa: BLE001  # it fails the test, below
            outcomes[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert failed == []
    return outcomes


def body(**facts: object) -> LeaseAsk:
    return LeaseAsk(**{"project": "demo", "profile": "gpu1", "mailbox": MAILBOX, **facts})  # type: ignore[arg-type]


def awarded(portal: Live, hours: int, **more: Any) -> int:
    now = portal.clock.now()
    facts = {"project": "demo", "pool": "main", "gpu_hours": hours, "starts": now, "ends": now + 90 * 24 * HOUR}
    return int(portal.registry.awards.add_award(ADMIN, NewAward(**{**facts, **more})).id)


# --- the last units ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "seconds"),
    [pytest.param(1, 1700, id="4.2"), pytest.param(2, 1201, id="2.99"), pytest.param(1, 7200, id="1"),
     pytest.param(1, 7201, id="0.99")],
)  # fmt: skip
def test_exactly_as_many_start_as_the_balance_pays_for(portal: Live, gpus: int, seconds: int) -> None:
    asked = body(project="demo-small", profile="gpu2", gpus=gpus, seconds=seconds)
    outcomes = together(12, lambda number: portal.desk.ask(RESEARCHER, asked, f"k{number}")[1])
    assert Counter(outcomes)[True] == 2 * HOUR // (gpus * seconds)
    assert set(outcomes) <= {True, "balance-too-low"}


def test_awards_get_exactly_what_the_budget_has(portal: Live) -> None:
    portal.registry.directory.set_budget(ADMIN, "demo", "main", NewBudget(gpu_hours=202 + 10))
    new = NewAward(project="demo", pool="main", gpu_hours=3, starts=portal.clock.now(), ends=portal.clock.now() + HOUR)
    outcomes = together(8, lambda number: portal.registry.awards.add_award(OFFICERS[number], new).awarded)
    assert Counter(outcomes) == {3 * MILLI: 3, "budget-too-small": 5}


def test_a_cap_per_user_holds_across_programmes(portal: Live) -> None:
    directory = portal.registry.directory
    directory.add_programme(ADMIN, NewProgramme(slug="industry", name="Industry"))
    directory.set_budget(ADMIN, "industry", "main", NewBudget(gpu_hours=100))
    directory.add_project(ADMIN, NewProject(slug="chips", name="Chips", programme="industry"))
    directory.set_member(ADMIN, "chips", "researcher", Membership(role="pi"))
    awarded(portal, 100, project="chips")
    directory.change_user(ADMIN, "researcher", UserPatch(cap=5), "*")
    projects = ("demo", "chips")
    outcomes = together(
        16, lambda number: portal.desk.ask(RESEARCHER, body(project=projects[number % 2]), f"k{number}")[1]
    )
    assert Counter(outcomes) == {True: 5, "cap-user": 11}


# --- once ----------------------------------------------------------------------------------------------------------


def test_one_key_makes_one_lease_however_often_it_comes_at_once(portal: Live) -> None:
    outcomes = together(50, lambda number: portal.desk.ask(RESEARCHER, body(), "k"))
    assert len({lease.id for lease, _ in outcomes}) == 1
    assert [fresh for _, fresh in outcomes].count(True) == 1
    assert len(portal.rows(sa.select(t.leases))) == 1
    assert portal.rows(sa.select(sa.func.count()).where(t.transactions.c.entry == "hold"))[0][0] == 1


def test_one_key_makes_one_batch(portal: Live) -> None:
    asked = WorkersAsk(project="demo", profile="gpu1", mailbox=MAILBOX, count=3)
    outcomes = together(20, lambda number: portal.desk.ask_together(RESEARCHER, asked, "k"))
    assert len({tuple(lease.id for lease in leases) for leases, _ in outcomes}) == 1
    assert len(portal.rows(sa.select(t.leases))) == 3


def test_one_key_with_different_bodies_makes_one_lease_and_refuses_the_others(portal: Live) -> None:
    bodies = [body(), body(seconds=60), body(project="demo-small", seconds=60)]
    outcomes = together(12, lambda number: portal.desk.ask(RESEARCHER, bodies[number % 3], "k")[1])
    assert Counter(outcomes) == {True: 1, False: 3, "key-reused": 8}


def test_one_key_makes_one_award_and_one_correction(portal: Live) -> None:
    now = portal.clock.now()
    new = NewAward(project="demo", pool="main", gpu_hours=3, starts=now, ends=now + HOUR)
    outcomes = together(20, lambda number: portal.registry.awards.add_award(ADMIN, new, "k").id)
    assert len(set(outcomes)) == 1
    lease = portal.desk.end(RESEARCHER, portal.ask().id)
    portal.rest()
    wrong = Correction(lease=lease.id, gpu_seconds=60, reason="the clock stood still")
    together(20, lambda number: portal.registry.ledger.correct(ADMIN, wrong, "c"))
    assert portal.rows(sa.select(t.leases.c.corrected))[0][0] == 60_000


@pytest.mark.parametrize("noun", ["programme", "project", "user"])
def test_one_name_is_given_once(portal: Live, noun: str) -> None:
    directory = portal.registry.directory
    add: Callable[[int], object] = {
        "programme": lambda number: directory.add_programme(ADMIN, NewProgramme(slug="x", name="X")).slug,
        "project": lambda number: directory.add_project(ADMIN, NewProject(slug="x", name="X", programme="demo")).slug,
        "user": lambda number: directory.met(Visitor("x")) or Registry(portal.desk).directory.met(Visitor("x")),
    }[noun]
    outcomes = together(8, add)
    assert Counter(outcomes) == {None: 8} if noun == "user" else {"x": 1, f"{noun}-exists": 7}


# --- one decides ---------------------------------------------------------------------------------------------------


def request(portal: Live, **facts: Any) -> int:
    return int(portal.registry.awards.ask(RESEARCHER, NewRequest(project="demo", reasons="More.", **facts)).id)


def approve(portal: Live, officer: Visitor, number: int) -> str:
    return portal.registry.awards.review(officer, number, Review(verdict="approve", reason="Good.")).state


def test_one_of_many_reviews_decides(portal: Live) -> None:
    number = request(portal, kind=RequestKind.SUPPLEMENT, award="1", gpu_hours=10)
    outcomes = together(8, lambda index: approve(portal, OFFICERS[index], number))
    assert Counter(outcomes) == {"approved": 1, "request-cannot": 7}
    assert portal.registry.awards.award(ADMIN, 1)[0].awarded == 210 * MILLI


def test_what_an_award_has_left_goes_back_once(portal: Live) -> None:
    """Revoked by many at once, while the sweep gives back and a lease of it ends."""
    lease = portal.ask()
    award = portal.rows(sa.select(t.leases.c.award))[0][0]

    def one(number: int) -> object:
        if number == 0:
            return portal.desk.end(RESEARCHER, lease.id).end_reason
        return portal.registry.awards.revoke(OFFICERS[number], award, Revocation(reason="misuse")).state

    outcomes = together(8, one)
    assert Counter(outcomes) == {"user": 1, "revoked": 1, "award-over": 6}
    portal.rest()
    # What was held comes back with the lease's end; the next sweep gives it back with the rest.
    row = until(
        lambda: [
            row for row in portal.rows(sa.select(t.awards).where(t.awards.c.id == award)) if row.awarded <= row.charged
        ]
    )[0]
    assert (row.awarded, row.held, row.returned) == (row.charged, 0, 200 * MILLI - row.charged)


# --- no lease outlives the award that pays for it ------------------------------------------------------------------


def shortened(portal: Live, award: int, ends: int) -> str:
    try:
        portal.registry.awards.change_award(ADMIN, award, AwardPatch(ends=ends), "*")
    except NvlhubError as error:
        return error.slug
    return "shortened"


@pytest.mark.parametrize("way", ["ask", "extend"])
def test_an_award_is_not_shortened_below_what_is_just_granted(
    portal: Live, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = portal.clock.now()
    award = awarded(portal, 10, ends=now + 6 * HOUR)
    lease = portal.ask(seconds=HOUR)
    decided, changed = threading.Event(), threading.Event()

    def held_up(do: Callable[..., Any]) -> Callable[..., Any]:
        def later(*facts: Any, **more: Any) -> Any:
            decided.set()
            # On SQLite the other one waits for this unit, so this one must not wait for the other for long.
            changed.wait(0.5)
            return do(*facts, **more)

        return later

    monkeypatch.setattr(Unit, "hold", held_up(Unit.hold))
    monkeypatch.setattr(portal.runner, "tell", held_up(portal.runner.tell))

    def one(number: int) -> object:
        if number == 0 and way == "ask":
            return portal.desk.ask(RESEARCHER, body(), "k")[1]
        if number == 0:
            return portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=4 * HOUR)).seconds
        decided.wait()
        try:
            return shortened(portal, award, now + 2 * HOUR)
        finally:
            changed.set()

    outcomes = together(2, one)
    [row] = portal.rows(sa.select(t.awards.c.ends).where(t.awards.c.id == award))
    for lease_row in portal.rows(sa.select(t.leases).where(t.leases.c.award == award)):
        assert lease_row.asked_at + lease_row.seconds <= row.ends, outcomes


def test_an_award_is_not_shortened_below_a_lease_that_is_not_on_the_board_yet(
    portal: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = portal.clock.now()
    award = awarded(portal, 10, ends=now + 6 * HOUR)
    admitted, slugs = portal.runner.admitted, []

    def shorten_first(*leases: Lease) -> Any:
        slugs.append(shortened(portal, award, now + HOUR))
        return admitted(*leases)

    monkeypatch.setattr(portal.runner, "admitted", shorten_first)
    portal.ask()
    assert slugs == ["award-ends-before-leases"]


# --- nobody waits forever ------------------------------------------------------------------------------------------


@dataclass
class Bustle:
    """Everything that locks more than one row."""

    portal: Live
    here: int
    there: int
    ended: list[str]

    def lease(self, dice: random.Random) -> None:
        desk, asked = self.portal.desk, body(project=dice.choice(["demo", "demo-small"]), seconds=60)
        lease = desk.ask(RESEARCHER, asked, dice.randbytes(9).hex())[0]
        desk.extend(RESEARCHER, lease.id, Extend(seconds=60))
        self.ended.append(desk.end(RESEARCHER, lease.id).id)

    def transfer(self, dice: random.Random) -> None:
        award, pool = dice.choice([(self.here, "other"), (self.there, "main")])
        facts = {"kind": RequestKind.TRANSFER, "award": str(award), "pool": pool, "gpu_hours": 1}
        approve(self.portal, dice.choice(OFFICERS), request(self.portal, **facts))

    def supplement(self, dice: random.Random) -> None:
        facts = {"kind": RequestKind.SUPPLEMENT, "award": str(dice.choice([self.here, self.there])), "gpu_hours": 2}
        approve(self.portal, dice.choice(OFFICERS), request(self.portal, **facts))

    def budget(self, dice: random.Random) -> None:
        pool, new = dice.choice(["main", "other"]), NewBudget(gpu_hours=dice.randint(9000, 11_000))
        self.portal.registry.directory.set_budget(ADMIN, "demo", pool, new)

    def award(self, dice: random.Random) -> None:
        award = awarded(self.portal, 1)
        shortened(self.portal, award, self.portal.clock.now() + dice.randint(1, 100) * HOUR)
        self.portal.registry.awards.revoke(ADMIN, award, Revocation(reason="a try"))

    def correct(self, dice: random.Random) -> None:
        wrong = Correction(lease=dice.choice(self.ended), gpu_seconds=1, reason="a try")
        self.portal.registry.ledger.correct(ADMIN, wrong, dice.randbytes(9).hex())

    def directory(self, dice: random.Random) -> None:
        directory = self.portal.registry.directory
        directory.set_member(ADMIN, "demo", "instructor", Membership(cap=dice.randint(1, 9)))
        directory.change_user(ADMIN, "researcher", UserPatch(cap=dice.randint(50, 72)), "*")


def test_no_two_units_ever_wait_for_each_other(portal: Live) -> None:
    """By many at once for some seconds: nothing but refusals by the rules, and some of everything comes about."""
    portal.registry.capacity.add_pool(ADMIN, NewPool(name="other", gpu_model="GB200"))
    portal.registry.directory.set_budget(ADMIN, "demo", "other", NewBudget(gpu_hours=10_000))
    lease = portal.desk.end(RESEARCHER, portal.ask().id)
    portal.rest()
    bustle = Bustle(portal, awarded(portal, 1000), awarded(portal, 1000, pool="other"), [lease.id])
    ways = [
        bustle.lease, bustle.lease, bustle.transfer, bustle.transfer, bustle.supplement, bustle.budget, bustle.award,
        bustle.correct, bustle.directory,
    ]  # fmt: skip
    until, done = time.monotonic() + 4, Counter[str]()

    def one(number: int) -> None:
        dice, way = random.Random(number), ways[number % len(ways)]
        while time.monotonic() < until:
            with contextlib.suppress(RefusedError):
                way(dice)
                done[way.__name__] += 1

    together(len(ways) * 2, one)
    assert done.keys() == {way.__name__ for way in ways}
