"""The contract of an engine: what really runs the tasks of leases.

An engine is driven by the run loop alone (:mod:`nvlhub.run`), from one thread; :meth:`Engine.records` is the one
exception. It decides nothing: which GPUs a task gets is in the :class:`Task`. It keeps nothing in memory that it
needs after a restart: what it must know to find or stop a task again is in the handle, which the run loop saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.queue import Running, Wait
from nvlhub.flow.reconciliation import Record
from nvlhub.wire import Kind, Mailbox

Scalar = str | int | float | bool | None
Handle = Mapping[str, Scalar]
"""What an engine needs to find a task again: flat JSON, saved with the lease."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to start: the node agent of a lease, on the GPUs of its placement."""

    lease_id: str
    kind: Kind
    user: str
    placement: Placement
    mailbox: Mailbox
    seconds: int
    """Longest time it may run; an engine with a time limit of its own sets it to this plus its grace."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the profile gives to what runs; what the engine itself says of the lease goes over them."""
    hints: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """What the profile tells this engine alone: partitions, priorities; an engine uses what it knows of it."""
    project: str = ""
    """Who pays."""
    domain: str = ""
    """The NVLink domain that it must be in; empty: where the placement is, or in another."""
    preemptible: bool = False
    """Whether it makes room as soon as others need its GPUs."""
    reservation: int | None = None
    """The reservation that its GPUs are kept by; None: they are kept for nobody."""


class Sight(Enum):
    """What an engine sees of a task."""

    PENDING = "pending"
    """Accepted, not running yet (a queue of the engine's own)."""
    RUNNING = "running"
    GONE = "gone"
    """Ended, or never started."""
    BROKEN = "broken"
    """Ended by a failure of the machine or the engine: the time is refunded."""
    UNKNOWN = "unknown"
    """The engine cannot tell now: nothing may be concluded."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One task as the engine sees it; `handle` is set when the engine found it by its lease id alone.

    An engine that places tasks and keeps time itself tells what it gave and how long it ran, by its own clock.
    """

    sight: Sight
    handle: Handle | None = None
    placement: Placement = ()
    """The GPUs that it was given; empty: those that were asked for, or not known yet."""
    began: int | None = None
    """When it began to run, in Unix seconds; None: when it was first seen."""
    ran: int | None = None
    """Seconds that it ran in all, once it is over; None: as far as was seen."""
    wait: Wait | None = None
    """Why it does not run yet, or stands still although it runs."""
    held_back: bool = False
    """Whether its own user keeps it from running."""
    note: str = ""
    """What the engine says of its end, as a message id."""


class EngineError(Exception):
    """The engine could not do what it was asked; the text, or the message id, says why, for the user and the admin."""


class AwayError(EngineError):
    """The engine gave no answer: whether it did what it was asked, nobody knows until it is looked at."""


class Engine(Protocol):
    """What the run loop asks of an engine."""

    name: str
    simulated: bool
    """Whether the GPUs are simulated: shown wherever devices are shown."""
    gpu_model: str
    """What the GPUs are."""
    away: bool = False
    """Whether the engine does not answer now. Nothing new is started then; what runs goes on."""
    closed: bool = False
    """Whether the engine starts nothing at the moment, though it answers. Whoever asks waits; what runs goes on."""
    queue_outside: int = 0
    """Tasks outside the portal that wait in the engine's own queue for the GPUs of these domains."""
    to_the_tray: bool = True
    """Whether a task starts on the trays of its placement or not at all; otherwise the engine may choose others."""
    count_every: float = 60
    """Seconds between two counts of the capacity, where the portal's own settings do not count it more often."""

    def capacity(self) -> tuple[Domain, ...]:
        """Return the domains with their trays and GPUs, all free; GPUs out of service are marked so.

        Called at the start of the portal and every :attr:`count_every` seconds after. Names and indices are stable.
        """
        ...

    def others(self) -> tuple[Running, ...]:
        """Return GPUs of these domains that somebody holds outside the portal, and until when at the latest.

        Called after every look: must be quick. Nothing of theirs is ever touched.
        """
        return ()

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return the device names of a placement in its order: GPU UUIDs, or ``SIM-...``. Called when one is shown."""
        ...

    def start(self, task: Task) -> Iterator[Handle]:
        """Start `task`, yielding what must be remembered *before* each step that would be hard to find again.

        The run loop saves each yielded handle before it asks for the next; the last one is the handle of the
        running task. Several tasks are started side by side. Closing the iterator early must leave nothing behind
        that :meth:`stop` with the last handle cannot end. Raises :class:`EngineError` when it cannot start; then
        nothing of the task is left. Raises :class:`AwayError` when nobody knows: :meth:`look` will tell, and a task
        that is not there then is started again.
        """
        ...

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        """Return what is seen of every task (lease id -> handle, possibly half-made), in one look.

        Called every few seconds, and at the start of the portal. Must find a task whose last handle was not
        saved (by its lease id).
        """
        ...

    def extend(self, lease_id: str, handle: Handle, seconds: int) -> None:
        """Let a running task run for `seconds` in all. Called before the time is paid for.

        An engine without a time limit of its own has nothing to do. Raises :class:`EngineError` when it cannot.
        """
        ...

    def stop(self, lease_id: str, handle: Handle) -> None:
        """End the task and everything it started; asked again it does no harm. Returns without waiting for the end."""
        ...

    def stop_strays(self, lease_ids: Iterable[str]) -> None:
        """End what :meth:`strays` found. An engine that can do it in one go does: anybody may make many of them."""
        for lease_id in lease_ids:
            self.stop(lease_id, {})

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return lease ids of tasks that run here although `known` lacks them. Called every minute; they are stopped."""
        ...

    def records(self, since: int) -> Iterable[Record]:
        """Return the engine's own accounting: every run that ended at or after `since` (Unix seconds) or still runs.

        Called when an administrator reconciles (:mod:`nvlhub.registry.reconciling`), from the thread of that request
        while the run loop uses the rest of the engine: must be safe for that, and may take seconds. A run stands in it
        before :meth:`look` first reports it running, and its end before :meth:`look` first reports it gone: the ledger
        settles after that. An id that is absent never ran here, ended before `since`, or so long ago that the engine
        keeps nothing of it. A task that was started several times has a record of each run. Raises
        :class:`EngineError` when it cannot tell now.
        """
        ...
