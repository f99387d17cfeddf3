"""Who must make room, and that nobody must who need not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.flow.placement import Domain, Placement, given_back, is_free, place, without
from nvlhub.flow.preemption import AT_ONCE, Room, Tenant, make_room
from nvlhub.flow.queue import Running, Waiting, plan
from nvlhub.wire import Span
from tests.effort import effort
from tests.flow.strategies import SIZES
from tests.flow.test_placement import rack

NOW, NOTICE = 1000, 120


@dataclass
class Hall:
    """A floor, and who is on it."""

    floor: tuple[Domain, ...]
    running: list[Running]
    tenants: list[Tenant]

    def let(self, gpus: int, **more: object) -> Tenant:
        tenant = Tenant(str(len(self.tenants)), self._take(gpus), **{"started_at": 0, **more})  # type: ignore[arg-type]
        self.tenants.append(tenant)
        return tenant

    def run(self, gpus: int, until: int) -> None:
        self.running.append(Running(self._take(gpus), until))

    def _take(self, gpus: int) -> Placement:
        held = place(gpus, Span.DOMAIN, self.floor)
        assert held is not None
        self.floor = without(self.floor, [held])
        return held

    def make_room(self, *waiting: Waiting) -> Room:
        return make_room(self.floor, self.running, self.tenants, waiting, NOW, NOTICE)

    def going(self, *waiting: Waiting) -> set[str]:
        return set(self.make_room(*waiting).going)


def hall(*domains: Domain) -> Hall:
    return Hall(domains, [], [])


def normal(gpus: int, seconds: int = 3600, name: str = "n") -> Waiting:
    return Waiting(name, gpus, Span.DOMAIN, seconds)


def test_the_idle_go_before_the_busy_and_the_newest_first() -> None:
    full = hall(rack("x", trays=1))
    full.let(1, started_at=300)
    full.let(1, started_at=100, idle_seconds=60)
    full.let(1, started_at=200, idle_seconds=3600)
    full.let(1, started_at=400, idle_seconds=59)
    assert full.going(normal(1)) == {"2"}
    assert full.going(normal(1), normal(1, name="m")) == {"1", "2"}
    assert full.going(normal(3)) == {"1", "2", "3"}


def test_of_equals_the_id_decides_and_who_is_about_to_start_goes_first() -> None:
    full = hall(rack("x", trays=1))
    full.let(2, started_at=300)
    full.let(1, started_at=300)
    assert full.going(normal(2)) == {"0"}
    full.let(1, started_at=None)
    assert full.going(normal(1)) == {"2"}


def test_who_was_told_already_stays_chosen() -> None:
    full = hall(rack("x", trays=1))
    full.let(2, started_at=100, warned=True)
    full.let(2, started_at=900, idle_seconds=999)
    assert full.going(normal(2)) == {"0"}


def test_nobody_is_told_when_there_is_room_or_it_comes_back_anyway() -> None:
    some = hall(rack("x", trays=2))
    some.let(4)
    assert some.going(normal(4)) == set()
    some.run(4, until=NOW)
    assert some.going(normal(4)) == set()
    assert some.going(normal(8)) == {"0"}


def test_nobody_is_told_for_what_could_not_start_even_so_nor_for_a_preemptible_one() -> None:
    full = hall(rack("x", trays=2))
    full.let(4)
    full.run(4, until=9999)
    assert full.going(normal(8)) == set()
    assert full.going(Waiting("idle", 4, Span.DOMAIN, 60, notice=NOTICE)) == set()


def test_who_was_chosen_first_is_let_off_when_another_must_go_anyway() -> None:
    full = hall(rack("x", trays=4))
    full.let(4, started_at=900)
    full.let(12, started_at=100)
    assert full.going(normal(2)) == {"0"}
    assert full.going(normal(2), normal(8, name="m")) == {"1"}
    assert full.going(normal(2), normal(12, name="m")) == {"0", "1"}


def test_who_gets_by_a_head_that_must_wait_leaves_it_its_gpus() -> None:
    full = hall(rack("x", trays=2))
    full.let(4)
    full.run(4, until=NOW + 2000)
    # The head starts when the other has ended: what lasts longer than that would delay it.
    assert full.going(normal(8, name="head"), normal(4, seconds=2000)) == set()
    assert full.going(normal(8, name="head"), normal(4, seconds=2000 - NOTICE)) == {"0"}


def test_room_is_made_for_so_many_at_once() -> None:
    full = hall(*(rack(f"x{number}") for number in range(2)))
    for _ in range(144):
        full.let(1)
    assert len(full.going(*(normal(1, name=str(number)) for number in range(144)))) == AT_ONCE


sizes = st.sampled_from(SIZES[:6])
tenants = st.tuples(sizes, st.sampled_from([None, 10, 20, 30]), st.sampled_from([0, 59, 60, 600]), st.booleans())


@st.composite
def halls(draw: st.DrawFn) -> Hall:
    """One to three domains with leases of both kinds."""
    made = hall(*(rack(f"x{number}", trays=draw(st.integers(1, 5))) for number in range(draw(st.integers(1, 3)))))
    for gpus, started, idle, warned in draw(st.lists(tenants, min_size=1, max_size=10)):
        if place(gpus, Span.DOMAIN, made.floor):
            made.let(gpus, started_at=started, idle_seconds=idle, warned=warned)
    for gpus, left in draw(st.lists(st.tuples(sizes, st.integers(0, 3000)), max_size=4)):
        if place(gpus, Span.DOMAIN, made.floor):
            made.run(gpus, NOW + left)
    return made


queues = st.lists(st.tuples(sizes, st.integers(60, 5000)), min_size=1, max_size=6).map(
    lambda asked: [normal(gpus, seconds, str(number)) for number, (gpus, seconds) in enumerate(asked)]
)


def cells(placements: Sequence[Placement]) -> list[tuple[str, int, int]]:
    return [(share.domain, share.tray, gpu) for placed in placements for share in placed for gpu in share.gpus]


def placements(tenants: Sequence[Tenant]) -> list[Placement]:
    return [tenant.placement for tenant in tenants]


def fit_in_turn(floor: tuple[Domain, ...], leases: Sequence[Waiting]) -> bool:
    for lease in leases:
        found = lease.place(floor)
        if found is None:
            return False
        floor = without(floor, [found])
    return True


def back(made: Hall) -> tuple[Domain, ...]:
    """The floor without those who are ending."""
    return given_back(made.floor, [other.placement for other in made.running if other.until <= NOW])


def yielding(tenants: Sequence[Tenant], until: int) -> list[Running]:
    return [Running(tenant.placement, NOW + 9999, until) for tenant in tenants]


def after_plan(made: Hall, waiting: Sequence[Waiting]) -> list[Waiting]:
    """Let those start that can without anybody's going; return the others."""
    decided = plan(made.floor, [*made.running, *yielding(made.tenants, NOW + NOTICE)], waiting, NOW)
    for _, placed in decided.starts:
        made.floor = without(made.floor, [placed])
        made.running.append(Running(placed, NOW + 5000))
    return [lease for lease in waiting if lease.id in decided.outlook]


def split(made: Hall, room: Room) -> tuple[list[Tenant], list[Tenant]]:
    going = [tenant for tenant in made.tenants if tenant.id in room.going]
    return going, [tenant for tenant in made.tenants if tenant not in going]


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_those_who_go_are_enough_and_no_gpu_is_promised_twice(made: Hall, waiting: list[Waiting]) -> None:
    room = made.make_room(*waiting)
    going, _ = split(made, room)
    promised = cells(list(room.promised.values()))
    assert len(promised) == len(set(promised))
    free = given_back(back(made), placements(going))
    assert all(is_free(placed, free) for placed in room.promised.values())
    assert {lease.id: len(cells([room.promised[lease.id]])) for lease in waiting if lease.id in room.promised} == {
        lease.id: lease.gpus for lease in waiting if lease.id in room.promised
    }


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_nobody_who_goes_could_stay(made: Hall, waiting: list[Waiting]) -> None:
    made.tenants = [replace(tenant, warned=False) for tenant in made.tenants]
    waiting = after_plan(made, waiting)
    room = made.make_room(*waiting)
    going, _ = split(made, room)
    left = without(given_back(back(made), placements(going)), room.promised.values())
    for tenant in going:
        counting = [
            lease
            for lease in waiting
            if lease.id in room.promised and set(cells([room.promised[lease.id]])) & set(cells([tenant.placement]))
        ]
        assert counting
        spare = given_back(left, [room.promised[lease.id] for lease in counting])
        if fit_in_turn(without(spare, [tenant.placement]), counting):
            # Unless they pass a lease that waits longer, and would take its GPUs there.
            assert len(room.promised) < len(waiting)


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_the_first_gets_room_whenever_it_waits_for_nobody_but_tenants(made: Hall, waiting: list[Waiting]) -> None:
    waiting = after_plan(made, waiting)
    if waiting and made.tenants and waiting[0].place(given_back(back(made), placements(made.tenants))):
        assert waiting[0].id in made.make_room(*waiting).promised


@settings(max_examples=150, deadline=None)
@given(halls(), sizes)
def test_nobody_goes_while_those_more_willing_would_do(made: Hall, gpus: int) -> None:
    made.tenants = [replace(tenant, warned=False) for tenant in made.tenants]
    going, _ = split(made, made.make_room(normal(gpus)))
    if going:
        last = max(tenant.rank for tenant in going)
        before = [tenant.placement for tenant in made.tenants if tenant.rank < last]
        assert place(gpus, Span.DOMAIN, given_back(back(made), before)) is None


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_a_promise_is_kept_and_those_who_were_told_for_it_go(made: Hall, waiting: list[Waiting]) -> None:
    waiting = after_plan(made, waiting)
    first = made.make_room(*waiting)
    made.tenants = [
        replace(tenant, warned=tenant.id in first.going, idle_seconds=600 - tenant.idle_seconds)
        for tenant in made.tenants
    ]
    again = made.make_room(*(replace(lease, room=first.promised.get(lease.id, ())) for lease in waiting))
    assert again.promised.items() >= first.promised.items()
    assert again.going >= first.going


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_who_was_promised_room_starts_there_when_the_others_have_gone(made: Hall, waiting: list[Waiting]) -> None:
    waiting = after_plan(made, waiting)
    room = made.make_room(*waiting)
    going, staying = split(made, room)
    waiting = [replace(lease, room=room.promised.get(lease.id, ())) for lease in waiting]
    running = [*made.running, *yielding(staying, NOW + 2 * NOTICE)]
    later = plan(given_back(back(made), placements(going)), running, waiting, NOW + NOTICE)
    assert {(lease.id, lease.room) for lease in waiting if lease.room} <= set(later.starts)


@settings(max_examples=150, deadline=None)
@given(halls(), queues)
def test_a_preemptible_lease_takes_nothing_that_was_promised(made: Hall, waiting: list[Waiting]) -> None:
    waiting = after_plan(made, waiting)
    room = made.make_room(*waiting)
    going, staying = split(made, room)
    waiting = [replace(lease, room=room.promised.get(lease.id, ())) for lease in waiting]
    idle = [Waiting(f"idle{number}", 1, Span.DOMAIN, 3600, notice=NOTICE) for number in range(20)]
    running = [*made.running, *yielding(staying, NOW + NOTICE), *yielding(going, NOW + NOTICE)]
    decided = plan(made.floor, running, [*waiting, *idle], NOW)
    started = [placed for lease, placed in decided.starts if lease.startswith("idle")]
    assert not set(cells(started)) & set(cells(list(room.promised.values())))


def test_a_thousand_that_wait_and_a_thousand_that_yield_take_little_work() -> None:
    full = hall(*(rack(f"x{number}") for number in range(16)))
    for number in range(1000):
        full.let(1, started_at=number)
    waiting = [normal(1 if number % 2 else 8, name=str(number)) for number in range(1000)]
    calls, room = effort(lambda: full.make_room(*waiting))
    assert len(room.promised) == AT_ONCE
    assert calls < 2_000_000
