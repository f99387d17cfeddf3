"""Seconds, charges and ends that are due."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.metering import ENDING, UNHEARD, charge, due, engine_times, seconds_run, warning
from nvlhub.flow.settlement import award_postings, extend_postings, hold_postings, settle_postings
from nvlhub.wire import EndReason, State
from tests.flow.strategies import lease

GRACE = 15


def test_a_lease_pays_for_the_seconds_it_ran() -> None:
    assert charge(lease(started_at=100, ended_at=142, end_reason=EndReason.USER), GRACE) == 2 * 42 * 1000


@pytest.mark.parametrize("ended_at", [100, 50, None])
def test_what_never_ran_costs_nothing(ended_at: int | None) -> None:
    assert charge(lease(started_at=None, ended_at=ended_at), GRACE) == 0
    assert charge(lease(started_at=100, ended_at=ended_at, end_reason=EndReason.USER), GRACE) == 0


def test_the_engines_own_clock_says_when_it_ran() -> None:
    over = lease(started_at=100, ended_at=142, end_reason=EndReason.USER)
    assert engine_times(over, 90, 43) == (100, 143)
    assert engine_times(over, 90, 10_000) == (100, 142 + ENDING)
    assert engine_times(over, None, None) is None
    unseen = lease(started_at=None, ended_at=142)
    assert engine_times(unseen, 140, 3) == (140, 143)
    assert engine_times(unseen, None, 0) is None


def test_silence_is_paid_for_the_grace_at_most() -> None:
    assert seconds_run(lease(started_at=100, beat_at=120, ended_at=10_000, end_reason=EndReason.LOST), GRACE) == 35


def test_a_longer_grace_keeps_a_lease_and_costs_little_more() -> None:
    silent = lease(state=State.RUNNING, started_at=100, beat_at=120)
    assert due(silent, 120 + 180, 180, 0) is None
    assert due(silent, 120 + 181, 180, 0) is EndReason.LOST
    lost = lease(started_at=100, beat_at=400, ended_at=400 + 181, end_reason=EndReason.LOST)
    assert seconds_run(lost, 180) == 300 + UNHEARD
    assert seconds_run(lost, 5) == 305


@pytest.mark.parametrize("heard", [None, 100, 101, 160])
def test_what_is_used_in_silence_costs_half_at_least(heard: int | None) -> None:
    ended = (heard or 100) + 181
    lost = lease(started_at=100, beat_at=heard, ended_at=ended, end_reason=EndReason.LOST)
    assert seconds_run(lost, 180) == (ended - 1 - 100) // 2


def test_nothing_is_charged_beyond_the_deadline() -> None:
    assert seconds_run(lease(started_at=100, ended_at=10**9, end_reason=EndReason.DEADLINE), GRACE) == 3600


def test_a_lease_is_due_at_its_deadline_in_silence_and_when_idle() -> None:
    running = lease(state=State.RUNNING, started_at=100, beat_at=200, idle=600)
    assert due(running, 201, GRACE, 0) is None
    assert due(running, 216, GRACE, 0) is EndReason.LOST
    assert due(running, 3700, GRACE, 0) is EndReason.DEADLINE
    assert (
        due(lease(state=State.RUNNING, started_at=100, beat_at=200, idle=600, idle_seconds=600), 201, GRACE, 0)
        is EndReason.IDLE
    )


def test_the_portals_own_downtime_is_nobodys_silence() -> None:
    running = lease(state=State.RUNNING, started_at=100, beat_at=200)
    assert due(running, 1000, GRACE, 990) is None


@pytest.mark.parametrize(
    ("now", "slug"), [(100, None), (100 + 3600 - 900, "deadline-near"), (100 + 3600 - 10, "deadline-near")]
)
def test_the_deadline_is_announced(now: int, slug: str | None) -> None:
    told = warning(lease(state=State.RUNNING, started_at=100, beat_at=100), now)
    assert (told.slug if told else None) == slug


def test_idleness_is_announced() -> None:
    told = warning(lease(state=State.RUNNING, started_at=100, idle=3600, idle_seconds=3400, seconds=10**6), 200)
    assert told is not None
    assert (told.slug, told.seconds) == ("idle-near", 200)


def test_a_preemptible_lease_is_told_and_ends_when_it_must_have_made_room() -> None:
    running = lease(state=State.RUNNING, started_at=100, beat_at=200, preemptible=True, preempt_at=320, held=0)
    told = warning(running, 200)
    assert told is not None
    assert (told.slug, told.seconds) == ("preempt-near", 120)
    assert due(running, 210, GRACE, 0) is None
    assert due(replace(running, beat_at=320), 320, GRACE, 0) is EndReason.PREEMPTED
    for state in (State.PLACED, State.STARTING):
        assert due(replace(running, state=state, started_at=None), 320, GRACE, 320) is EndReason.PREEMPTED
    ended = replace(running, ended_at=320, end_reason=EndReason.PREEMPTED)
    assert (charge(ended, GRACE), settle_postings(ended, GRACE)) == (0, ())
    assert warning(replace(running, preempt_at=None), 200) is None


def test_a_deadline_before_the_room_is_needed_is_told_first() -> None:
    near = lease(state=State.RUNNING, started_at=100, preemptible=True, preempt_at=3800)
    told = warning(near, 3650)
    assert told is not None
    assert (told.slug, told.seconds) == ("deadline-near", 50)


@given(
    st.integers(1, 72), st.integers(60, 10**6), st.integers(1, 5000), st.one_of(st.none(), st.integers(0, 10**7)),
    st.integers(-100, 10**7), st.sampled_from(list(EndReason)),
)  # fmt: skip
def test_every_settlement_sums_to_zero_and_stays_within_the_hold(
    gpus: int, seconds: int, factor: int, started: int | None, ended: int, reason: EndReason
) -> None:
    held = gpus * seconds * factor
    settled = lease(
        gpus=gpus,
        seconds=seconds,
        factor_milli=factor,
        started_at=started,
        ended_at=ended,
        end_reason=reason,
        held=held,
    )
    assert 0 <= charge(settled, GRACE) <= held
    balance: dict[str, int] = {}
    for transaction in (hold_postings(settled), *settle_postings(settled, GRACE)):
        assert sum(posting.amount for posting in transaction.postings) == 0
        for posting in transaction.postings:
            balance[posting.account] = balance.get(posting.account, 0) + posting.amount
    assert balance["held:7"] == 0
    paid = 0 if reason is EndReason.ENGINE else charge(settled, GRACE)
    assert balance["award:7"] == -paid


def test_a_machine_failure_is_refunded_by_an_entry_that_names_the_charge() -> None:
    failed = lease(started_at=100, ended_at=200, end_reason=EndReason.ENGINE)
    settle, refund = settle_postings(failed, GRACE)
    assert refund.corrects == settle.key


def test_keys_are_unique_per_event() -> None:
    keys = [
        award_postings(7, "g", "main", 5).key,
        hold_postings(lease()).key,
        extend_postings(lease(seconds=7200), 5).key,
    ]
    assert len(set(keys)) == 3
