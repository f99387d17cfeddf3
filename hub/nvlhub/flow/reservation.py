"""Trays that are kept for a project between two times: which ones, and what else would be possible.

    booking   whole trays for a project, from `starts` to before `ends`
    kept      the same as placement sees it: GPUs that are closed to whoever could still run then

A number of GPUs is rounded up to whole trays. It gets one domain where any could hold it; else whole domains first.
Trays that nobody could still hold at the start are preferred; of domains that are equal in that, the one with the
fewest open trays that fits. Every comparison ends in the order of domains and trays as given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nvlhub.flow.placement import Cells, Domain, Placement, Tray
from nvlhub.wire import Share

DAY = 24 * 3600
LONGEST = 90 * DAY
"""Seconds of a reservation, at most."""
FARTHEST = 2 * 365 * DAY
"""Seconds from now to a start, at most."""
SEARCHED = 30 * DAY
"""Seconds after the wanted start in which another one is looked for."""

Place = tuple[str, int]
"""A tray: its domain and its index."""


@dataclass(frozen=True, slots=True)
class Booking:
    """Trays that are kept for a project from `starts` to before `ends`; Unix seconds."""

    id: int
    project: str
    starts: int
    ends: int
    trays: tuple[Place, ...]

    def overlaps(self, starts: int, ends: int) -> bool:
        """Tell whether it and an interval have a second in common."""
        return self.starts < ends and starts < self.ends


@dataclass(frozen=True)
class Kept:
    """GPUs that are kept for a project from `starts` to before `ends`; without a project: for nobody else to take."""

    placement: Placement
    starts: int
    ends: int
    project: str = ""
    booking: int | None = None
    """The reservation; None: something else keeps them."""

    def is_for(self, project: str, at: int) -> bool:
        """Tell whether a lease of a project that starts at a time may have them because they are kept for it."""
        return bool(project) and project == self.project and self.starts <= at < self.ends

    def is_closed(self, project: str, at: int, until: int) -> bool:
        """Tell whether a lease of a project that would have them from `at` to before `until` may not."""
        return at < self.ends and self.starts < until and not self.is_for(project, at)

    @cached_property
    def cells(self) -> Mapping[str, Cells]:
        """The GPUs, by domain."""
        found: dict[str, Cells] = {}
        for share in self.placement:
            found[share.domain] = found.get(share.domain, frozenset()) | {(share.tray, share.gpus)}
        return found

    @cached_property
    def trays(self) -> frozenset[Place]:
        """The trays that they are on."""
        return frozenset((share.domain, share.tray) for share in self.placement)

    def touches(self, placement: Placement) -> bool:
        """Tell whether a placement has GPUs on one of its trays."""
        return any((share.domain, share.tray) in self.trays for share in placement)


def keep(bookings: Iterable[Booking], domains: Iterable[Domain]) -> tuple[Kept, ...]:
    """Return what bookings keep of the domains that there are."""
    sizes = {(domain.name, tray.index): tray.size for domain in domains for tray in domain.trays}
    return tuple(
        Kept(
            tuple(
                Share(domain=domain, tray=tray, gpus=tuple(range(sizes[domain, tray])))
                for domain, tray in booking.trays
                if (domain, tray) in sizes
            ),
            booking.starts,
            booking.ends,
            booking.project,
            booking.id,
        )
        for booking in bookings
    )


@dataclass(frozen=True, slots=True)
class NoRoom:
    """What would be possible instead."""

    largest: int
    """GPUs that could be had in the same interval, at most as many as were asked for; 0: none."""
    next_starts: int | None
    """The first start from which all could be had for as long, within :data:`SEARCHED`; None: none."""


def choose(
    gpus: int, starts: int, ends: int, domains: Sequence[Domain], bookings: Iterable[Booking],
    held_until: Mapping[Place, int], mine: Iterable[Place] = (),
) -> tuple[Place, ...] | NoRoom:  # fmt: skip
    """Choose trays with at least so many GPUs, in order of domain and tray.

    `domains` say which trays are in service; `held_until` is when the leases on a tray end at the latest. `mine` are
    trays that it has now: they stay as they are where they are open, so that a move changes no more than it must.
    """
    hall = _Hall(domains, tuple(bookings), held_until)
    own = tuple(mine)
    if own and hall.can_stay(own, starts, ends):
        return own
    chosen = hall.choose(gpus, starts, ends)
    if chosen is not None:
        return chosen
    length = ends - starts
    later = sorted({one.ends for one in hall.bookings if starts < one.ends <= starts + SEARCHED})
    fits = (start for start in later if hall.choose(gpus, start, start + length) is not None)
    return NoRoom(hall.largest(gpus, starts, ends), next(fits, None))


@dataclass(frozen=True, slots=True)
class _Row:
    """The open trays of a domain, those first that are free anyway, and how many are."""

    name: str
    trays: tuple[Tray, ...]
    held: frozenset[int]

    @property
    def gpus(self) -> int:
        return sum(tray.size for tray in self.trays)

    def take(self, gpus: int) -> list[Tray]:
        """Take the first trays that have so many GPUs together."""
        taken: list[Tray] = []
        for tray in self.trays:
            if sum(one.size for one in taken) >= gpus:
                break
            taken.append(tray)
        return taken

    def in_the_way(self, gpus: int) -> int:
        """Count the trays that somebody could still hold, of those that would be taken."""
        return sum(tray.index in self.held for tray in self.take(gpus))


@dataclass(frozen=True, slots=True)
class _Hall:
    domains: Sequence[Domain]
    bookings: tuple[Booking, ...]
    held_until: Mapping[Place, int]

    @property
    def size(self) -> int:
        """GPUs in service of the largest domain."""
        return max((sum(tray.size for tray in one.trays if tray.in_service) for one in self.domains), default=0)

    def rows(self, starts: int, ends: int) -> list[_Row]:
        """Return what is open in an interval."""
        taken = {place for one in self.bookings if one.overlaps(starts, ends) for place in one.trays}
        found = []
        for domain in self.domains:
            trays = [tray for tray in domain.trays if tray.in_service and (domain.name, tray.index) not in taken]
            held = {tray.index for tray in trays if self.held_until.get((domain.name, tray.index), 0) > starts}
            trays.sort(key=lambda tray: (tray.index in held, tray.index))
            if trays:
                found.append(_Row(domain.name, tuple(trays), frozenset(held)))
        return found

    def can_stay(self, trays: tuple[Place, ...], starts: int, ends: int) -> bool:
        """Tell whether trays are all open in an interval."""
        is_open = {(row.name, tray.index) for row in self.rows(starts, ends) for tray in row.trays}
        return is_open.issuperset(trays)

    def choose(self, gpus: int, starts: int, ends: int) -> tuple[Place, ...] | None:
        """Choose trays, or return None when there are too few."""
        rows = self.rows(starts, ends)
        if gpus > self.size:
            # Whole domains first: the fewest that do, the last of them as one that has just enough.
            if sum(row.gpus for row in rows) < gpus:
                return None
            rows.sort(key=lambda row: (-row.gpus, row.in_the_way(row.gpus)))
        taken: list[tuple[_Row, list[Tray]]] = []
        left = gpus
        while rows and left > max(row.gpus for row in rows) and gpus > self.size:
            taken.append((rows[0], list(rows[0].trays)))
            left -= rows[0].gpus
            rows = rows[1:]
        fitting = [row for row in self._in_order(rows) if row.gpus >= left]
        if not fitting:
            return None
        last = min(fitting, key=lambda row: (row.in_the_way(left), row.gpus))
        taken.append((last, last.take(left)))
        chosen = {(row.name, tray.index) for row, trays in taken for tray in trays}
        return tuple(
            (domain.name, tray.index)
            for domain in self.domains
            for tray in domain.trays
            if (domain.name, tray.index) in chosen
        )

    def _in_order(self, rows: Iterable[_Row]) -> list[_Row]:
        places = {domain.name: place for place, domain in enumerate(self.domains)}
        return sorted(rows, key=lambda row: places[row.name])

    def largest(self, gpus: int, starts: int, ends: int) -> int:
        """Return how many GPUs could be had in an interval, at most `gpus`."""
        rows = self.rows(starts, ends)
        together = sum(row.gpus for row in rows)
        at_most = together if gpus > self.size and together > self.size else max((row.gpus for row in rows), default=0)
        return min(gpus, at_most)
