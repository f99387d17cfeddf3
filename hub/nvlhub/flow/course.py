"""A run of a course x the time -> where it stands, and what may be done with it and its code.

    draft -> requested -> approved -> closed        as decided by people
                 |            `-> cancelled
                 `-> refused
    A run that is refused, or changed while it is looked at, is a draft again.
    approved:  scheduled | warming | live | grace | over      by the clock alone

Times are Unix seconds; the zone of a run is for people only, so that no change of clocks moves a run once it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from nvlhub.errors import ConflictError


class RunState(StrEnum):
    """What people decided."""

    DRAFT = "draft"
    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class Action(StrEnum):
    """What people do with a run."""

    EDIT = "edit"
    REQUEST = "request"
    APPROVE = "approve"
    REFUSE = "refuse"
    CANCEL = "cancel"
    CLOSE = "close"


MOVES: Mapping[RunState, Mapping[Action, RunState]] = {
    RunState.DRAFT: {
        Action.EDIT: RunState.DRAFT, Action.REQUEST: RunState.REQUESTED, Action.CANCEL: RunState.CANCELLED
    },
    RunState.REQUESTED: {
        Action.EDIT: RunState.DRAFT, Action.APPROVE: RunState.APPROVED, Action.REFUSE: RunState.REFUSED,
        Action.CANCEL: RunState.CANCELLED,
    },
    RunState.APPROVED: {
        Action.EDIT: RunState.APPROVED, Action.CANCEL: RunState.CANCELLED, Action.CLOSE: RunState.CLOSED
    },
    RunState.REFUSED: {Action.EDIT: RunState.DRAFT, Action.CANCEL: RunState.CANCELLED},
    RunState.CANCELLED: {},
    RunState.CLOSED: {},
}  # fmt: skip


def moved(state: RunState, action: Action) -> RunState:
    """Return where a run stands after `action`. Raises `ConflictError` when it cannot be done from `state`."""
    after = MOVES[state].get(action)
    if after is None:
        raise ConflictError("run-cannot", state=state.value, action=action.value)
    return after


class Phase(StrEnum):
    """Where an approved run stands by the clock."""

    SCHEDULED = "scheduled"
    WARMING = "warming"
    LIVE = "live"
    GRACE = "grace"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a run; durations in seconds."""

    starts: int
    ends: int
    warm: int
    """So long before the start its seats begin to be started."""
    flex: int
    """So long before the start its code is accepted."""
    grace: int
    """So long after the end what is handed in still counts."""
    no_show: int
    """So long after the start a seat that nobody uses is free again; 0: never."""


def phase(times: Times, now: int) -> Phase:
    """Return where an approved run stands."""
    if now < times.starts - times.warm:
        return Phase.SCHEDULED
    if now < times.starts:
        return Phase.WARMING
    if now < times.ends:
        return Phase.LIVE
    return Phase.GRACE if now < times.ends + times.grace else Phase.OVER


class Entry(StrEnum):
    """What a code is good for at a moment."""

    OPEN = "open"
    EARLY = "early"
    LATE = "late"
    SHUT = "shut"
    """The run is not approved, or was cancelled or closed: it is not told from a code that there is not."""


def entry(state: RunState, times: Times, now: int) -> Entry:
    """Tell whether a code opens a seat now."""
    if state is not RunState.APPROVED:
        return Entry.SHUT
    if now < times.starts - times.flex:
        return Entry.EARLY
    return Entry.OPEN if now < times.ends else Entry.LATE
