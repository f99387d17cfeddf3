"""Runs against an oracle: what they keep, hold and cost after any sequence of events, and who gets which hours; on every database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvlhub.dates import UnclearTimeError, moment
from nvlhub.errors import NvlhubError
from nvlhub.forms import NewReservation, ProgrammePatch, RunAsk, RunDecision, RunPatch
from nvlhub.store import Store, replay
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import Extend
from tests.conftest import HandClock
from tests.courses_kit import HOUR, TEACHER, make_course, plan, sit
from tests.portal_kit import ADMIN, Kit, kit
from tests.store.test_ledger_machine import postgres_copies, sqlite_copies

TRAYS, QUARTER, DAY = 3, 900, 86_400
DOMAINS = 2
USERS = ("ann", "bob", "cid")
BOTH = pytest.mark.parametrize(
    ("copies", "examples"),
    [pytest.param(sqlite_copies, 20, id="sqlite"),
     pytest.param(postgres_copies, 4, id="postgres", marks=pytest.mark.postgres)],
)  # fmt: skip
Copies = Callable[..., AbstractContextManager[Callable[[], str]]]


def opened(url: str) -> Kit:
    """Open a portal on an empty copy, with a course; the ledger's own machine left nothing that is in the way."""
    store = Store(url)
    with store.writing() as unit:
        for table in ("budgets", "members", "projects", "profiles", "programmes", "pools"):
            unit.connection.execute(t.metadata.tables[table].delete())
    portal = kit(store, HandClock(), domains=DOMAINS, trays=TRAYS)
    make_course(portal)
    return portal


# --- money --------------------------------------------------------------------------------------------------------


@dataclass
class Slot:
    """What the oracle thinks of an approved run's slot."""

    starts: int
    ends: int
    gpus: int
    factor: int
    whole: bool
    seats: int
    shape: int
    charged: int = 0
    over: bool = False

    @property
    def price(self) -> int:
        return self.gpus * (self.ends - self.starts) * self.factor

    def pass_to(self, now: int) -> None:
        if not self.over and now >= self.ends:
            self.over, self.charged = True, self.price if self.whole else 0

    def stop(self, now: int) -> None:
        self.pass_to(now)
        if not self.over:
            self.over, self.charged = True, self.gpus * (now - self.starts) * self.factor if self.whole else 0
            self.ends = now


def trays_needed(seats: int, gpus: int) -> int:
    if gpus <= 4:
        return -(-seats // (4 // gpus)) if gpus else 0
    return seats * gpus // 4


@dataclass
class World:
    """A portal, the oracle's slots by run, and a die."""

    portal: Kit
    dice: random.Random
    seen: Counter[str]
    slots: dict[int, Slot] = field(default_factory=dict)
    whole: bool = False
    factor: int = 1000

    @property
    def now(self) -> int:
        return self.portal.clock.now()

    def some(self, *states: str) -> int | None:
        runs = [int(run.id) for run in self.portal.registry.runs.runs(TEACHER, per_page=200)[0] if run.state in states]
        return self.dice.choice(runs) if runs else None

    def do(self, name: str, operation: Callable[[], Any]) -> Any:
        """Do something; refused, it must have changed nothing at all."""
        before, refused = self.everything(), ""
        try:
            done = operation()
        except NvlhubError as error:
            done, refused = None, f" refused: {error.slug}"
        assert not refused or self.everything() == before, (name, refused)
        self.seen[name + refused] += 1
        return done

    def everything(self) -> list[Any]:
        with self.portal.store.reading() as unit:
            tables = ("runs", "seats", "reservations", "reserved_trays", "awards", "transactions", "postings", "leases")
            return [unit.everything(table) for table in tables]

    def times(self) -> dict[str, int]:
        starts = self.now + self.dice.randrange(0, 9) * HOUR
        return {"starts": starts, "ends": starts + self.dice.randrange(1, 7) * HOUR}

    def step(self) -> None:  # noqa: C901, PLR0912  # one case for each event
        runs, dice = self.portal.registry.runs, self.dice
        match dice.choice([*OPERATIONS]):
            case "plan":
                shape = {"seats": dice.randrange(1, 9), "gpus": dice.choice([0, 1, 1, 1, 2, 3, 4, 8])}
                new = plan(**self.times(), **shape, warm_minutes=dice.choice([0, 30, 90]))
                made = self.do("plan", lambda: runs.add(TEACHER, new))
                if made is not None and dice.random() < 0.8:
                    self.do("request", lambda: runs.request(TEACHER, int(made.id), RunAsk()))
            case "decide" if run := self.some("requested"):
                self.decide(run, approve=dice.random() < 0.9)
            case "move" if run := self.some("approved", "draft"):
                self.move(run)
            case "cancel" if run := self.some("approved", "requested", "draft"):
                if self.do("cancel", lambda: runs.cancel(TEACHER, run, RunAsk())) and run in self.slots:
                    self.slots.pop(run)
            case "close" if run := self.some("approved"):
                if self.do("close", lambda: runs.close(TEACHER, run)) and run in self.slots:
                    self.slots[run].stop(self.now)
            case "charge":
                self.charge()
            case "reserve":
                new = NewReservation(name="x", project="demo", gpus=4, **self.times())
                self.do("reserve", lambda: self.portal.registry.reservations.add(ADMIN, new))
            case "sit" if run := self.some("approved"):
                self.take_seat(run)
            case "lease":
                self.lease()
            case "end" if leases := list(self.portal.runner.board.leases.values()):
                lease = dice.choice(leases)
                self.portal.desk.end(Visitor(lease.user), lease.id)
            case "extend" if leases := list(self.portal.runner.board.leases.values()):
                lease = dice.choice(leases)
                more = Extend(seconds=dice.choice([60, HOUR]))
                self.do("extend", lambda: self.portal.desk.extend(Visitor(lease.user), lease.id, more))
            case "restart":
                self.portal.restart()
            case _:
                self.portal.step(dice.choice([60, 900, HOUR, HOUR, 2 * HOUR]), beats=dice.random() < 0.9)
        self.portal.runner.step()
        self.portal.step(1)
        for slot in self.slots.values():
            slot.pass_to(self.now)

    def charge(self) -> None:
        self.whole, self.factor = self.dice.random() < 0.8, self.dice.choice([1000, 1500, 3000])
        rules = ProgrammePatch(slot_charge=self.whole, factor_milli=self.factor)
        self.portal.registry.directory.change_programme(ADMIN, "demo", rules, "*")

    def decide(self, run: int, *, approve: bool) -> None:
        decision = RunDecision(approve=approve, reason="x")
        view = self.do("decide", lambda: self.portal.registry.runs.decide(ADMIN, run, decision))
        if view is not None and approve and view.gpus:
            starts = max(self.now, view.starts - view.warm_minutes * 60)
            least = 4 * trays_needed(view.seats, view.gpus)
            assert view.slot_gpus == 4 * len(view.trays) >= least
            self.slots[run] = Slot(
                starts, view.ends, view.slot_gpus, self.factor, self.whole, view.seats, view.gpus
            )  # fmt: skip

    def move(self, run: int) -> None:
        patch: dict[str, Any] = self.times() if self.dice.random() < 0.5 else {"seats": self.dice.randrange(1, 9)}
        slot = self.slots.get(run)
        if slot is not None and slot.starts <= self.now:
            patch = {"ends": self.now + self.dice.randrange(0, 5) * HOUR}
        moved = self.do("move", lambda: self.portal.registry.runs.change(TEACHER, run, RunPatch(**patch), "*"))
        if moved is not None and slot is not None:
            view = moved[0]
            if slot.starts > self.now:
                slot.starts = max(self.now, view.starts - view.warm_minutes * 60)
            slot.ends, slot.gpus, slot.seats = view.ends, view.slot_gpus, view.seats

    def take_seat(self, run: int) -> None:
        user = self.dice.choice(USERS)
        with self.portal.store.reading() as unit:
            if unit.seat_of(run, user) or all(seat["user"] for seat in unit.seats(run)):
                return
        sit(self.portal, self.portal.registry.runs.run(TEACHER, run)[0].model_copy(update={"gpus": 8}), user)

    def lease(self) -> None:
        with self.portal.store.reading() as unit:
            members = [user for user in USERS if unit.member("demo", user)]
        if members:
            user, profile = self.dice.choice(members), self.dice.choice(["gpu1", "gpu2"])
            made = self.do("lease", lambda: self.portal.ask(profile, Visitor(user)))
            self.seen[f"lease {'in a slot' if made and not made.held else 'by itself'}"] += 1

    def check(self) -> None:
        with self.portal.store.reading() as unit:
            assert replay(unit).broken == []
            awards, leases = unit.everything("awards"), unit.everything("leases")
            kept = unit.everything("reservations")
            reserved = unit.everything("reserved_trays")
        assert self.portal.broken() == []
        of_leases = sum(one["held"] for one in leases if one["state"] != "settled")
        paid = sum(one["charged"] - one["refunded"] for one in leases)
        slots = [slot for slot in self.slots.values() if slot.whole]
        assert sum(one["held"] for one in awards) == of_leases + sum(slot.price for slot in slots if not slot.over)
        assert sum(one["charged"] for one in awards) == paid + sum(slot.charged for slot in slots)
        runs = {
            int(one["note"][4:]): one for one in kept if one["note"].startswith("run ") and one["state"] == "booked"
        }
        assert {
            run: (slot.starts, slot.ends, slot.gpus) for run, slot in self.slots.items() if slot.ends > slot.starts
        } == {run: (one["starts"], one["ends"], one["gpus"]) for run, one in runs.items()}
        check_capacity(reserved)


def check_capacity(reserved: list[dict[str, Any]]) -> None:
    """At no second more trays are kept than there are, and none twice."""
    for at in {one["starts"] for one in reserved}:
        then = [(one["domain"], one["tray"]) for one in reserved if one["starts"] <= at < one["ends"]]
        assert len(then) == len(set(then)) <= DOMAINS * TRAYS


OPERATIONS = (
    *["plan"] * 4, *["decide"] * 4, *["move"] * 3, "cancel", "close", "charge", "reserve", *["sit"] * 3, *["lease"] * 4,
    "end", "extend", "restart", *["wait"] * 4,
)  # fmt: skip


@BOTH
def test_runs_keep_hold_and_cost_what_an_oracle_says(
    copies: Copies, examples: int, request: pytest.FixtureRequest
) -> None:
    seen: Counter[str] = Counter()
    with copies(request) as new_database:

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.integers(0, 2**32))
        def sequences(seed: int) -> None:
            portal = opened(new_database())
            try:
                world = World(portal, random.Random(seed), seen)
                world.charge()
                for _ in range(30):
                    world.step()
                    world.check()
            finally:
                portal.store.close()

        sequences()
    tried = {"plan", "request", "decide", "move", "cancel", "close", "lease in a slot", "lease by itself", "extend"}
    assert examples < 20 or tried - seen.keys() == set(), seen


# --- capacity -----------------------------------------------------------------------------------------------------

CHANGES = {
    "Europe/Berlin": datetime.fromisoformat("2027-03-28"), "America/New_York": datetime.fromisoformat("2027-11-07"), "Australia/Lord_Howe": datetime.fromisoformat("2027-04-04"),
    "Asia/Taipei": datetime.fromisoformat("2027-05-01"), "Africa/Cairo": datetime.fromisoformat("2027-04-30"), "America/Sao_Paulo": datetime.fromisoformat("2027-02-21"),
}  # fmt: skip
"""Zones, and days on or near which most of them change their clocks."""


@dataclass(frozen=True)
class Wish:
    """A class as it stands in somebody's calendar: local times, seats, GPUs of a seat."""

    zone: str
    day: int
    quarter: int
    quarters: int
    seats: int
    gpus: int
    warm: int
    second: bool
    cancelled: bool


def wish_of(dice: random.Random) -> Wish:
    """Return a class of one of two days, on any quarter of an hour."""
    return Wish(
        zone=dice.choice(sorted(CHANGES)), day=dice.randrange(2), quarter=dice.randrange(96), quarters=dice.randrange(1, 60),
        seats=dice.randrange(1, 13), gpus=dice.choice([1, 1, 2, 3, 4]), warm=dice.choice([0, 15, 30, 60]),
        second=dice.random() < 0.5, cancelled=dice.random() < 0.2,
    )  # fmt: skip


def local(wish: Wish, base: str, quarters: int) -> int | None:
    """Return the moment that a calendar means, in its zone; None: clocks leave that time out."""
    told = CHANGES[base] + timedelta(days=wish.day, minutes=15 * quarters)
    zone = ZoneInfo(wish.zone)
    try:
        at = moment(told.strftime("%Y-%m-%dT%H:%M"), zone, second=wish.second)
    except UnclearTimeError:
        return None
    assert datetime.fromtimestamp(at, zone).replace(tzinfo=None) == told
    return at


@BOTH
def test_of_any_calendars_those_fit_that_a_count_of_quarters_says(
    copies: Copies, examples: int, request: pytest.FixtureRequest
) -> None:
    """All of them are about one change of clocks; the oracle knows nothing but quarters of hours and trays."""
    outcomes: Counter[str] = Counter()
    trays = [(f"nvl00{domain}", tray) for domain in range(1, DOMAINS + 1) for tray in range(1, TRAYS + 1)]
    with copies(request) as new_database:

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(sorted(CHANGES)), st.integers(0, 2**32))
        def calendars(base: str, seed: int) -> None:
            dice = random.Random(seed)
            portal = opened(new_database())
            try:
                portal.clock.at = int(CHANGES[base].timestamp()) // DAY * DAY - 10 * DAY
                taken: dict[tuple[str, int], set[int]] = {tray: set() for tray in trays}
                for wish in [wish_of(dice) for _ in range(16)]:
                    starts, ends = local(wish, base, wish.quarter), local(wish, base, wish.quarter + wish.quarters)
                    if starts is None or ends is None or not starts < ends <= starts + DAY:
                        outcomes["no time"] += 1
                        continue
                    quarters = set(range((starts - wish.warm * 60) // QUARTER, ends // QUARTER))
                    free = Counter(domain for domain, tray in trays if not taken[domain, tray] & quarters)
                    fits = max(free.values(), default=0) >= trays_needed(wish.seats, wish.gpus) <= TRAYS
                    facts = {"zone": wish.zone, "starts": starts, "ends": ends, "seats": wish.seats, "gpus": wish.gpus}
                    new = plan(**facts, warm_minutes=wish.warm, dry_run=trays_needed(wish.seats, wish.gpus) > TRAYS)
                    run = portal.registry.runs.add(TEACHER, new)
                    if new.dry_run:
                        continue
                    assert run.room is not None
                    assert run.room.fits is fits, (wish, run.room)
                    if not fits:
                        outcomes["no room"] += 1
                        if run.room.next_starts is not None:
                            later = set(
                                range(
                                    run.room.next_starts // QUARTER - wish.warm // 15,
                                    (run.room.next_starts + ends - starts) // QUARTER,
                                )
                            )
                            open_then = Counter(domain for domain, tray in trays if not taken[domain, tray] & later)
                            assert max(open_then.values()) >= trays_needed(wish.seats, wish.gpus)
                        continue
                    portal.registry.runs.request(TEACHER, int(run.id), RunAsk())
                    run = portal.registry.runs.decide(ADMIN, int(run.id), RunDecision(approve=True, reason="x"))
                    outcomes["kept"] += 1
                    assert len(run.trays) == trays_needed(wish.seats, wish.gpus)
                    if wish.cancelled:
                        portal.registry.runs.cancel(TEACHER, int(run.id), RunAsk())
                        continue
                    for one in run.trays:
                        assert not taken[one.domain, one.tray] & quarters
                        taken[one.domain, one.tray] |= quarters
                with portal.store.reading() as unit:
                    rows = unit.everything(t.reserved_trays.name)
                check_capacity(rows)
                for row in rows:
                    assert (
                        set(range(row["starts"] // QUARTER, row["ends"] // QUARTER))
                        <= taken[row["domain"], row["tray"]]
                    )
                assert portal.broken() == []
            finally:
                portal.store.close()

        calendars()
    assert examples < 20 or min(outcomes[what] for what in ("kept", "no room", "no time")) > 0, outcomes
