"""The token bucket: never more than its pace, and the wait that it tells is the one that there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.bucket import Bucket, Pace, draw

paces = st.builds(Pace, rate=st.floats(0.01, 10_000), burst=st.integers(1, 1000))
steps = st.lists(st.floats(0, 100), max_size=200)


@given(paces, steps)
def test_no_more_pass_in_any_time_than_burst_and_rate_allow(pace: Pace, gaps: list[float]) -> None:
    bucket, now, passed = None, 0.0, []
    for gap in gaps:
        now += gap
        bucket, wait = draw(bucket, pace, now)
        if not wait:
            passed.append(now)
    for first, since in enumerate(passed):
        for last, until in enumerate(passed[first:], first):
            assert last - first + 1 <= pace.burst + (until - since) * pace.rate + 1e-3


@given(paces, steps)
def test_who_waits_as_long_as_was_said_passes_and_half_of_it_is_too_short(pace: Pace, gaps: list[float]) -> None:
    bucket, now = None, 0.0
    for gap in gaps:
        now += gap
        bucket, wait = draw(bucket, pace, now)
        assert 0 <= bucket.tokens <= pace.burst
        assert wait <= 1 / pace.rate
        if wait > 1e-6:
            assert draw(bucket, pace, now + wait)[1] == 0
            assert draw(bucket, pace, now + wait / 2)[1] > 0


@given(paces, st.floats(0, 1000))
def test_a_bucket_that_was_left_alone_long_enough_is_like_a_new_one(pace: Pace, now: float) -> None:
    left = Bucket(0.0, now)
    later = now + pace.filled_after * (1 + 1e-9)
    assert draw(left, pace, later)[0].tokens == pytest.approx(draw(None, pace, later)[0].tokens)


def test_a_burst_passes_at_once_and_then_the_rate() -> None:
    pace, bucket = Pace(2, 3), None
    waits = []
    for _ in range(5):
        bucket, wait = draw(bucket, pace, 10)
        waits.append(wait)
    assert waits == [0, 0, 0, 0.5, 0.5]
    bucket, wait = draw(bucket, pace, 10.5)
    assert (bucket.tokens, wait) == (0, 0)
