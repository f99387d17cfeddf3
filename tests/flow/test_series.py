"""Series stay bounded and lose no time; quarters of an hour sum to the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.flow.activity import QUARTER, charge_so_far, idle_part, quarters, seconds_held, share
from nvlhub.flow.series import MOST, STEPS, Point, Series, thinned
from nvlhub.wire import EndReason, State
from tests.flow.strategies import lease

FINEST, COARSEST = STEPS[0], STEPS[-1]
samples = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(-5, 105), st.integers(0, 2**33)), min_size=1, max_size=300
)  # fmt: skip


def filled(gaps: list[tuple[int, int, int]], start: int = 1_800_000_000) -> Series:
    series, at = Series(), start
    for gap, busy, memory in gaps:
        at += gap
        series.add(at, busy, memory)
    return series


@given(samples)
def test_points_are_in_order_cover_no_moment_twice_and_end_with_the_newest(gaps: list[tuple[int, int, int]]) -> None:
    series = filled(gaps)
    points = series.points()
    assert all(old.at + old.seconds <= new.at for old, new in pairwise(points))
    newest = 1_800_000_000 + sum(gap for gap, _, _ in gaps)
    assert points[-1].at == newest - newest % points[-1].seconds
    assert all(0 <= point.busy <= 100 and 0 <= point.memory < 2**32 for point in points)
    assert len(series) <= MOST


@given(samples)
def test_a_series_comes_back_from_json_as_it_was(gaps: list[tuple[int, int, int]]) -> None:
    series = filled(gaps)
    back = Series.of(json.loads(json.dumps(series.told())))
    assert (back.points(), back.told()) == (series.points(), series.told())


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 30), st.integers(10, 45))
def test_however_long_a_lease_runs_its_series_is_bounded(every: int, days: int) -> None:
    series = Series()
    for at in range(0, days * 86_400, every * 60):
        series.add(1_800_000_000 + at, 50, 1)
    assert len(series) <= MOST
    assert len(json.dumps(series.told())) < 40 * MOST
    seconds = sum(point.seconds for point in series.points())
    assert seconds <= days * 86_400 + COARSEST[0]


def test_the_last_hour_is_fine_the_day_before_it_coarser() -> None:
    series = Series()
    for at in range(0, 48 * 3600, 10):
        series.add(at, 40, 7)
    steps = [point.seconds for point in series.points()]
    assert steps.count(10) == FINEST[1]
    assert 1370 <= steps.count(60) <= 1440
    assert steps == sorted(steps, reverse=True)
    assert {point.busy for point in series.points()} == {40}


def test_a_step_tells_the_mean_of_the_work_and_the_most_of_the_memory() -> None:
    series = Series()
    for busy, memory in ((0, 5), (100, 9), (50, 7)):
        series.add(1000, busy, memory)
    assert series.points() == [Point(1000, 10, 50, 9)]


def test_time_does_not_go_back() -> None:
    series = Series()
    series.add(2000, 10, 1)
    series.add(1000, 30, 1)
    assert series.points() == [Point(2000, 10, 20, 1)]


def test_what_was_saved_goes_on_with_what_came_later() -> None:
    whole, old, new = Series(), Series(), Series()
    for at in range(0, 7200, 10):
        whole.add(at, at % 100, at)
        (old if at < 3600 else new).add(at, at % 100, at)
    back = Series.of(old.told())
    back.follow(new)
    assert back.points() == whole.points()


@given(samples, st.integers(1, 700))
def test_thinning_keeps_the_most_memory_and_the_number_asked_for(gaps: list[tuple[int, int, int]], most: int) -> None:
    points = filled(gaps).points()
    thin = thinned(points, most)
    assert len(thin) <= most
    assert max(point.memory for point in thin) == max(point.memory for point in points)
    assert sum(point.seconds for point in thin) == sum(point.seconds for point in points)


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_quarters_sum_to_the_time(since: int, seconds: int) -> None:
    parts = list(quarters(since, since + seconds))
    assert sum(part for _, part in parts) == seconds
    assert all(start % QUARTER == 0 and 0 < part <= QUARTER for start, part in parts)
    assert len({start for start, _ in parts}) == len(parts)


def test_idle_is_what_neither_kernel_nor_gpu_used() -> None:
    running = lease(state=State.RUNNING, started_at=0, beat_at=1000, idle_seconds=300)
    assert idle_part(running, 900, 1000) == 100
    assert idle_part(running, 0, 1000) == 300
    assert idle_part(running, 0, 600) == 0
    assert idle_part(replace(running, idle_seconds=0), 0, 1000) == 0


def test_a_lease_costs_what_it_has_run() -> None:
    running = lease(state=State.RUNNING, started_at=100, seconds=3600)
    assert charge_so_far(running, 160) == 2 * 60 * 1000
    assert charge_so_far(running, 10**6) == 2 * 3600 * 1000
    assert charge_so_far(replace(running, preemptible=True, held=0), 160) == 0
    assert charge_so_far(replace(running, started_at=None), 160) == 0
    assert charge_so_far(replace(running, run=7, held=0), 160) == 0
    over = replace(
        running, state=State.SETTLED, ended_at=150, end_reason=EndReason.ENGINE, ran=50, charged=9, refunded=9
    )
    assert (charge_so_far(over, 10**6), seconds_held(over, 10**6), seconds_held(running, 160)) == (0, 50, 60)


def test_a_share_of_nothing_is_not_known() -> None:
    assert (share(1, 3), share(0, 0)) == (0.3333, None)
