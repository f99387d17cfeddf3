"""The table of states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow import lease as states
from nvlhub.flow.lease import FINAL, MOVES, RESUME, Effect, IllegalMoveError, advance
from nvlhub.wire import EndReason, Share, State
from tests.flow.strategies import lease

EVENTS = {
    states.Approved: states.Approved(7, 100),
    states.Denied: states.Denied(),
    states.Placed: states.Placed((Share(domain="d", tray=1, gpus=(0,)),), 5),
    states.Unplaced: states.Unplaced(),
    states.Saved: states.Saved({"pid": 1}),
    states.Launched: states.Launched({"pid": 2}),
    states.Seen: states.Seen(200),
    states.Beaten: states.Beaten(210, 3),
    states.Extended: states.Extended(60, 120_000, 10**9),
    states.Warned: states.Warned(280),
    states.End: states.End(EndReason.USER, 300),
    states.Gone: states.Gone(1, 5),
}


def test_a_lease_goes_from_asked_to_settled() -> None:
    order = [
        states.Approved,
        states.Placed,
        states.Saved,
        states.Launched,
        states.Seen,
        states.Beaten,
        states.End,
        states.Gone,
    ]
    at = lease()
    effects = []
    for event in order:
        at, effect = advance(at, EVENTS[event])
        effects.append(effect)
    assert at.state is State.SETTLED
    assert [effect for effect in effects if effect] == [Effect.PLACE, Effect.START, Effect.STOP, Effect.SETTLE]
    assert (at.started_at, at.ended_at, at.end_reason, at.charged) == (200, 300, EndReason.USER, 5)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(EVENTS))
def test_what_the_table_lacks_is_illegal(state: State, event: type) -> None:
    if event in MOVES[state]:
        moved, effect = advance(lease(state=state), EVENTS[event])
        assert (moved.state, effect) == MOVES[state][event]
    else:
        with pytest.raises(IllegalMoveError):
            advance(lease(state=state), EVENTS[event])


def test_every_state_is_reachable_and_final_ones_are_final() -> None:
    reached, todo = set(), [State.ASKED]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo += [following for following, _ in MOVES[state].values()]
    assert reached == set(State)
    assert {State.SETTLED, State.REFUSED} == FINAL
    assert set(RESUME) == set(State)


def test_every_state_that_holds_something_can_end() -> None:
    for state in set(State) - FINAL - {State.ASKED, State.ENDING}:
        assert states.End in MOVES[state]


def test_an_end_that_was_said_before_the_start_was_seen_is_no_earlier_than_that() -> None:
    ending, _ = advance(lease(state=State.RUNNING, started_at=200), states.End(EndReason.USER, 199))
    assert ending.ended_at == 200
    waiting, _ = advance(lease(state=State.HELD), states.End(EndReason.USER, 199))
    assert (waiting.started_at, waiting.ended_at) == (None, 199)


def test_the_secret_is_forgotten_with_the_end_and_its_task_is_not() -> None:
    gone, _ = advance(lease(state=State.ENDING, handle={"pid": 1}), EVENTS[states.Gone])
    assert gone.mailbox is None
    assert gone.handle == {"pid": 1}


@given(st.lists(st.sampled_from(list(EVENTS)), max_size=30))
def test_any_order_of_events_ends_in_a_known_state_or_is_refused(order: list[type]) -> None:
    at = lease()
    for event in order:
        try:
            at, _ = advance(at, EVENTS[event])
        except IllegalMoveError:
            assert event not in MOVES[at.state]
    assert at.state in State
