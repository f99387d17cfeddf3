"""What is to be done for the servers of seats, by their rows and the time alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.course import Admission, RunState, Times, admission, landing, seat_state
from nvlhub.flow.warming import CLEARING, GLANCE, LAST_AGAIN, POLL, Chair, Step, again_after, plan, step

TIMES = Times(starts=10_000, ends=20_000, warm=1800, flex=1800, grace=900, no_show=1200)
CHAIR = Chair(1, 1, "amy", "Frames", RunState.APPROVED, TIMES)
HERE = replace(CHAIR, seen_at=9000)


@pytest.mark.parametrize(
    ("chair", "now", "looked", "expected"),
    [
        (CHAIR, 8199, 0, None),
        (CHAIR, 8200, 0, Step.START),
        (HERE, 5000, 0, Step.START),
        (HERE, 19_999, 0, Step.START),
        (HERE, 20_000, 0, None),
        (replace(HERE, extra=600), 20_000, 0, Step.START),
        (replace(HERE, warm_at=9000), 9000 + POLL, 9000, Step.LOOK),
        (replace(HERE, warm_at=9000), 9001, 9000, None),
        (replace(HERE, warm_at=9000, ready_at=9010), 9010 + GLANCE, 9010, Step.LOOK),
        (replace(HERE, warm_at=9000, ready_at=9010), 9020, 9010, None),
        (replace(HERE, warm_at=9000, failed="x", tries=1), 9009, 9000, None),
        (replace(HERE, warm_at=9000, failed="x", tries=1), 9010, 9000, Step.START),
        (replace(HERE, warm_at=9000, failed="x", tries=2), 9010, 9000, None),
        (replace(CHAIR, warm_at=9000, ready_at=9010), 11_200, 0, Step.FREE),
        (replace(CHAIR, warm_at=9000, ready_at=9010), 11_199, 11_190, None),
        (replace(HERE, warm_at=9000, ready_at=9010), 11_200, 11_190, None),
        (replace(CHAIR, times=replace(TIMES, no_show=0)), 19_000, 0, Step.START),
        (replace(HERE, warm_at=9000, ready_at=9010), 20_900, 0, Step.CLEAR),
        (replace(HERE, warm_at=9000, ready_at=9010, extra=600), 20_900, 20_890, None),
        (replace(HERE, warm_at=9000, state=RunState.CLOSED), 9100, 0, Step.CLEAR),
        (replace(HERE, warm_at=9000, state=RunState.CANCELLED), 9100, 9100 - CLEARING + 1, None),
        (replace(HERE, state=RunState.CLOSED), 9100, 0, None),
    ],
)
def test_a_seat_is_tended_by_its_row_and_the_time(chair: Chair, now: int, looked: int, expected: Step | None) -> None:
    assert step(chair, now, looked) is expected


def test_starts_stay_below_the_limit_and_those_who_are_there_come_first() -> None:
    chairs = [replace(CHAIR, number=number, user=f"u{number}") for number in range(1, 9)]
    chairs[6] = replace(chairs[6], seen_at=8300)
    chairs[0] = replace(chairs[0], warm_at=8300)
    steps = plan(chairs, 8300, busy={(1, 2)}, room=4, looked={(1, 1): 8300})
    assert [(found, chair.number) for found, chair in steps] == [(Step.START, 7), (Step.START, 3), (Step.START, 4)]


@given(
    st.lists(st.tuples(st.sampled_from(["new", "starting", "ready", "failed"]), st.booleans()), max_size=60),
    st.integers(0, 30), st.integers(7000, 25_000),
)  # fmt: skip
def test_never_more_than_the_limit_start_at_once(seats: list[tuple[str, bool]], room: int, now: int) -> None:
    marks = {
        "new": {}, "starting": {"warm_at": now}, "ready": {"warm_at": now, "ready_at": now},
        "failed": {"warm_at": now - 400, "failed": "x", "tries": 3},
    }  # fmt: skip
    chairs = [
        replace(CHAIR, number=number, seen_at=now if seen else None, **marks[kind])  # type: ignore[arg-type]
        for number, (kind, seen) in enumerate(seats)
    ]
    steps = plan(chairs, now, busy=set(), room=room, looked={})
    starting = sum(chair.starting for chair in chairs)
    assert sum(found is Step.START for found, _ in steps) <= max(0, room - starting)
    assert len({chair.key for _, chair in steps}) == len(steps)


def test_failed_starts_are_tried_again_later_each_time() -> None:
    waits = [again_after(tries) for tries in range(1, 12)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (10, LAST_AGAIN)


@pytest.mark.parametrize(
    ("now", "listed", "seated", "expected"),
    [
        (8199, True, False, Admission.EARLY),
        (8200, True, False, Admission.OPEN),
        (8200, False, False, Admission.WRONG),
        (100, False, False, Admission.WRONG),
        (20_000, True, False, Admission.LATE),
        (20_899, False, True, Admission.SEATED),
        (20_900, True, True, Admission.LATE),
    ],
)
def test_a_code_is_good_for_what_the_time_and_the_roster_say(
    now: int, listed: bool, seated: bool, expected: Admission
) -> None:
    found = admission(RunState.APPROVED, TIMES, now, roster_only=True, listed=listed, seated=seated)
    assert found is expected


def test_a_run_without_material_opens_jupyterlab_and_names_are_quoted() -> None:
    assert landing("王@x/y", 7, folder="f", repository="", commit="", opens="") == "user/%E7%8E%8B@x%2Fy/class-7/lab"


def test_a_seat_is_over_for_its_learner_when_its_own_time_is() -> None:
    at = TIMES.ends + TIMES.grace
    assert seat_state(TIMES, at, warm_at=1, ready_at=2, failed="") == "over"
    assert seat_state(TIMES, at, warm_at=1, ready_at=2, failed="", extra=1) == "ready"
