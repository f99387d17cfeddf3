"""Who waits, where, and how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.flow.placement import Domain, place, without
from nvlhub.flow.queue import Rule, Running, Waiting, expected_start, order, plan
from nvlhub.wire import Span
from tests.effort import effort
from tests.flow.strategies import SIZES, floors
from tests.flow.test_placement import rack

NOW = 1000


def test_what_fits_starts_in_order() -> None:
    waiting = [Waiting("a", 4, Span.DOMAIN, 100), Waiting("b", 4, Span.DOMAIN, 100)]
    decided = plan([rack("x", trays=2)], [], waiting, NOW)
    assert [lease for lease, _ in decided.starts] == ["a", "b"]
    assert decided.outlook == {}


def test_the_wait_ends_when_the_first_deadline_frees_enough() -> None:
    floor = [rack("x", 0, trays=1)]
    busy = [Running(place(4, Span.DOMAIN, [rack("x", trays=1)]) or (), 1500)]
    decided = plan(floor, busy, [Waiting("a", 1, Span.DOMAIN, 100)], NOW)
    assert not decided.starts
    assert (decided.outlook["a"].position, decided.outlook["a"].start) == (1, 1500)


def test_a_small_one_may_pass_if_it_delays_nobody() -> None:
    held = place(4, Span.DOMAIN, [rack("x", trays=2)])
    assert held is not None
    floor = without([rack("x", trays=2)], [held])
    waiting = [
        Waiting("big", 8, Span.DOMAIN, 100),
        Waiting("short", 1, Span.DOMAIN, 400),
        Waiting("long", 1, Span.DOMAIN, 600),
    ]
    decided = plan(floor, [Running(held, 1500)], waiting, NOW)
    assert [lease for lease, _ in decided.starts] == ["short"]
    assert decided.outlook["big"].start == 1500


def test_what_can_never_start_has_no_expected_start() -> None:
    assert expected_start([rack("x", trays=1)], [], [], Waiting("a", 8, Span.DOMAIN, 60), NOW, {}, {}) is None


@settings(max_examples=60, deadline=None)
@given(floors(), st.lists(st.tuples(st.sampled_from(SIZES), st.integers(60, 5000)), max_size=8))
def test_starts_never_share_a_gpu_and_the_first_is_never_passed_by_harm(
    floor: tuple[Domain, ...], asked: list[tuple[int, int]]
) -> None:
    waiting = [Waiting(str(number), gpus, Span.DOMAIN, seconds) for number, (gpus, seconds) in enumerate(asked)]
    decided = plan(floor, [], waiting, NOW)
    taken = [(share.domain, share.tray, gpu) for _, placed in decided.starts for share in placed for gpu in share.gpus]
    assert len(taken) == len(set(taken))
    assert {lease for lease, _ in decided.starts} | set(decided.outlook) == {lease.id for lease in waiting}
    positions = [outlook.position for outlook in decided.outlook.values()]
    assert positions == sorted(positions) == list(range(1, len(positions) + 1))


# --- whose turn it is -------------------------------------------------------------------------------------------------

PROGRAMMES = ("ai", "bio", "chips")
rules_of = st.fixed_dictionaries(
    {name: st.builds(Rule, st.integers(-2, 2), st.integers(1, 100)) for name in PROGRAMMES}
)
held_by = st.dictionaries(st.sampled_from(PROGRAMMES), st.integers(0, 200))
asked = st.lists(
    st.builds(
        lambda gpus, programme, at, notice: Waiting("", gpus, Span.DOMAIN, 60, "", False, programme, at, notice),
        st.sampled_from(SIZES),
        st.sampled_from(PROGRAMMES),
        st.integers(0, 5),
        st.sampled_from([None, None, 120]),
    ),
    max_size=20,
).map(lambda leases: [replace(lease, id=str(number)) for number, lease in enumerate(leases)])


def by_hand(waiting: list[Waiting], rules: dict[str, Rule], held: dict[str, int]) -> list[Waiting]:
    """The rule of turns, word by word."""
    has, left, ordered = Counter(held), list(waiting), []
    while left:
        rank = min((lease.preemptible, -rules[lease.programme].priority) for lease in left)
        candidates = [lease for lease in left if (lease.preemptible, -rules[lease.programme].priority) == rank]
        first = {}
        for lease in sorted(candidates, key=lambda lease: (lease.asked_at, int(lease.id))):
            first.setdefault(lease.programme, lease)
        turn = min(
            first.values(),
            key=lambda lease: (
                Fraction(has[lease.programme], rules[lease.programme].share), lease.asked_at, lease.programme,
            ),
        )  # fmt: skip
        left.remove(turn)
        ordered.append(turn)
        has[turn.programme] += turn.gpus
    return ordered


@given(asked, rules_of, held_by)
def test_turns_are_taken_by_priority_then_by_share_then_by_time(
    waiting: list[Waiting], rules: dict[str, Rule], held: dict[str, int]
) -> None:
    assert order(waiting, rules, held) == by_hand(waiting, rules, held)


@given(asked, rules_of, held_by, st.randoms(use_true_random=False))
def test_the_order_depends_on_nothing_but_what_it_is_told(
    waiting: list[Waiting], rules: dict[str, Rule], held: dict[str, int], chance: object
) -> None:
    waiting = [replace(lease, asked_at=number) for number, lease in enumerate(waiting)]
    shuffled = list(waiting)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    told = dict(reversed(rules.items()))
    assert order(shuffled, told, held) == order(waiting, rules, held)


@given(asked, rules_of, held_by)
def test_a_start_of_the_first_leaves_the_others_in_their_order(
    waiting: list[Waiting], rules: dict[str, Rule], held: dict[str, int]
) -> None:
    turns = order(waiting, rules, held)
    if turns and not turns[0].preemptible:
        first = turns[0]
        after = {**held, first.programme: held.get(first.programme, 0) + first.gpus}
        assert order([lease for lease in waiting if lease is not first], rules, after) == turns[1:]


@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.lists(st.sampled_from(SIZES), min_size=1, max_size=5))
def test_the_front_of_the_queue_has_gpus_by_share(shares: list[int], sizes: list[int]) -> None:
    rules = {str(number): Rule(0, share) for number, share in enumerate(shares)}
    waiting = [
        Waiting(f"{programme}-{number}", sizes[number % len(sizes)], Span.DOMAIN, 60, programme=programme)
        for number in range(200)
        for programme in rules
    ]
    has: Counter[str] = Counter()
    for lease in order(waiting, rules, {})[:200]:
        has[lease.programme] += lease.gpus
        ratios = [Fraction(has[programme], rule.share) for programme, rule in rules.items()]
        # Nobody is further ahead than by the one lease that was last put in the queue.
        assert max(ratios) - min(ratios) <= Fraction(max(sizes), min(shares))


def test_a_programme_without_rules_has_the_usual_ones() -> None:
    waiting = [Waiting("a", 1, Span.DOMAIN, 60, programme="new"), Waiting("b", 1, Span.DOMAIN, 60, programme="old")]
    assert [lease.id for lease in order(waiting, {"old": Rule(1, 1)}, {})] == ["b", "a"]
    assert [lease.id for lease in order(waiting, {"old": Rule(0, 100)}, {"new": 1})] == ["b", "a"]


def test_thousands_are_ordered_and_planned_with_little_work() -> None:
    rules = {f"p{number}": Rule(number % 3, 1 + number) for number in range(40)}
    waiting = [
        Waiting(str(number), SIZES[number % 8], Span.DOMAIN, 60 + number, programme=f"p{number % 40}", asked_at=number)
        for number in range(10_000)
    ]
    floor = [rack(f"x{number}") for number in range(10)]
    held = place(64, Span.DOMAIN, floor)
    assert held is not None
    calls, decided = effort(lambda: plan(without(floor, [held]), [Running(held, 5000)], order(waiting, rules, {}), NOW))
    assert calls < 1_200_000
    assert len(decided.starts) + len(decided.outlook) == 10_000


# --- the head is never delayed ----------------------------------------------------------------------------------------

seconds = st.integers(60, 5000)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(SIZES[:6]), seconds, st.booleans()), max_size=8),
    st.lists(st.tuples(st.sampled_from(SIZES[:6]), seconds, st.booleans()), min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_nobody_behind_the_head_delays_it(
    used: list[tuple[int, int, bool]], queued: list[tuple[int, int, bool]], trays: int
) -> None:
    floor: tuple[Domain, ...] = (rack("x", trays=trays), rack("y", trays=trays))
    running = []
    for gpus, left, yields in used:
        held = place(gpus, Span.DOMAIN, floor)
        if held is not None:
            floor = without(floor, [held])
            running.append(Running(held, NOW + left, NOW + 120 if yields else None))
    leases = [
        Waiting(str(number), gpus, Span.DOMAIN, asked_for, notice=120 if yields else None)
        for number, (gpus, asked_for, yields) in enumerate(queued)
    ]
    turns = order(leases, {}, {})
    decided = plan(floor, running, turns, NOW)
    head = next((lease for lease in turns if lease.id in decided.outlook), None)
    if head is not None:
        before = turns[: turns.index(head)]
        alone = plan(floor, running, [*before, head], NOW)
        assert decided.outlook[head.id] == alone.outlook[head.id]


def test_a_preemptible_lease_fills_the_gap_before_a_head_that_waits_for_long() -> None:
    held = place(4, Span.DOMAIN, [rack("x", trays=2)])
    assert held is not None
    floor = without([rack("x", trays=2)], [held])
    waiting = [Waiting("head", 8, Span.DOMAIN, 100), Waiting("idle", 4, Span.DOMAIN, 9999, notice=120)]
    assert [lease for lease, _ in plan(floor, [Running(held, NOW + 500)], waiting, NOW).starts] == ["idle"]
    # Who would have to be told to go as soon as it runs is not started.
    assert plan(floor, [Running(held, NOW + 120)], waiting, NOW).starts == ()


def test_gpus_that_are_being_freed_for_the_head_are_not_taken_by_a_later_start() -> None:
    freed = place(4, Span.DOMAIN, [rack("x", trays=2)])
    assert freed is not None
    floor = without([rack("x", trays=2)], [freed])
    yielding = Running(freed, NOW + 9999, NOW + 60)
    head, later = Waiting("head", 8, Span.DOMAIN, 100), Waiting("later", 1, Span.DOMAIN, 61)
    decided = plan(floor, [yielding], [head, later, replace(later, id="idle", notice=120)], NOW)
    assert decided.starts == ()
    assert decided.outlook["head"].start == NOW + 60
    # What would be over before the head can start may go.
    assert [lease for lease, _ in plan(floor, [yielding], [head, replace(later, seconds=60)], NOW).starts] == ["later"]


def test_gpus_on_which_others_make_room_are_as_good_as_taken() -> None:
    free = place(4, Span.DOMAIN, [rack("x", trays=2)])
    assert free is not None
    floor = without([rack("x", trays=2)], [free])
    room = place(4, Span.DOMAIN, floor)
    assert room is not None
    yielding = Running(free, NOW + 9999, NOW + 60)
    promised = Waiting("promised", 8, Span.DOMAIN, 100, room=(*free, *room))
    first, idle = Waiting("first", 1, Span.DOMAIN, 60), Waiting("idle", 1, Span.DOMAIN, 60, notice=120)
    assert plan(floor, [yielding], [first, promised, idle], NOW).starts == ()
    decided = plan([rack("x", trays=2)], [], [replace(first, gpus=16), first, promised, idle], NOW)
    assert decided.starts == (("promised", promised.room),)


def test_a_preemptible_lease_cannot_count_on_the_end_of_another() -> None:
    held = place(4, Span.DOMAIN, [rack("x", trays=1)])
    assert held is not None
    running = [Running(held, NOW + 5000, NOW + 120)]
    normal = Waiting("a", 4, Span.DOMAIN, 60)
    assert expected_start([rack("x", 0, trays=1)], running, [], normal, NOW, {}, {}) == NOW + 120
    assert expected_start([rack("x", 0, trays=1)], running, [], replace(normal, notice=120), NOW, {}, {}) == NOW + 5000
