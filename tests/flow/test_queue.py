"""Who waits, where, and how long."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.flow.placement import Domain, place, without
from nvlhub.flow.queue import Running, Waiting, expected_start, plan
from nvlhub.wire import Span
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
    assert expected_start([rack("x", trays=1)], [], [], Waiting("a", 8, Span.DOMAIN, 60), NOW) is None


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
