"""Comparing what was charged with what was seen, against a naive double loop; and what follows by rule."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.reconciliation import (
    Action,
    Charged,
    Difference,
    DifferenceKind,
    Record,
    compare,
    correction,
    rule,
)

NOW = 1000
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
leases = st.lists(
    st.builds(
        Charged, lease_id=IDS, gpus=st.integers(1, 4), settled=st.booleans(),
        gpu_seconds=st.none() | st.integers(0, 3000), unpaid=st.just(0) | st.integers(0, 300),
    ),
    unique_by=lambda lease: lease.lease_id,
)  # fmt: skip
records = st.lists(
    st.builds(
        Record, lease_id=IDS, gpus=st.integers(1, 4), started_at=st.integers(0, 1100),
        ended_at=st.none() | st.integers(0, 1100),
    ),
    max_size=12,
)  # fmt: skip


def naive(charged: Sequence[Charged], seen: Sequence[Record], tolerance: int) -> set[Difference]:
    found = set()
    for lease in charged:
        runs = [record for record in seen if record.lease_id == lease.lease_id]
        used = sum(r.gpus * max(0, (NOW if r.ended_at is None else r.ended_at) - r.started_at) for r in runs)
        kind = DifferenceKind.MATCHED
        if any(record.ended_at is None for record in runs):
            if not lease.settled:
                continue
            kind = DifferenceKind.STILL_RUNNING
        elif lease.gpu_seconds is None:
            continue
        elif not runs and lease.gpu_seconds > 0:
            kind = DifferenceKind.MISSING_RECORD
        elif (
            runs and not -tolerance * lease.gpus <= used - lease.gpu_seconds <= (tolerance + lease.unpaid) * lease.gpus
        ):
            kind = DifferenceKind.AMOUNT
        found.add(Difference(kind, lease.lease_id, lease.gpu_seconds, used if runs else None))
    for lease_id in {record.lease_id for record in seen} - {lease.lease_id for lease in charged}:
        runs = [record for record in seen if record.lease_id == lease_id]
        used = sum(r.gpus * max(0, (NOW if r.ended_at is None else r.ended_at) - r.started_at) for r in runs)
        found.add(Difference(DifferenceKind.MISSING_LEASE, lease_id, None, used))
    return found


@given(leases, records, st.integers(0, 300))
def test_the_comparison_is_that_of_a_naive_double_loop(
    charged: list[Charged], seen: list[Record], tolerance: int
) -> None:
    found = list(compare(charged, seen, tolerance, NOW))
    assert set(found) == naive(charged, seen, tolerance)
    assert len(found) == len({difference.lease_id for difference in found})


@given(leases, records, st.integers(0, 300))
def test_a_lease_that_is_told_twice_is_judged_once(charged: list[Charged], seen: list[Record], tolerance: int) -> None:
    again = [Charged(lease.lease_id, lease.gpus, settled=False, gpu_seconds=None) for lease in charged]
    assert list(compare([*charged, *again], seen, tolerance, NOW)) == list(compare(charged, seen, tolerance, NOW))


@given(leases, records, st.integers(0, 300), st.integers(1, 5000))
def test_the_rule_gives_back_what_was_charged_beyond_what_was_seen_and_never_charges(
    charged: list[Charged], seen: list[Record], tolerance: int, factor: int
) -> None:
    for difference in compare(charged, seen, tolerance, NOW):
        closing = rule(difference)
        beyond = difference.kind is DifferenceKind.AMOUNT and (difference.ledger or 0) > (difference.engine or 0)
        assert (closing is not None) == beyond
        if closing is not None:
            assert closing.action is Action.CORRECT
            paid = (difference.ledger or 0) * factor
            amount = correction(paid, difference.engine, factor)
            assert -paid <= amount < 0
            assert paid + amount == (difference.engine or 0) * factor


def test_a_lease_that_never_started_and_has_no_record_matches() -> None:
    [found] = compare([Charged("a", 4, settled=True, gpu_seconds=0)], [], 0, NOW)
    assert found.kind is DifferenceKind.MATCHED


def test_what_the_engine_does_not_know_is_all_given_back_by_a_correction() -> None:
    assert correction(5_000_500, None, 1500) == -5_000_500
