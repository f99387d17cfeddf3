"""The states of a lease, as a table, and the one function that moves a lease through them.

    asked --> held --> placed --> starting --> running --> ending --> settled
      |         | ^-------´----------´           |          ^
      |         `---------`----------`-----------`----------´
      `--> refused

What an event means for a lease stands in :data:`MOVES` alone: a state and an event give the next state and what is
to be done then. An order that the table lacks is an error of the caller (:class:`IllegalMoveError`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import assert_never

from nvlhub.errors import ConflictError
from nvlhub.flow.placement import Placement
from nvlhub.wire import EndReason, Kind, Mailbox, Span, State


class Effect(Enum):
    """What the run loop does after a move."""

    PLACE = "place"
    START = "start"
    STOP = "stop"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to hold GPUs from a start until a deadline, as saved. Times in Unix seconds."""

    id: str
    state: State
    user: str
    project: str
    programme: str
    profile: str
    version: int
    pool: str
    kind: Kind
    gpus: int
    span: Span
    seconds: int
    factor_milli: int
    asked_at: int
    award: int = 0
    held: int = 0
    charged: int = 0
    refunded: int = 0
    ran: int = 0
    """Seconds that it ran and pays for, once it is settled."""
    preemptible: bool = False
    """Whether it must make room for others: it costs nothing and counts against no cap."""
    preempt_at: int | None = None
    """When it must have made room; None: nobody needs its GPUs."""
    idle: int | None = None
    label: str = ""
    server: str = ""
    parent: str = ""
    """Lease of the kernel that a worker belongs to."""
    domain: str = ""
    """Where it wants to be placed; empty: anywhere."""
    pinned: bool = False
    """Whether it waits for room there rather than go elsewhere."""
    run: int | None = None
    """The run of a course that it belongs to. Where nothing is held for it, that run pays for its whole slot."""
    mailbox: Mailbox | None = None
    placement: Placement = ()
    handle: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    placed_at: int | None = None
    """When there was room for it."""
    started_at: int | None = None
    beat_at: int | None = None
    idle_seconds: int = 0
    ended_at: int | None = None
    end_reason: EndReason | None = None
    note: str = ""
    """What the engine said when it could not."""

    @property
    def deadline(self) -> int | None:
        """When it ends at the latest; None until it runs."""
        return None if self.started_at is None else self.started_at + self.seconds

    @property
    def pays(self) -> bool:
        """Whether its time is charged: not what makes room for others, nor what is used in a slot that is paid for."""
        return self.held > 0

    @property
    def in_slot(self) -> bool:
        """Whether a run of a course pays for it with its whole slot."""
        return self.run is not None and not self.preemptible and not self.held

    @property
    def active(self) -> bool:
        """Whether it still holds anything."""
        return self.state not in FINAL


@dataclass(frozen=True, slots=True)
class Approved:
    """The award set `held` aside."""

    award: int
    held: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The rules said no."""


@dataclass(frozen=True, slots=True)
class Placed:
    """There is room: these GPUs, from `at` on."""

    placement: Placement
    at: int


@dataclass(frozen=True, slots=True)
class Unplaced:
    """It cannot start there, and nothing of it is left there: it waits for room again, in its old turn."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The engine is about to take a step; this is what finds it again."""

    handle: Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Launched:
    """The engine has started the task."""

    handle: Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """The engine sees the task running: the meter runs from `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class Given:
    """The engine gave these GPUs, not those that were chosen."""

    placement: Placement


@dataclass(frozen=True, slots=True)
class Beaten:
    """The holder is alive."""

    at: int
    idle_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Extended:
    """More time was paid for; `latest` is the last deadline that profile and award allow, in Unix seconds."""

    seconds: int
    units: int
    latest: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Others need its GPUs: it must have made room at `at`; None: they no longer do."""

    at: int | None


@dataclass(frozen=True, slots=True)
class End:
    """It is over at `at`, for `reason`; `note` is the engine's word, if it has one."""

    reason: EndReason
    at: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """The engine's own clock says when it ran."""

    started_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The engine has nothing of it any more."""

    ran: int
    charged: int
    refunded: int = 0


Event = (
    Approved | Denied | Placed | Unplaced | Saved | Launched | Seen | Given | Beaten | Extended | Warned | End | Timed | Gone
)  # fmt: skip

MOVES: Mapping[State, Mapping[type, tuple[State, Effect | None]]] = {
    State.ASKED: {Approved: (State.HELD, Effect.PLACE), Denied: (State.REFUSED, None)},
    State.HELD: {
        Beaten: (State.HELD, None),
        Placed: (State.PLACED, Effect.START),
        End: (State.ENDING, Effect.STOP),
    },
    State.PLACED: {
        Beaten: (State.PLACED, None),
        Given: (State.PLACED, None),
        Saved: (State.PLACED, None),
        Warned: (State.PLACED, None),
        Unplaced: (State.HELD, Effect.PLACE),
        Launched: (State.STARTING, None),
        End: (State.ENDING, Effect.STOP),
    },
    State.STARTING: {
        Beaten: (State.STARTING, None),
        Given: (State.STARTING, None),
        Warned: (State.STARTING, None),
        Unplaced: (State.HELD, Effect.PLACE),
        Seen: (State.RUNNING, None),
        End: (State.ENDING, Effect.STOP),
    },
    State.RUNNING: {
        Beaten: (State.RUNNING, None),
        Given: (State.RUNNING, None),
        Extended: (State.RUNNING, None),
        Warned: (State.RUNNING, None),
        End: (State.ENDING, Effect.STOP),
    },
    State.ENDING: {
        Given: (State.ENDING, None),
        Timed: (State.ENDING, None),
        Gone: (State.SETTLED, Effect.SETTLE),
    },
    State.SETTLED: {},
    State.REFUSED: {},
}

FINAL = frozenset(state for state, moves in MOVES.items() if not moves)

RESUME: Mapping[State, Effect | None] = {
    State.ASKED: None,
    State.HELD: Effect.PLACE,
    State.PLACED: Effect.START,
    State.STARTING: None,
    State.RUNNING: None,
    State.ENDING: Effect.STOP,
    State.SETTLED: None,
    State.REFUSED: None,
}
"""What a restarted run loop does first with a lease that it finds in a state."""


class IllegalMoveError(Exception):
    """The table has no such move: the caller is wrong."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a lease that is {state} cannot take {type(event).__name__}")


def advance(lease: Lease, event: Event) -> tuple[Lease, Effect | None]:
    """Move `lease` by `event`; return it as it is then, and what is to be done.

    Raises `IllegalMoveError` for an event that has no place in its state, `ConflictError` for an extension that was
    overtaken by another.
    """
    move = MOVES[lease.state].get(type(event))
    if move is None:
        raise IllegalMoveError(lease.state, event)
    if isinstance(event, Extended) and (lease.deadline or 0) + event.seconds > event.latest:
        # Another extension was granted since this one was allowed.
        raise ConflictError("extend-overtaken", lease=lease.id)
    state, effect = move
    return replace(_told(lease, event), state=state), effect


def _told(lease: Lease, event: Event) -> Lease:  # noqa: C901, PLR0912  # one case for each event
    match event:
        case Approved(award, held):
            return replace(lease, award=award, held=held)
        case Placed(placement, at):
            return replace(lease, placement=placement, placed_at=at)
        case Unplaced():
            return replace(lease, placement=(), placed_at=None, preempt_at=None, handle={})
        case Given(placement):
            return replace(lease, placement=placement)
        case Saved(handle) | Launched(handle):
            return replace(lease, handle=dict(handle))
        case Seen(at):
            return replace(lease, started_at=at, beat_at=at)
        case Beaten(at, idle_seconds):
            return replace(lease, beat_at=at, idle_seconds=idle_seconds)
        case Extended(seconds, units):
            return replace(lease, seconds=lease.seconds + seconds, held=lease.held + units)
        case Warned(at):
            return replace(lease, preempt_at=at)
        case End(reason, at, note):
            # Said before it was seen to run, and heard after that.
            return replace(lease, end_reason=reason, ended_at=max(at, lease.started_at or at), note=note)
        case Timed(started_at, ended_at):
            return replace(lease, started_at=started_at, ended_at=ended_at)
        case Gone(ran, charged, refunded):
            # What the agent needed to start is a secret that nobody needs any more. The handle is none, and stays: the
            # engine's own records are told by it from others that bear the name of this lease.
            return replace(lease, ran=ran, charged=charged, refunded=refunded, mailbox=None)
        case Denied():
            return lease
        case _:
            assert_never(event)
