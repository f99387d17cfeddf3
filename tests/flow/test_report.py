"""Reports of use: sums that agree with each other and with a count by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.report import By, LeaseFact, Period, Tally, split_by, split_by_pool, summarise, utilisation
from nvlhub.flow.statement import Balance, Movement, balanced
from nvlhub.wire import EndReason

END = 400
NOW = 300


@st.composite
def facts(draw: st.DrawFn) -> LeaseFact:
    """A lease at any point of its life, before, in and after the period."""
    gpus = draw(st.integers(1, 8))
    asked = draw(st.integers(0, NOW))
    started = draw(st.none() | st.integers(asked, NOW))
    ended = draw(
        st.integers(asked if started is None else started, NOW) | (st.just(NOW) if started is None else st.none())
    )
    length = 0 if started is None or ended is None else ended - started
    cut = draw(st.integers(0, gpus))
    return LeaseFact(
        user=draw(st.sampled_from("abc")), project=draw(st.sampled_from("pq")), programme=draw(st.sampled_from("gh")),
        institution=draw(st.sampled_from(["", "i"])), pool=draw(st.sampled_from(["main", "old"])), gpus=gpus,
        asked_at=asked, started_at=started, ended_at=ended,
        ran=None if ended is None else draw(st.none() | st.integers(0, length)),
        charged=0 if ended is None else draw(st.integers(0, 10**6)),
        end_reason=None if ended is None else draw(st.sampled_from(EndReason)), preemptible=draw(st.booleans()),
        domains=draw(st.sampled_from([{}, {"d1": gpus}, {"d1": cut, "d2": gpus - cut}, {"d2": cut}])),
    )  # fmt: skip


many = st.lists(facts(), max_size=12)
periods = (
    st.tuples(st.integers(0, END), st.integers(0, END))
    .filter(lambda two: two[0] < two[1])
    .map(lambda two: Period(*two))
)
SUMS: dict[str, Callable[[Tally], int]] = {
    "gpu_seconds": lambda tally: tally.gpu_seconds,
    "preemptible": lambda tally: tally.preemptible_gpu_seconds,
    "weighted": lambda tally: tally._sized,
    "charged": lambda tally: tally.charged,
}
EVENTS: dict[str, Callable[[Tally], int]] = {
    "wait": lambda tally: tally.wait_seconds,
    "started": lambda tally: tally.started,
    "ended": lambda tally: tally.ended,
    "failed": lambda tally: tally.failed,
}


def marks(period: Period, length: int = 50) -> list[int]:
    return list(range(period.since - period.since % length, period.until, length))


def counted(leases: list[LeaseFact], period: Period, by: By) -> dict[str, Tally]:
    return summarise(leases, NOW, {"x": split_by(by, period, marks(period))})["x"]


def total(leases: list[LeaseFact], period: Period) -> Tally:
    return counted(leases, period, By.TOTAL).get("total", Tally())


def sums(tally: Tally, *wanted: dict[str, Callable[[Tally], int]]) -> dict[str, int]:
    return {name: read(tally) for names in wanted for name, read in names.items()}


def added(tallies: list[Tally], *wanted: dict[str, Callable[[Tally], int]]) -> dict[str, int]:
    return {name: sum(read(tally) for tally in tallies) for names in wanted for name, read in names.items()}


@given(many, periods, st.sampled_from(By))
def test_groups_sum_to_the_total(leases: list[LeaseFact], period: Period, by: By) -> None:
    groups = list(counted(leases, period, by).values())
    assert added(groups, SUMS) == sums(total(leases, period), SUMS)
    if by is not By.DOMAIN:
        # A lease across domains is a lease in each of them; everywhere else each event belongs to one group.
        assert added(groups, EVENTS) == sums(total(leases, period), EVENTS)


@given(many, periods, st.data())
def test_two_parts_of_a_period_sum_to_the_whole(leases: list[LeaseFact], period: Period, data: st.DataObject) -> None:
    cut = data.draw(st.integers(period.since, period.until))
    parts = [total(leases, Period(period.since, cut)), total(leases, Period(cut, period.until))]
    assert added(parts, SUMS, EVENTS) == sums(total(leases, period), SUMS, EVENTS)


@given(many, periods)
def test_sums_and_means_are_those_of_a_count_second_by_second(leases: list[LeaseFact], period: Period) -> None:
    hours = []
    for lease in leases:
        ran = [
            second
            for second in range(END)
            if lease.started_at is not None
            and lease.started_at <= second < (NOW if lease.ended_at is None else lease.ended_at)
            and (lease.ran is None or second < lease.started_at + lease.ran)
        ]
        hours.append(lease.gpus * sum(period.since <= second < period.until for second in ran))
    found = total(leases, period)
    assert found.gpu_seconds == sum(hours)
    expected = (
        Fraction(sum(lease.gpus * use for lease, use in zip(leases, hours, strict=True)), sum(hours))
        if sum(hours)
        else None
    )
    assert found.weighted_size == expected
    active = {lease.user for lease, use in zip(leases, hours, strict=True) if use or period.holds(lease.started_at)}
    assert found.users == len(active)
    starts = [lease for lease in leases if period.holds(lease.started_at)]
    waited = [(lease.started_at or 0) - lease.asked_at for lease in starts]
    assert found.wait_per_lease == (Fraction(sum(waited), len(starts)) if starts else None)


def lease(**changes: object) -> LeaseFact:
    facts: dict[str, object] = {
        "user": "u", "project": "p", "programme": "g", "institution": "", "pool": "main", "gpus": 4, "asked_at": 0,
        "started_at": 100, "ended_at": 200, "ran": 100, "charged": 400, "end_reason": EndReason.USER,
    }  # fmt: skip
    return LeaseFact(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_lease_across_domains_counts_in_each_with_the_gpus_it_has_there() -> None:
    across = lease(gpus=12, charged=100, domains={"d1": 8, "d2": 4})
    groups = counted([across], Period(0, END), By.DOMAIN)
    assert {name: (tally.gpu_seconds, tally.charged) for name, tally in groups.items()} == {
        "d1": (800, 66),
        "d2": (400, 34),
    }
    assert [tally.gpus_per_lease for tally in groups.values()] == [12, 12]


def test_a_lease_over_midnight_counts_on_both_days_and_is_charged_on_the_day_it_ends() -> None:
    days = counted([lease(started_at=140, ended_at=160, ran=20)], Period(100, 200), By.DAY)
    assert {day: (tally.gpu_seconds, tally.running, tally.started, tally.charged) for day, tally in days.items()} == {
        "100": (40, 1, 1, 0),
        "150": (40, 1, 0, 400),
    }


def test_silence_before_the_end_does_not_count_as_run_time() -> None:
    assert total([lease(ran=60, end_reason=EndReason.LOST)], Period(0, END)).gpu_seconds == 240


def test_what_runs_counts_until_now_and_is_not_charged_yet() -> None:
    found = total([lease(ended_at=None, ran=None, end_reason=None, charged=0)], Period(0, END))
    assert (found.gpu_seconds, found.ended, found.charged) == (4 * (NOW - 100), 0, 0)


def test_a_lease_that_never_ran_counts_as_ended_alone() -> None:
    found = total([lease(started_at=None, ran=0, charged=0, end_reason=EndReason.ENGINE)], Period(0, END))
    assert (found.running, found.users, found.ended, found.failed_share) == (0, 0, 1, 1)
    assert found.gpu_seconds_per_lease is None


def test_groups_in_which_nothing_happened_are_left_out() -> None:
    assert counted([lease()], Period(250, END), By.PROJECT) == {}


@given(many, periods, st.lists(st.tuples(st.integers(0, END), st.integers(0, 50)), min_size=1, max_size=6))
def test_use_and_capacity_are_those_of_a_count_second_by_second(
    leases: list[LeaseFact], period: Period, said: list[tuple[int, int]]
) -> None:
    words = {"main": sorted(said, key=lambda word: word[0])}
    leases = [fact for fact in leases if fact.pool == "main"]
    first = words["main"][0][0]
    used = summarise(leases, NOW, {"x": split_by_pool(period, {"main": first})})["x"]
    whole = utilisation("installed", words, used, period)[0]
    seconds = [second for second in range(END) if max(period.since, first) <= second < period.until]
    assert whole.available == sum([gpus for at, gpus in words["main"] if at <= second][-1] for second in seconds)
    assert whole.used == total(leases, Period(max(period.since, first), max(period.until, first))).gpu_seconds


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ({}, False),
        ({"main": [(0, 8)]}, True),
        ({"main": [(0, 8)], "planned": [(0, 8)]}, True),
        ({"planned": [(0, 8)]}, False),
    ],
)
def test_a_capacity_that_nobody_gave_is_not_known(words: dict[str, list[tuple[int, int]]], known: bool) -> None:
    period = Period(0, END)
    used = summarise([lease()], NOW, {"x": split_by_pool(period, {pool: said[0][0] for pool, said in words.items()})})[
        "x"
    ]
    whole = utilisation("announced", words, used, period)[0]
    assert (whole.share is not None) is known
    if known:
        assert whole.share == Fraction(400, 8 * END * len(words))


def test_the_last_word_about_a_time_counts() -> None:
    words = {"main": [(0, 10), (100, 99), (100, 20)]}
    assert utilisation("in_service", words, {}, Period(0, 200))[0].available == 10 * 100 + 20 * 100


def test_a_statement_carries_the_balance_from_line_to_line() -> None:
    changes = [Balance(100), Balance(-60, 60), Balance(20, -60, 40)]
    lines = [Movement(1, "x", "k", "", "u", "", change) for change in changes]
    assert [after for _, after in balanced(Balance(5), lines)] == [Balance(105), Balance(45, 60), Balance(65, 0, 40)]
