"""Weeks of four domains in which three programmes ask for more than there is.

Order, plan and pre-emption as the run loop uses them; no store, no engine, no clock but the events themselves.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from nvlhub.flow.placement import Domain, Placement, given_back, without
from nvlhub.flow.preemption import Tenant, make_room
from nvlhub.flow.queue import Rule, Running, Waiting, order, plan
from nvlhub.wire import Span
from tests.flow.test_placement import rack

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY
NOTICE = 120
LONGEST = 18 * HOUR
SHARES = {"ai": 60, "bio": 30, "chips": 10}
SIZES = (1, 1, 2, 2, 4, 4, 8)
GPUS = 4 * 72
RULES = {name: Rule(0, share) for name, share in SHARES.items()}
QUEUED = {"ai": 6, "bio": 3, "chips": 1}
"""Leases that each programme has in the queue at any time: all ask for as much more than their share."""


@dataclass
class Held:
    """A lease that runs."""

    asked: Waiting
    placement: Placement
    started: int
    ends: int
    preempt_at: int | None = None

    def running(self, now: int) -> Running:
        yields = (self.preempt_at or now + NOTICE) if self.asked.preemptible else None
        return Running(self.placement, self.started + self.asked.seconds, yields)


@dataclass
class Week:
    """The machine, its queue, and what is remembered of them."""

    nights: bool
    """Whether the programmes sleep half of the day, and idle GPUs are used pre-emptibly; a day begins with a wish for a
    whole domain then."""
    chance: random.Random = field(default_factory=lambda: random.Random(60))  # the same week each time
    floor: tuple[Domain, ...] = field(default_factory=lambda: tuple(rack(f"nvl{number}") for number in range(4)))
    queue: list[Waiting] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)
    rooms: dict[str, Placement] = field(default_factory=dict)
    asked: int = 0
    used: Counter[str] = field(default_factory=Counter)
    """GPU-seconds by programme, and of what was pre-emptible."""
    first_since: dict[str, int] = field(default_factory=dict)
    fronts: list[int] = field(default_factory=list)
    """Seconds from when a lease was first in the queue to its start."""
    withheld_since: dict[str, int] = field(default_factory=dict)
    withheld: list[int] = field(default_factory=list)
    """Seconds for which leases at the front waited for nothing but pre-emptible ones."""
    preempted: int = 0

    def ask(self, now: int, programme: str, gpus: int, notice: int | None = None) -> None:
        self.asked += 1
        seconds = self.chance.randrange(8 * HOUR, LONGEST)
        self.queue.append(
            Waiting(
                str(self.asked), gpus, Span.DOMAIN, seconds, programme=programme, asked_at=now, notice=notice
            )
        )  # fmt: skip

    def fill(self, now: int) -> None:
        """Have everybody who is awake wait for something."""
        waiting = Counter((lease.programme, lease.preemptible) for lease in self.queue)
        awake = SHARES if not self.nights or now % DAY < DAY // 2 else ()
        for programme in awake:
            for _ in range(QUEUED[programme] - waiting[programme, False]):
                self.ask(now, programme, self.chance.choice(SIZES))
        for _ in range(4 - waiting["ai", True] if self.nights else 0):
            self.ask(now, "ai", self.chance.choice(SIZES), NOTICE)

    def turn(self, now: int) -> bool:
        """Do what the run loop does when something has changed; tell whether anything started."""
        held = Counter[str]()
        for lease in self.held.values():
            held[lease.asked.programme] += 0 if lease.asked.preemptible else lease.asked.gpus
        waiting = [replace(lease, room=self.rooms.get(lease.id, ())) for lease in self.queue]
        turns = order(waiting, RULES, held)
        by_id = {lease.id: lease for lease in turns}
        decided = plan(self.floor, [lease.running(now) for lease in self.held.values()], turns, now)
        for lease_id, placement in decided.starts:
            self.start(by_id[lease_id], placement, now)
        left = [lease for lease in turns if lease.id in decided.outlook]
        self.queue = [lease for lease in self.queue if lease.id in decided.outlook]
        self.make_room(left, now)
        self.watch(left, now)
        return bool(decided.starts)

    def start(self, lease: Waiting, placement: Placement, now: int) -> None:
        # Half of all use less time than they have asked for.
        runs = lease.seconds if self.chance.random() < 0.5 else self.chance.randrange(600, lease.seconds)
        self.held[lease.id] = Held(lease, placement, now, now + runs)
        self.floor = without(self.floor, [placement])
        if lease.id in self.first_since:
            self.fronts.append(now - self.first_since[lease.id])

    def make_room(self, left: list[Waiting], now: int) -> None:
        tenants = {name: lease for name, lease in self.held.items() if lease.asked.preemptible}
        others = [lease.running(now) for name, lease in self.held.items() if name not in tenants]
        known = [
            Tenant(name, lease.placement, lease.started, warned=lease.preempt_at is not None)
            for name, lease in tenants.items()
        ]
        room = make_room(self.floor, others, known, left, now, NOTICE)
        self.rooms = dict(room.promised)
        for name, lease in tenants.items():
            lease.preempt_at = (lease.preempt_at or now + NOTICE) if name in room.going else None

    def watch(self, left: list[Waiting], now: int) -> None:
        """See who is first, and who in front would have started if nobody pre-emptible were there."""
        if left and not left[0].preemptible:
            self.first_since.setdefault(left[0].id, now)
        emptied = given_back(self.floor, [lease.placement for lease in self.held.values() if lease.asked.preemptible])
        for_them = set()
        for lease in left:
            room = None if lease.preemptible else lease.place(emptied)
            if room is None:
                break
            emptied = without(emptied, [room])
            for_them.add(lease.id)
        for lease_id in self.withheld_since.keys() - for_them:
            self.withheld.append(now - self.withheld_since.pop(lease_id))
        for lease_id in for_them:
            self.withheld_since.setdefault(lease_id, now)

    def times(self) -> Iterator[int]:
        """Let time pass until something ends, a day begins or a night."""
        now = 0
        while now < WEEK:
            yield now
            ends = (min(lease.ends, lease.preempt_at or lease.ends) for lease in self.held.values())
            now = min(*ends, now - now % (DAY // 2) + DAY // 2)

    def end(self, now: int) -> None:
        for name, lease in list(self.held.items()):
            preempted = lease.preempt_at is not None and now >= lease.preempt_at
            if preempted or now >= lease.ends:
                del self.held[name]
                self.preempted += preempted
                self.floor = given_back(self.floor, [lease.placement])
                whose = "idle" if lease.asked.preemptible else lease.asked.programme
                self.used[whose] += lease.asked.gpus * (now - lease.started)

    def run(self) -> Week:
        for now in self.times():
            self.end(now)
            if self.nights and now % DAY == 0:
                self.ask(now, "ai", 72)
            self.fill(now)
            while self.turn(now):
                self.fill(now)
        return self


@pytest.fixture(scope="module")
def week() -> Week:
    return Week(nights=True).run()


def test_programmes_get_gpu_hours_by_their_shares() -> None:
    week = Week(nights=False).run()
    total = sum(week.used.values())
    for programme, share in SHARES.items():
        assert week.used[programme] / total == pytest.approx(share / sum(SHARES.values()), rel=0.15)
    assert total > 0.9 * GPUS * WEEK


def test_whoever_is_first_starts_within_the_longest_times_of_those_who_run(week: Week) -> None:
    assert len(week.fronts) > 100
    assert max(week.fronts) <= 2 * LONGEST


def test_low_priority_use_takes_what_others_cannot_and_is_in_nobodys_way_for_longer_than_the_notice(
    week: Week,
) -> None:
    assert week.used["idle"] > 0.1 * GPUS * WEEK
    assert sum(week.used.values()) > 0.9 * GPUS * WEEK
    assert week.preempted > 100
    assert max(week.withheld) == NOTICE
