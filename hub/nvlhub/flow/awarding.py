"""Requests and awards: the moves of a request, the life of an award, and the day on which it runs dry.

submitted --approve--> approved
 |  ^  |---decline---> declined
 |  |  `---withdraw--> withdrawn <--.
 |  `--submit-- revision --withdraw-'
 `----revise----^
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from nvlhub.errors import BadInputError, ConflictError

DAY = 86_400
LOOK_BACK = 14 * DAY
"""Seconds of the past that a forecast goes by."""


class RequestKind(StrEnum):
    """What a project asks for."""

    NEW = "new"
    RENEWAL = "renewal"
    """A further award after one that ends."""
    EXTENSION = "extension"
    """A later end of an award."""
    SUPPLEMENT = "supplement"
    """More GPU-hours in an award."""
    TRANSFER = "transfer"
    """GPU-hours of an award, in another pool."""


class RequestState(StrEnum):
    """Where a request stands."""

    SUBMITTED = "submitted"
    REVISION = "revision"
    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What can be done with a request."""

    SUBMIT = "submit"
    REVISE = "revise"
    APPROVE = "approve"
    DECLINE = "decline"
    WITHDRAW = "withdraw"


MOVES: Mapping[RequestState, Mapping[Action, RequestState]] = {
    RequestState.SUBMITTED: {
        Action.REVISE: RequestState.REVISION,
        Action.APPROVE: RequestState.APPROVED,
        Action.DECLINE: RequestState.DECLINED,
        Action.WITHDRAW: RequestState.WITHDRAWN,
    },
    RequestState.REVISION: {
        Action.SUBMIT: RequestState.SUBMITTED,
        Action.WITHDRAW: RequestState.WITHDRAWN,
    },
    RequestState.APPROVED: {},
    RequestState.DECLINED: {},
    RequestState.WITHDRAWN: {},
}


def moved(state: RequestState, action: Action) -> RequestState:
    """Return where a request stands after `action`. Raises `ConflictError` when it cannot be done from `state`."""
    after = MOVES[state].get(action)
    if after is None:
        raise ConflictError("request-cannot", state=state.value, action=action.value)
    return after


class AwardState(StrEnum):
    """The life of an award."""

    NEW = "new"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


def award_state(starts: int, ends: int, now: int, *, revoked: bool) -> AwardState:
    """Return where an award stands; times in Unix seconds, its end not included."""
    if revoked:
        return AwardState.REVOKED
    if now >= ends:
        return AwardState.EXPIRED
    return AwardState.NEW if now < starts else AwardState.ACTIVE


def check_dates(starts: int, ends: int, now: int, back: int = DAY) -> None:
    """Check the dates of an award. Raises `BadInputError` for an end before the start or dates in the past.

    A start today is no past, so a day is let through: `back`, in seconds.
    """
    if starts >= ends:
        raise BadInputError("dates-reversed", field="ends")
    if ends <= now:
        raise BadInputError("dates-past", field="ends")
    if starts < now - back:
        raise BadInputError("dates-past", field="starts")


def dry_at(left: int, used: int, over: int, ends: int, now: int) -> int | None:
    """Return when an award has nothing left if use goes on as it was, or None when it lasts until its end.

    Linear: `used` milli-GPU-seconds in the last `over` seconds; `left` includes what is held.
    """
    if left <= 0:
        return now
    if used <= 0 or over <= 0:
        return None
    dry = now + left * over // used
    return dry if dry < ends else None
