"""What everybody may read of the floor: capacity, leases, the queue and its outlook, at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nvlhub.flow import lease as states
from nvlhub.flow.lease import Lease, Warned
from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.queue import Outlook, Rule, Running, Wait, Waiting
from nvlhub.flow.reservation import Kept
from nvlhub.wire import State


@dataclass(frozen=True, slots=True)
class Board:
    """What can be read of the floor at one moment."""

    at: int = 0
    capacity: tuple[Domain, ...] = ()
    """All domains as if nothing were leased; drained trays are out of service."""
    domains: tuple[Domain, ...] = ()
    """The same with what is leased taken."""
    leases: Mapping[str, Lease] = field(default_factory=dict)
    outlook: Mapping[str, Outlook] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """What the programmes may do to the order of the queue."""
    notice: int = 0
    """Seconds from a warning to the end of a pre-emptible lease."""
    kept: tuple[Kept, ...] = ()
    """What is kept for projects, now and later."""
    others: tuple[Running, ...] = ()
    """GPUs that somebody holds outside the portal."""
    waits: Mapping[str, Wait] = field(default_factory=dict)
    """Why leases that have GPUs do not run yet, by the engine's word."""
    away: bool = False
    """Whether the engine does not answer now."""
    closed: bool = False
    """Whether it starts nothing at the moment, though it answers."""
    queue_outside: int = 0
    """Tasks outside the portal that wait in the engine's own queue."""

    @property
    def reserved(self) -> frozenset[tuple[str, int]]:
        """The trays that are kept for a project at this moment, as (domain, tray)."""
        return frozenset(place for one in self.kept if one.starts <= self.at < one.ends for place in one.trays)

    @property
    def running(self) -> list[Running]:
        """Who has GPUs, and until when at the latest; those outside the portal, too."""
        own = [running_of(lease, self.at, self.notice) for lease in self.leases.values() if lease.placement]
        return [*own, *self.others]

    @property
    def outside(self) -> Mapping[tuple[str, int], frozenset[int]]:
        """GPUs that somebody holds outside the portal, by (domain, tray).

        One that a lease was placed on is the lease's: the engine gives it the GPU, or another one.
        """
        if not self.others:
            return {}
        leased = _cells(lease.placement for lease in self.leases.values())
        theirs = _cells(other.placement for other in self.others)
        return {place: left for place, gpus in theirs.items() if (left := gpus - leased.get(place, frozenset()))}

    @property
    def waiting(self) -> list[Waiting]:
        """Who waits for room, in order of asking."""
        keepers = keepers_of(self.kept)
        return [
            waiting_of(lease, self.notice, keepers=keepers)
            for lease in self.leases.values()
            if lease.state is State.HELD
        ]

    @property
    def held(self) -> Mapping[str, int]:
        """GPUs by programme, those of pre-emptible leases left out."""
        return held_by(self.leases.values())

    def ahead_of(self, *, preemptible: bool) -> list[Waiting]:
        """Return who waits before a new lease may start: nobody pre-emptible, unless that one is, too."""
        return [lease for lease in self.waiting if preemptible or not lease.preemptible]


def _cells(placements: Iterable[Placement]) -> dict[tuple[str, int], frozenset[int]]:
    found: dict[tuple[str, int], frozenset[int]] = {}
    for placement in placements:
        for share in placement:
            place = share.domain, share.tray
            found[place] = found.get(place, frozenset()).union(share.gpus)
    return found


def keepers_of(kept: Iterable[Kept]) -> frozenset[str]:
    """Return the projects that anything is kept for."""
    return frozenset(one.project for one in kept)


def waiting_of(
    lease: Lease, notice: int, room: Placement = (), keepers: frozenset[str] = frozenset()
) -> Waiting:  # fmt: skip
    """Return a lease as the queue sees it; `room`: GPUs that are promised to it, `keepers`: as :func:`keepers_of`."""
    return Waiting(
        lease.id, lease.gpus, lease.span, lease.seconds, lease.domain, lease.pinned, lease.programme, lease.asked_at,
        notice if lease.preemptible else None, room, lease.project if lease.project in keepers else "",
    )  # fmt: skip


def running_of(lease: Lease, now: int, notice: int) -> Running:
    """Return a lease that has GPUs, as the forecast sees it."""
    if lease.state is State.ENDING:
        return Running(lease.placement, now)
    yields = (lease.preempt_at or now + notice) if lease.preemptible else None
    return Running(lease.placement, lease.deadline or now + lease.seconds, yields)


def held_by(leases: Iterable[Lease]) -> Counter[str]:
    """Return the GPUs that leases hold by programme, those of pre-emptible ones left out."""
    held = Counter[str]()
    for lease in leases:
        if lease.placement and not lease.preemptible:
            held[lease.programme] += lease.gpus
    return held


def yields(lease: Lease) -> bool:
    """Tell whether a lease can be told to make room."""
    return lease.preemptible and Warned in states.MOVES[lease.state]
