"""What the ledger charged x what the engine saw -> where they differ, and what follows by rule.

matched         both have the same, within the tolerance
missing-record  the ledger charged a lease that the engine does not know
missing-lease   the engine ran something under an id that the ledger does not know
amount          both know it, and their GPU-seconds differ
still-running   the engine runs what the ledger has settled
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DifferenceKind(StrEnum):
    """How the two differ."""

    MATCHED = "matched"
    """They do not: counted, never kept."""
    MISSING_RECORD = "missing-record"
    MISSING_LEASE = "missing-lease"
    AMOUNT = "amount"
    STILL_RUNNING = "still-running"


class Action(StrEnum):
    """How a difference is closed."""

    ACCEPT = "accept"
    """Both stay as they are."""
    CORRECT = "correct"
    """The ledger is made equal to the engine."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run of a task by the engine's own accounting, in Unix seconds by the engine's clock."""

    lease_id: str
    gpus: int
    started_at: int
    ended_at: int | None
    """None: it still runs."""
    task: Mapping[str, str | int] = field(default_factory=dict)
    """What the engine knows the task by, and whose it is. Where its lease has such words, they are the same."""

    def is_of(self, handle: Mapping[str, object]) -> bool:
        """Tell whether it can be of a lease with this handle: anybody may call a task of theirs like one of ours."""
        return all(handle.get(name, value) == value for name, value in self.task.items())


@dataclass(frozen=True, slots=True)
class Charged:
    """A lease as the ledger has it."""

    lease_id: str
    gpus: int
    settled: bool
    gpu_seconds: int | None
    """What was charged in the end, corrections included; None: this is not to be compared."""
    unpaid: int = 0
    """Seconds of silence that the engine may have seen beside, and by rule nobody pays for."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What both sides have of one lease, in GPU-seconds; None: nothing."""

    kind: DifferenceKind
    lease_id: str
    ledger: int | None
    engine: int | None


@dataclass(frozen=True, slots=True)
class Closing:
    """What is done about a difference, and why."""

    action: Action
    reason: str


@dataclass(slots=True)
class _Ran:
    gpu_seconds: int = 0
    running: bool = False


def compare(
    leases: Iterable[Charged], records: Iterable[Record], tolerance: int, now: int
) -> Iterator[Difference]:  # fmt: skip
    """Yield one judgement per lease that can be judged, and one per id in `records` that `leases` lack.

    `tolerance` is in seconds on each GPU of a lease, `now` (the engine's clock) counts what still runs. A lease can
    have several records: their GPU-seconds add up. One that is told twice is judged the first time. The records are held
    in memory, the leases stream past them.
    """
    seen = _by_lease(records, now)
    for lease in leases:
        found = _judge(lease, seen.pop(lease.lease_id, None), tolerance)
        if found is not None:
            yield found
    for lease_id, ran in seen.items():
        yield Difference(DifferenceKind.MISSING_LEASE, lease_id, None, ran.gpu_seconds)


def _by_lease(records: Iterable[Record], now: int) -> dict[str, _Ran]:
    seen: dict[str, _Ran] = {}
    for record in records:
        ran = seen.setdefault(record.lease_id, _Ran())
        end = now if record.ended_at is None else record.ended_at
        ran.gpu_seconds += record.gpus * max(0, end - record.started_at)
        ran.running = ran.running or record.ended_at is None
    return seen


def _judge(lease: Charged, ran: _Ran | None, tolerance: int) -> Difference | None:
    if ran is not None and ran.running:
        kind = DifferenceKind.STILL_RUNNING if lease.settled else None
    elif lease.gpu_seconds is None:
        kind = None
    elif ran is None:
        kind = DifferenceKind.MISSING_RECORD if lease.gpu_seconds else DifferenceKind.MATCHED
    elif not -tolerance * lease.gpus <= ran.gpu_seconds - lease.gpu_seconds <= (tolerance + lease.unpaid) * lease.gpus:
        kind = DifferenceKind.AMOUNT
    else:
        kind = DifferenceKind.MATCHED
    if kind is None:
        return None
    return Difference(kind, lease.lease_id, lease.gpu_seconds, ran.gpu_seconds if ran else None)


def rule(difference: Difference) -> Closing | None:
    """Return what follows without anybody's decision; None: a person decides.

    What was charged beyond what the engine saw is given back at once. Nothing is ever charged by rule.
    """
    ledger, engine = difference.ledger, difference.engine
    if difference.kind is DifferenceKind.AMOUNT and ledger is not None and engine is not None and ledger > engine:
        return Closing(Action.CORRECT, "the engine saw less than was charged")
    return None


def correction(charged: int, engine: int | None, factor_milli: int) -> int:
    """Return what makes a charge equal to the engine's GPU-seconds; positive: more, negative: given back.

    `charged` and the result are milli-GPU-seconds. What the engine does not know (None) was not used.
    """
    return (engine or 0) * factor_milli - charged
