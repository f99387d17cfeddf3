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
from typing import Literal
from urllib.parse import quote, urlencode

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


class Admission(StrEnum):
    """What becomes of somebody who gives a code."""

    SEATED = "seated"
    """They have a seat of the run already."""
    OPEN = "open"
    """They may take one, if one is free."""
    EARLY = "early"
    LATE = "late"
    WRONG = "wrong"
    """The code opens nothing for them. Why is not told: it need not even be the code of a run."""


def admission(
    state: RunState, times: Times, now: int, *, roster_only: bool, listed: bool, seated: bool, extra: int = 0
) -> Admission:
    """Tell what a right code is good for; `listed`: they are on the roster; `extra`: seconds more that their seat has."""
    opens = entry(state, times, now)
    if opens is Entry.SHUT or (roster_only and not (listed or seated)):
        return Admission.WRONG
    if seated and now < times.ends + extra + times.grace:
        return Admission.SEATED
    return Admission(opens.value)


def frees_at(times: Times, now: int) -> int | None:
    """Return when seats that nobody uses are free again; None: never, or they are already."""
    at = times.starts + times.no_show
    return at if times.no_show and now < at else None


SeatState = Literal["waiting", "starting", "ready", "failed", "over"]


def seat_state(
    times: Times, now: int, *, warm_at: int | None, ready_at: int | None, failed: str, extra: int = 0
) -> SeatState:  # fmt: skip
    """Return how the server of a seat stands, to its learner."""
    if now >= times.ends + extra + times.grace:
        return "over"
    if ready_at is not None:
        return "ready"
    if failed:
        return "failed"
    return "waiting" if warm_at is None else "starting"


def server_name(run: int) -> str:
    """Return what the server of a seat is called at the hub, for every learner of a run."""
    return f"class-{run}"


def landing(user: str, run: int, *, folder: str, repository: str, commit: str, opens: str) -> str:
    """Return the address, below the hub's, at which JupyterLab opens with the material in `folder`.

    What the learner changed in it is kept: nbgitpuller merges, and their side wins.
    """
    base = f"user/{quote(user, safe='@~')}/{server_name(run)}/"
    if not repository:
        return f"{base}lab"
    inside = f"lab/tree/{quote(folder)}/{quote(opens)}".rstrip("/")
    branch = {"branch": commit} if commit else {}
    return f"{base}git-pull?" + urlencode({"repo": repository, **branch, "targetpath": folder, "urlpath": inside})
