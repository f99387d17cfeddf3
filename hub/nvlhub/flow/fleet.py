"""Capacity, what is leased and what is kept -> one picture of all GPUs, one byte for each.

The bytes stand in order of domain, tray and GPU; the layout says how many trays and GPUs that are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from nvlhub.flow.placement import Domain, Placement, Tray, count_free
from nvlhub.wire import Span

SHAPES = (1, 2, 4, 8, 16, 32, 64, 72)
"""GPUs of the requests that free capacity is told for."""
ENOUGH = (16, 18)
"""A rack with so many of so many trays in service still takes what is recommended: 16 trays."""
UNMEASURED = 255
"""In the bytes of utilisation: nothing is known of the GPU."""

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Domains with the sizes of their trays."""
Reserved = frozenset[tuple[str, int]]
"""Trays that are kept for a reservation now, by domain and index."""
Outside = Mapping[tuple[str, int], frozenset[int]]
"""GPUs that somebody holds outside the portal, by domain and tray."""
_NOBODY: frozenset[int] = frozenset()


class GpuState(IntEnum):
    """What becomes of a GPU now."""

    FREE = 0
    LEASED = 1
    OUT = 2
    """Its tray is out of service."""
    DRAINING = 3
    """Leased, and its tray is out of service: it comes back to nobody."""
    RESERVED = 4
    """Free, and kept for a reservation."""
    OUTSIDE = 5
    """Held by somebody outside the portal."""


class Room(NamedTuple):
    """How many requests of one shape could start."""

    gpus: int
    now: int
    packed: int
    """The same if the free GPUs lay together: free GPUs by shape, at most what an empty floor takes."""


class Racks(NamedTuple):
    """Domains by the trays that are in service."""

    whole: int
    most: int
    """At least 16 of 18 (8 of 9), not all."""
    fewer: int


@dataclass(frozen=True, slots=True)
class Picture:
    """All GPUs at one moment."""

    layout: Layout
    states: bytes
    """One :class:`GpuState` per GPU."""
    shapes: tuple[Room, ...]
    fragmentation: float
    racks: Racks

    @property
    def counts(self) -> Mapping[GpuState, int]:
        """GPUs by state."""
        found = Counter(self.states)
        return {state: found[state] for state in GpuState}


def layout_of(capacity: Iterable[Domain]) -> Layout:
    """Return the domains with the sizes of their trays."""
    return tuple((domain.name, tuple(tray.size for tray in domain.trays)) for domain in capacity)


def picture(
    capacity: Sequence[Domain],
    domains: Sequence[Domain],
    reserved: Reserved = frozenset(),
    outside: Outside = MappingProxyType({}),
) -> Picture:
    """Return the picture of a floor.

    `capacity` has every GPU of a domain free, `domains` the same with what is leased or held `outside` taken; in both,
    trays that were drained are out of service. Whoever holds its GPUs, a tray out of service is told as such.
    """
    states = b"".join(
        _states(tray, (domain.name, tray.index) in reserved, outside.get((domain.name, tray.index), _NOBODY))
        for domain in domains
        for tray in domain.trays
    )
    shapes = rooms(capacity, domains, reserved)
    return Picture(layout_of(capacity), states, shapes, fragmentation(shapes), by_health(capacity))


def _states(tray: Tray, reserved: bool, outside: frozenset[int]) -> bytes:
    if tray.in_service:
        free, taken = GpuState.RESERVED if reserved else GpuState.FREE, GpuState.LEASED
        theirs = GpuState.OUTSIDE
    else:
        free, taken = GpuState.OUT, GpuState.DRAINING
        theirs = GpuState.OUT
    if len(tray.free) == tray.size:
        return bytes((free,)) * tray.size
    return bytes(free if gpu in tray.free else theirs if gpu in outside else taken for gpu in range(tray.size))


def rooms(capacity: Sequence[Domain], domains: Sequence[Domain], reserved: Reserved = frozenset()) -> tuple[Room, ...]:
    """Return for every shape how many could start now, and how many could if the free GPUs lay together."""
    open_now = domains if not reserved else tuple(_without(domain, reserved) for domain in domains)
    free = sum(domain.free_gpus for domain in open_now)
    return tuple(_room(gpus, free, open_now, capacity) for gpus in SHAPES)


def _room(gpus: int, free: int, open_now: Sequence[Domain], capacity: Sequence[Domain]) -> Room:
    now = count_free(gpus, Span.DOMAIN, open_now)
    return Room(gpus, now, max(now, min(free // gpus, count_free(gpus, Span.DOMAIN, capacity))))


def _without(domain: Domain, reserved: Reserved) -> Domain:
    """Return a domain of which the reserved trays are not to be had."""
    kept = {tray for name, tray in reserved if name == domain.name}
    if not kept:
        return domain
    trays = (replace(tray, in_service=False) if tray.index in kept else tray for tray in domain.trays)
    return Domain(domain.name, tuple(trays))


def fragmentation(shapes: Iterable[Room]) -> float:
    """Return how broken up the free GPUs are, from 0 to 1.

    For one shape, that part of the requests which the free GPUs would suffice for, but cannot start because these lie
    in different trays or domains: 1 - now / packed. The number is the mean over the shapes that the free GPUs suffice
    for at all. 0: no request waits for anything but GPUs; 1: the free GPUs are of no use to any shape.
    """
    lost = [1 - room.now / room.packed for room in shapes if room.packed]
    return sum(lost) / len(lost) if lost else 0.0


def by_health(capacity: Iterable[Domain]) -> Racks:
    """Count domains by the part of their trays that is in service."""
    found = Counter(_health([tray.in_service for tray in domain.trays]) for domain in capacity)
    return Racks(found["whole"], found["most"], found["fewer"])


def _health(trays: Sequence[bool]) -> str:
    healthy, (enough, of) = sum(trays), ENOUGH
    if healthy == len(trays):
        return "whole"
    return "most" if healthy * of >= enough * len(trays) else "fewer"


def positions(capacity: Iterable[Domain]) -> dict[tuple[str, int], tuple[int, int]]:
    """Return where the bytes of every tray begin and how many there are, by domain and index."""
    return dict(_positions(capacity))


def _positions(capacity: Iterable[Domain]) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    at = 0
    for domain in capacity:
        for tray in domain.trays:
            yield (domain.name, tray.index), (at, tray.size)
            at += tray.size


def busy_bytes(capacity: Sequence[Domain], busy: Mapping[tuple[str, int, int], int]) -> bytes:
    """Return the utilisation of all GPUs in per cent, :data:`UNMEASURED` where none is known.

    `busy` has it by domain, tray and GPU; GPUs that the floor lacks are left out.
    """
    found = bytearray((UNMEASURED,)) * sum(domain.size for domain in capacity)
    places = positions(capacity) if busy else {}
    for (domain, tray, gpu), percent in busy.items():
        at, size = places.get((domain, tray), (0, 0))
        if 0 <= gpu < size:
            found[at + gpu] = percent if 0 <= percent <= 100 else 100
    return bytes(found)


def marked(capacity: Sequence[Domain], placements: Iterable[tuple[int, Placement]]) -> list[int]:
    """Return a number per GPU: that which stands beside the placement that has it; 0: nobody's."""
    found = [0] * sum(domain.size for domain in capacity)
    places = positions(capacity)
    for mark, placement in placements:
        for share in placement:
            at, size = places.get((share.domain, share.tray), (0, 0))
            for gpu in share.gpus:
                if gpu < size:
                    found[at + gpu] = mark
    return found


SOON = 300
"""Seconds that a lease has to begin work, and that it may pause."""
LITTLE = 10
"""Per cent of utilisation below which GPUs are held for nothing."""


def idles(ran: int, quiet: int, busy: float | None) -> bool:
    """Tell whether a lease that has run for `ran` seconds holds its GPUs for nothing.

    `busy` is their utilisation in per cent; where it is not measured, `quiet` seconds without anything done count.
    """
    return ran >= SOON and (quiet >= SOON if busy is None else busy < LITTLE)
