"""Running and waiting leases -> who starts now, and when the others can expect to.

The order is that of asking. A later start may go first only where it does not delay the first in the queue: its
GPUs are back before the head could start anyway, or the head still fits beside it then (conservative for the head
alone, as EASY backfill: Lifka, "The ANL/IBM SP Scheduling System", 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvlhub.flow.placement import Domain, Placement, given_back, place, without
from nvlhub.wire import Span

FORECAST = 64
"""Places in the queue for which an expected start is worked out; behind them it would be a guess upon guesses."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a programme may do to the order of the queue: higher priority first, then by share (a weight)."""

    priority: int = 0
    share: int = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A lease that waits for room."""

    id: str
    gpus: int
    span: Span
    seconds: int
    near: str = ""
    pinned: bool = False

    def place(self, floor: Sequence[Domain]) -> Placement | None:
        """Choose GPUs for it, or return None when there is no room."""
        return place(self.gpus, self.span, floor, self.near, pinned=self.pinned)


@dataclass(frozen=True, slots=True)
class Running:
    """A lease that has GPUs until `until` (Unix seconds) at the latest."""

    placement: Placement
    until: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """Place in the queue from 1; `start` in Unix seconds, None where it cannot be foreseen."""

    position: int
    start: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who starts now where, and the outlook of the rest."""

    starts: tuple[tuple[str, Placement], ...]
    outlook: Mapping[str, Outlook]


def plan(domains: Sequence[Domain], running: Sequence[Running], waiting: Sequence[Waiting], now: int) -> Plan:
    """Decide for the queue in order of asking. `domains` are as free as they are now."""
    floor = tuple(domains)
    busy = list(running)
    starts: list[tuple[str, Placement]] = []
    left: list[Waiting] = []
    hopeless: set[tuple[int, Span, str]] = set()
    for lease in waiting:
        shape = (lease.gpus, lease.span, lease.near if lease.pinned else "")
        found = None if shape in hopeless else lease.place(floor)
        if found is None:
            hopeless.add(shape)
        elif left and _delays(left[0], lease, found, floor, busy, now):
            found = None
        if found is None:
            left.append(lease)
            continue
        starts.append((lease.id, found))
        floor = without(floor, [found])
        busy.append(Running(found, now + lease.seconds))
    return Plan(tuple(starts), _outlook(left, floor, busy, now))


def _delays(
    head: Waiting, lease: Waiting, found: Placement, floor: tuple[Domain, ...], busy: list[Running], now: int
) -> bool:
    """Tell whether starting `lease` on `found` now would make the head of the queue wait longer."""
    without_it = _first_fit(head, floor, busy, now)
    if without_it is None:
        return False
    if now + lease.seconds <= without_it.start:
        return False
    with_it = _first_fit(head, without(floor, [found]), [*busy, Running(found, now + lease.seconds)], now)
    return with_it is None or with_it.start > without_it.start


@dataclass(frozen=True, slots=True)
class _Fit:
    """When and where a lease fits first; the floor and who is still busy then."""

    start: int
    placement: Placement
    floor: tuple[Domain, ...]
    busy: list[Running]


def _first_fit(lease: Waiting, floor: tuple[Domain, ...], busy: Sequence[Running], now: int) -> _Fit | None:
    """Let the busy ones end one after the other until `lease` fits."""
    ends = sorted(busy, key=lambda running: running.until)
    free_gpus = sum(domain.free_gpus for domain in floor)
    index = 0
    when = now
    while True:
        if free_gpus >= lease.gpus:
            found = lease.place(floor)
            if found is not None:
                return _Fit(when, found, floor, ends[index:])
        if index == len(ends):
            return None
        when = max(now, ends[index].until)
        back = []
        while index < len(ends) and ends[index].until <= when:
            back.append(ends[index].placement)
            index += 1
        floor = given_back(floor, back)
        free_gpus += sum(len(share.gpus) for placement in back for share in placement)


def _outlook(
    left: Sequence[Waiting], floor: tuple[Domain, ...], busy: Sequence[Running], now: int
) -> Mapping[str, Outlook]:
    """Work out expected starts by letting the queue go ahead in order, everyone using all their time."""
    outlook: dict[str, Outlook] = {}
    taken = list(busy)
    for position, lease in enumerate(left, start=1):
        if position > FORECAST:
            outlook[lease.id] = Outlook(position, None)
            continue
        fit = _first_fit(lease, floor, taken, now)
        if fit is None:
            outlook[lease.id] = Outlook(position, None)
            continue
        outlook[lease.id] = Outlook(position, fit.start)
        taken = [*fit.busy, Running(fit.placement, fit.start + lease.seconds)]
        floor = without(fit.floor, [fit.placement])
        now = fit.start
    return outlook


def expected_start(
    domains: Sequence[Domain], running: Sequence[Running], waiting: Sequence[Waiting], asked: Waiting, now: int
) -> int | None:
    """Return when `asked` would start if it joined the end of the queue now, or None where it cannot be foreseen."""
    decided = plan(domains, running, [*waiting, asked], now)
    outlook = decided.outlook.get(asked.id)
    return now if outlook is None else outlook.start
