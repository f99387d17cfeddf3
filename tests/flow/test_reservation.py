"""Which trays are reserved, and what placement makes of them; against what a search through everything finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.flow.placement import Domain, Placement, Tray, given_back, place, without
from nvlhub.flow.preemption import Tenant, make_room
from nvlhub.flow.queue import Running, Waiting, expected_start, plan
from nvlhub.flow.reservation import DAY, SEARCHED, Booking, Kept, NoRoom, Place, choose, keep
from nvlhub.wire import Span
from tests.effort import effort
from tests.flow.test_placement import rack

NOW = 1000
HOUR = 3600
NOTICE = 120

# --- which trays ------------------------------------------------------------------------------------------------------


@st.composite
def halls(draw: st.DrawFn) -> tuple[Domain, ...]:
    """Up to three domains of up to four trays, some out of service."""
    return tuple(
        Domain(
            f"nvl{number}",
            tuple(Tray(index, frozenset(range(4)), in_service=draw(st.booleans())) for index in range(1, trays + 1)),
        )
        for number, trays in enumerate(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    )


def places(domains: tuple[Domain, ...]) -> list[Place]:
    return [(domain.name, tray.index) for domain in domains for tray in domain.trays]


@st.composite
def calendars(draw: st.DrawFn, domains: tuple[Domain, ...]) -> list[Booking]:
    """Reservations of which no two have a tray at one time; days as times."""
    made: list[Booking] = []
    for number in range(draw(st.integers(0, 6))):
        starts = draw(st.integers(0, 50)) * DAY
        ends = starts + draw(st.integers(1, 20)) * DAY
        taken = {place for one in made if one.overlaps(starts, ends) for place in one.trays}
        free = [place for place in places(domains) if place not in taken]
        if free:
            trays = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
            made.append(Booking(number, "p", starts, ends, tuple(sorted(trays))))
    return made


def possible(
    gpus: int, starts: int, ends: int, domains: tuple[Domain, ...], calendar: list[Booking]
) -> list[set[Place]]:
    """Every set of trays that would do, as few of them as it takes, by trying all."""
    taken = {place for one in calendar if starts < one.ends and one.starts < ends for place in one.trays}
    served = {(domain.name, tray.index) for domain in domains for tray in domain.trays if tray.in_service}
    trays = -(-gpus // 4)
    largest = max(sum(tray.in_service for tray in domain.trays) for domain in domains)
    found = []
    for chosen in itertools.combinations(sorted(served - taken), trays):
        inside = {name for name, _ in chosen}
        if len(inside) == 1 or gpus > 4 * largest:
            found.append(set(chosen))
    return found


@settings(max_examples=300, deadline=None)
@given(st.data(), halls(), st.integers(1, 48), st.integers(0, 60), st.integers(1, 15))
def test_trays_are_found_where_there_are_any_and_otherwise_what_would_be_possible(
    data: st.DataObject, domains: tuple[Domain, ...], gpus: int, day: int, days: int
) -> None:
    calendar = data.draw(calendars(domains))
    held = data.draw(st.dictionaries(st.sampled_from(places(domains)), st.integers(0, 70).map(lambda at: at * DAY)))
    starts, ends = day * DAY, (day + days) * DAY
    all_ways = possible(gpus, starts, ends, domains, calendar)
    found = choose(gpus, starts, ends, domains, calendar, held)
    if isinstance(found, NoRoom):
        assert not all_ways
        works = [fewer for fewer in range(1, gpus + 1) if possible(fewer, starts, ends, domains, calendar)]
        assert found.largest == max(works, default=0)
        later = range(starts, starts + SEARCHED + 1, DAY)
        fits = [at for at in later if possible(gpus, at, at + ends - starts, domains, calendar)]
        assert found.next_starts == (fits[0] if fits else None)
        return
    assert set(found) in all_ways
    assert list(found) == [place for place in places(domains) if place in set(found)]
    names = {name for name, _ in found}
    assert len(names) == min(len({name for name, _ in way}) for way in all_ways)
    if len(names) == 1:
        # Nobody is in the way where that can be had.
        hit = [sum(held.get(place, 0) > starts for place in way) for way in all_ways]
        assert sum(held.get(place, 0) > starts for place in found) == min(hit)


def test_gpus_are_rounded_up_to_whole_trays_and_leave_larger_gaps_to_others() -> None:
    floor = [rack("a", trays=4), rack("b", trays=2)]
    assert choose(5, 0, 10, floor, [], {}) == (("b", 1), ("b", 2))
    assert choose(5, 0, 10, floor, [], {("b", 1): 11}) == (("a", 1), ("a", 2))
    assert choose(5, 10, 20, floor, [], {("b", 1): 10}) == (("b", 1), ("b", 2))


def test_more_than_a_domain_takes_whole_domains_first() -> None:
    floor = [rack("a", trays=2), rack("b", trays=4), rack("c", trays=4)]
    assert choose(20, 0, 10, floor, [], {}) == (("a", 1), ("b", 1), ("b", 2), ("b", 3), ("b", 4))


def test_a_move_keeps_its_trays_where_they_are_open() -> None:
    floor = [rack("a", trays=4)]
    mine = (("a", 3), ("a", 4))
    assert choose(8, 5, 15, floor, [], {}, mine) == mine
    other = Booking(1, "p", 0, 6, (("a", 3),))
    assert choose(8, 5, 15, floor, [other], {}, mine) == (("a", 1), ("a", 2))
    assert choose(16, 5, 15, floor, [other], {}, ()) == NoRoom(12, 6)


# --- what placement makes of them -------------------------------------------------------------------------------------


def reserved(floor: tuple[Domain, ...], trays: list[Place], starts: int, ends: int, project: str = "p") -> Kept:
    [kept] = keep([Booking(1, project, starts, ends, tuple(trays))], floor)
    return kept


def on(placement: Placement) -> set[Place]:
    return {(share.domain, share.tray) for share in placement}


FLOOR = (rack("x", trays=2), rack("y", trays=2))
X, Y = [("x", 1), ("x", 2)], [("y", 1), ("y", 2)]


def test_what_could_still_run_when_a_reservation_begins_is_not_placed_on_its_trays() -> None:
    kept = [reserved(FLOOR, X, NOW + 100, NOW + 200)]
    short, long = Waiting("short", 8, Span.DOMAIN, 100), Waiting("long", 8, Span.DOMAIN, 101)
    assert [on(found) for _, found in plan(FLOOR, [], [short, long], NOW, kept).starts] == [set(X), set(Y)]
    both = plan(FLOOR, [], [long, replace(long, id="other")], NOW, kept)
    assert [name for name, _ in both.starts] == ["long"]
    # The end of the other comes after the reservation's beginning, and before its end.
    assert both.outlook["other"].start == NOW + 101


def test_after_its_end_the_trays_are_as_any_others() -> None:
    kept = [reserved(FLOOR, X + Y, NOW - 100, NOW + 200)]
    lease = Waiting("a", 8, Span.DOMAIN, 5000)
    assert plan(FLOOR, [], [lease], NOW, kept).outlook["a"].start == NOW + 200
    assert expected_start(FLOOR, [], [], lease, NOW, {}, {}, kept) == NOW + 200
    assert plan(FLOOR, [], [lease], NOW + 200, kept).outlook == {}


def test_a_projects_leases_go_to_its_trays_first_while_they_are_kept() -> None:
    kept = [reserved(FLOOR, Y, NOW, NOW + 200)]
    mine = [Waiting(str(number), 4, Span.DOMAIN, 5000, project="p") for number in range(4)]
    decided = plan(FLOOR, [], mine, NOW, kept)
    assert [min(on(found))[0] for _, found in decided.starts] == ["y", "y", "x", "x"]
    # Before it begins they are others like any: what they start must be over by then.
    assert [min(on(found))[0] for _, found in plan(FLOOR, [], mine, NOW - 1, kept).starts] == ["x", "x"]


def test_a_project_starts_on_its_trays_whoever_waits() -> None:
    kept = [reserved(FLOOR, Y, NOW, NOW + 200)]
    taken = place(8, Span.DOMAIN, FLOOR[:1])
    assert taken is not None
    head, mine = Waiting("head", 8, Span.DOMAIN, 100), Waiting("mine", 8, Span.DOMAIN, 5000, project="p")
    decided = plan(without(FLOOR, [taken]), [Running(taken, NOW + 900)], [head, mine], NOW, kept)
    assert [name for name, _ in decided.starts] == ["mine"]


def test_a_project_that_waits_for_its_reservation_is_told_its_beginning() -> None:
    kept = [reserved(FLOOR, Y, NOW + 50, NOW + 200)]
    taken = place(8, Span.DOMAIN, FLOOR[:1])
    assert taken is not None
    head, mine = Waiting("head", 8, Span.DOMAIN, 5000), Waiting("mine", 4, Span.DOMAIN, 5000, project="p")
    more = [replace(mine, id=f"mine{number}") for number in range(2)]
    outlook = plan(without(FLOOR, [taken]), [Running(taken, NOW + 900)], [head, mine, *more], NOW, kept).outlook
    assert outlook["head"].start == NOW + 900
    assert [outlook[name].start for name in ("mine", "mine0")] == [NOW + 50] * 2
    assert outlook["mine1"].start == NOW + 5050


def test_those_behind_one_that_waits_for_a_reservation_to_end_go_on_and_do_not_delay_it() -> None:
    kept = [reserved(FLOOR, X, NOW + 100, NOW + 1000)]
    taken = place(8, Span.DOMAIN, FLOOR[1:])
    assert taken is not None
    floor = without(FLOOR, [taken])
    running = [Running(taken, NOW + 3000)]
    head = Waiting("head", 8, Span.DOMAIN, 200)
    next_, short = Waiting("next", 4, Span.DOMAIN, 100), Waiting("short", 8, Span.DOMAIN, 100)
    decided = plan(floor, running, [head, next_, short], NOW, kept)
    assert [name for name, _ in decided.starts] == ["next"]
    assert {name: told.start for name, told in decided.outlook.items()} == {"head": NOW + 1000, "short": NOW + 1200}


def test_a_preemptible_lease_uses_what_is_reserved_later_and_makes_room_in_time() -> None:
    kept = [reserved(FLOOR, X + Y, NOW + 500, NOW + 900)]
    idle = Waiting("idle", 8, Span.DOMAIN, 9999, notice=NOTICE)
    [(_, found)] = plan(FLOOR, [], [idle], NOW, kept).starts
    assert plan(FLOOR, [], [idle], NOW + 500 - NOTICE, kept).starts == ()
    floor = without(FLOOR, [found])
    tenant = Tenant("idle", found, NOW)
    for at, going in ((500 - NOTICE - 1, set()), (500 - NOTICE, {"idle"}), (700, {"idle"}), (900, set())):
        assert make_room(floor, [], [tenant], [], NOW + at, NOTICE, kept).going == going
    theirs = replace(tenant, project="p")
    assert make_room(floor, [], [theirs], [], NOW + 500, NOTICE, kept).going == set()


def test_nobody_is_told_to_go_from_what_whoever_waits_may_not_have() -> None:
    kept = [reserved(FLOOR, X + Y, NOW + 500, NOW + 900)]
    found = place(8, Span.DOMAIN, FLOOR[:1])
    taken = place(8, Span.DOMAIN, FLOOR[1:])
    assert found is not None
    assert taken is not None
    floor, running = without(FLOOR, [found, taken]), [Running(taken, NOW + 5000)]
    tenant, long = Tenant("idle", found, NOW), Waiting("long", 8, Span.DOMAIN, 1000)
    assert make_room(floor, running, [tenant], [long], NOW, NOTICE, kept).going == set()
    assert make_room(floor, running, [tenant], [replace(long, seconds=380)], NOW, NOTICE, kept).going == {"idle"}


leases = st.builds(
    lambda gpus, seconds, project, idle: Waiting(
        "", gpus, Span.DOMAIN, seconds, project=project, notice=NOTICE if idle else None
    ),
    st.sampled_from([1, 2, 4, 8, 12]),
    st.integers(60, 3000),
    st.sampled_from(["", "", "p", "q"]),
    st.integers(0, 3).map(lambda number: number == 0),
)
keeps = st.lists(
    st.builds(
        lambda trays, starts, length, project: reserved(
            HALL, sorted(trays), NOW + starts, NOW + starts + length, project
        ),
        st.sets(st.sampled_from([(name, tray) for name in "xy" for tray in (1, 2, 3)]), min_size=1),
        st.integers(-500, 2000),
        st.integers(1, 2000),
        st.sampled_from(["p", "q"]),
    ),
    max_size=4,
)
HALL = (rack("x", trays=3), rack("y", trays=3))


def allowed(lease: Waiting, at: int, placement: Placement, kept: list[Kept]) -> bool:
    """The rule, second by second in words: nobody else's reservation in the time that it could have the GPUs."""
    until = at + (lease.seconds if lease.notice is None else min(lease.seconds, lease.notice + 1))
    return all(
        one.ends <= at or until <= one.starts or (lease.project == one.project and one.starts <= at)
        for one in kept
        if on(one.placement) & on(placement)
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(leases, max_size=8), keeps)
def test_nothing_is_ever_placed_where_it_could_still_run_when_a_reservation_begins(
    queued: list[Waiting], kept: list[Kept]
) -> None:
    waiting = [replace(lease, id=str(number)) for number, lease in enumerate(queued)]
    decided = plan(HALL, [], waiting, NOW, kept)
    by_id = {lease.id: lease for lease in waiting}
    taken = [(share.domain, share.tray, gpu) for _, found in decided.starts for share in found for gpu in share.gpus]
    assert len(taken) == len(set(taken))
    for name, found in decided.starts:
        assert allowed(by_id[name], NOW, found, kept)
    assert {name for name, _ in decided.starts} | set(decided.outlook) == set(by_id)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 4, 8]), st.integers(60, 3000)), max_size=5), leases, keeps)
def test_the_forecast_of_the_first_is_the_first_second_in_which_it_may_start(
    used: list[tuple[int, int]], asked: Waiting, kept: list[Kept]
) -> None:
    floor: tuple[Domain, ...] = HALL
    running = []
    for gpus, left in used:
        found = place(gpus, Span.DOMAIN, floor)
        if found is not None:
            floor = without(floor, [found])
            running.append(Running(found, NOW + left))
    told = expected_start(floor, running, [], asked, NOW, {}, {}, kept)
    moments = {NOW, *(one.until for one in running), *(at for one in kept for at in (one.starts, one.ends) if at > NOW)}
    # Every second would be right; in between two of these nothing comes free.
    tried = sorted(moments | {moment + 1 for moment in moments} | {moment - 1 for moment in moments if moment > NOW})

    def may(at: int) -> bool:
        back = given_back(floor, [one.placement for one in running if one.until <= at])
        spaces = [tray for domain in back for tray in domain.trays]
        where = [(domain.name, tray.index) for domain in back for tray in domain.trays]
        clear = [
            replace(tray, free=frozenset() if not _open(spot, at) else tray.free)
            for spot, tray in zip(where, spaces, strict=True)
        ]
        halves = (Domain("x", tuple(clear[:3])), Domain("y", tuple(clear[3:])))
        return place(asked.gpus, asked.span, halves) is not None

    def _open(spot: Place, at: int) -> bool:
        [share] = [share for share in _whole() if (share.domain, share.tray) == spot]
        return allowed(asked, at, (share,), kept)

    assert told == next((at for at in tried if may(at)), None)


def _whole() -> Placement:
    found = [place(12, Span.DOMAIN, [domain]) for domain in HALL]
    return tuple(share for one in found for share in one or ())


@settings(max_examples=150, deadline=None)
@given(st.lists(leases.map(lambda lease: replace(lease, notice=None, project="")), min_size=1, max_size=6), keeps)
def test_the_queue_starts_no_later_than_foretold(queued: list[Waiting], kept: list[Kept]) -> None:
    """Everybody uses all their time and nobody else asks: the first that waits starts when it was told."""
    waiting = [replace(lease, id=str(number)) for number, lease in enumerate(queued)]
    floor, running, now = HALL, [], NOW
    foretold: dict[str, int] = {}
    while waiting:
        decided = plan(floor, running, waiting, now, kept)
        for name, found in decided.starts:
            lease = next(one for one in waiting if one.id == name)
            floor = without(floor, [found])
            running.append(Running(found, now + lease.seconds))
            assert now <= foretold.get(name, now)
        waiting = [lease for lease in waiting if lease.id in decided.outlook]
        head = waiting[0] if waiting else None
        if head is not None:
            told = decided.outlook[head.id].start
            assert told is not None
            assert told <= foretold.get(head.id, told)
            foretold[head.id] = told
        moments = [one.until for one in running] + [at for one in kept for at in (one.starts, one.ends)]
        now = min((at for at in moments if at > now), default=now)
        over = [one for one in running if one.until <= now]
        floor = given_back(floor, [one.placement for one in over])
        running = [one for one in running if one.until > now]


@pytest.mark.parametrize(("project", "most"), [("", 8_000_000), ("p", 20_000_000)])
def test_a_whole_machine_with_reservations_is_planned_with_little_work(project: str, most: int) -> None:
    floor = tuple(rack(f"nvl{number:03}") for number in range(139))
    kept = [
        reserved(floor, [(f"nvl{number * 4 + part:03}", tray) for part in range(2) for tray in range(1, 19)], NOW + HOUR * number, NOW + HOUR * (number + 9))
        for number in range(20)
    ]  # fmt: skip
    busy: list[Running] = []
    left = floor
    for number in range(1500):
        found = place(4, Span.DOMAIN, left)
        assert found is not None
        left = without(left, [found])
        busy.append(Running(found, NOW + 60 + number * 10))
    waiting = [
        Waiting(str(number), (1, 4, 72)[number % 3], Span.DOMAIN, 4 * HOUR, project=project) for number in range(2000)
    ]
    calls, decided = effort(lambda: plan(left, busy, waiting, NOW, kept))
    assert calls < most
    assert len(decided.starts) + len(decided.outlook) == 2000
