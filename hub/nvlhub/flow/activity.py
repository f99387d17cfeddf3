"""Time in which GPUs were held -> what was held, worked and measured in each quarter of an hour; and who used it well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nvlhub.flow.lease import Lease
from nvlhub.wire import State

QUARTER = 900
"""Seconds of a quarter of an hour."""
BINS = 10
"""Columns of the histogram of utilisation."""


@dataclass(slots=True)
class Use:
    """GPU-seconds held and measured, GPU-milliseconds of work (GPUs x time x utilisation)."""

    held: int = 0
    busy_milli: int = 0
    measured: int = 0

    def add(self, other: Use) -> None:
        """Add what somebody else used, or the same one later."""
        self.held += other.held
        self.busy_milli += other.busy_milli
        self.measured += other.measured

    @property
    def nothing(self) -> bool:
        """Whether it is empty."""
        return not (self.held or self.busy_milli or self.measured)


def quarters(since: int, until: int) -> Iterator[tuple[int, int]]:
    """Yield when each quarter of an hour of a time begins, and how many of its seconds belong to that time."""
    while since < until:
        start = since - since % QUARTER
        end = min(until, start + QUARTER)
        yield start, end - since
        since = end


def idle_part(lease: Lease, since: int, until: int) -> int:
    """Return for how many seconds of a time neither kernel nor GPU of a lease did anything, as far as it has said."""
    if not lease.idle_seconds or lease.beat_at is None:
        return 0
    return max(0, until - max(since, lease.beat_at - lease.idle_seconds))


def charge_so_far(lease: Lease, now: int) -> int:
    """Return what a lease has cost by now, in milli-GPU-seconds; of a settled one what it was charged, less refunds."""
    if lease.state is State.SETTLED:
        return lease.charged - lease.refunded
    if lease.started_at is None or not lease.pays:
        return 0
    ran = min(max(0, (lease.ended_at or now) - lease.started_at), lease.seconds)
    return lease.gpus * ran * lease.factor_milli


def seconds_held(lease: Lease, now: int) -> int:
    """Return for how many seconds a lease has held its GPUs by now."""
    if lease.started_at is None:
        return 0
    if lease.state is State.SETTLED:
        return lease.ran
    return min(max(0, (lease.ended_at or now) - lease.started_at), lease.seconds)


def share(part: int, whole: int) -> float | None:
    """Return a share, rounded to four places; None of nothing."""
    return round(part / whole, 4) if whole else None
