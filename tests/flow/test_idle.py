"""A lease is idle only when neither its kernel nor a GPU has done anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.metering import idle_for, warning
from nvlhub.wire import State
from tests.flow.strategies import lease

running = lease(state=State.RUNNING, started_at=1000, beat_at=5000, idle_seconds=0, idle=3600, seconds=10**6)


def test_a_gpu_at_work_is_not_idle_whatever_the_kernel_says() -> None:
    assert idle_for(running, 5005, 9999, gpu_busy=True) == 0


def test_after_a_gpu_has_worked_idleness_begins_anew() -> None:
    assert idle_for(running, 5005, 4000, gpu_busy=False) == 5
    later = lease(state=State.RUNNING, started_at=1000, beat_at=5005, idle_seconds=5)
    assert idle_for(later, 5010, 4005, gpu_busy=False) == 10


@given(
    said=st.integers(0, 10**6), before=st.integers(0, 10**6), passed=st.integers(-100, 10**5), gpu_busy=st.booleans()
)
def test_idleness_is_never_more_than_the_kernel_says_or_than_time_has_passed(
    said: int, before: int, passed: int, *, gpu_busy: bool
) -> None:
    known = lease(state=State.RUNNING, started_at=1000, beat_at=5000, idle_seconds=before)
    found = idle_for(known, 5000 + passed, said, gpu_busy=gpu_busy)
    assert 0 <= found <= said
    assert found <= before + max(0, passed)


def test_of_two_ends_the_nearer_is_told() -> None:
    near = lease(state=State.RUNNING, started_at=0, seconds=10_000, beat_at=9200, idle=3600, idle_seconds=3500)
    told = warning(near, 9200)
    assert told is not None
    assert (told.slug, told.seconds) == ("idle-near", 100)
