"""Running and waiting leases -> who starts now, and when the others can expect to.

Whose turn it is (:func:`order`): a lease that is not pre-emptible before one that is; then the programme of higher
priority; then shares, by progressive filling: the next is of the programme that has the fewest GPUs for its share, in
use and in the queue before it; of a programme the lease that has waited longest. Nothing that was used up in the past
counts.

A later start may go first only where it does not delay the first in the queue: its GPUs are back before the head
could start anyway, or the head still fits beside it then (conservative for the head alone, as EASY backfill: Lifka,
"The ANL/IBM SP Scheduling System", 1995).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvlhub.flow.placement import Domain, Placement, given_back, is_free, place, without
from nvlhub.wire import Span

FORECAST = 64
"""Places in the queue for which an expected start is worked out; behind them it would be a guess upon guesses."""


Shape = tuple[int, Span, str, bool, bool, Placement]


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
    programme: str = ""
    asked_at: int = 0
    notice: int | None = None
    """Seconds of notice after which it makes room for others; None: it is not pre-emptible."""
    room: Placement = ()
    """The GPUs on which others make room for it."""

    @property
    def preemptible(self) -> bool:
        """Whether it must make room for others."""
        return self.notice is not None

    @property
    def shape(self) -> Shape:
        """What leases have in common that are placed alike."""
        return self.gpus, self.span, self.near, self.pinned, self.preemptible, self.room

    def place(self, floor: Sequence[Domain]) -> Placement | None:
        """Choose GPUs for it, those first that others make room on; return None when there is no room."""
        if self.room and is_free(self.room, floor):
            return self.room
        return place(self.gpus, self.span, floor, self.near, pinned=self.pinned)

    def started(self, placement: Placement, at: int) -> Running:
        """Return it as it runs when it starts at a time."""
        # The next second is the first in which it can be told to make room: so it never starts on GPUs that are
        # just being freed for somebody.
        return Running(placement, at + self.seconds, None if self.notice is None else at + 1 + self.notice)


@dataclass(frozen=True, slots=True)
class Running:
    """A lease that has GPUs until `until` at the latest; times in Unix seconds."""

    placement: Placement
    until: int
    yields: int | None = None
    """When it has made room at the latest for one that is not pre-emptible; None: it need not."""

    def ends_for(self, lease: Waiting) -> int:
        """Return when its GPUs are free for `lease` at the latest."""
        return self.until if self.yields is None or lease.preemptible else min(self.until, self.yields)


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


def order(waiting: Sequence[Waiting], rules: Mapping[str, Rule], held: Mapping[str, int]) -> list[Waiting]:
    """Put the queue in the order of turns; `waiting` is in order of asking.

    `held` are the GPUs that each programme's leases have now, pre-emptible ones left out. The order is total: equal
    programmes take turns by who has waited longest, then by name.
    """
    ranks: dict[tuple[bool, int], dict[str, deque[Waiting]]] = {}
    for lease in sorted(waiting, key=lambda lease: lease.asked_at):
        rank = (lease.preemptible, -rules.get(lease.programme, Rule()).priority)
        ranks.setdefault(rank, {}).setdefault(lease.programme, deque()).append(lease)
    has = Counter(held)
    return [lease for rank in sorted(ranks) for lease in _filled(ranks[rank], rules, has)]


def _filled(lines: Mapping[str, deque[Waiting]], rules: Mapping[str, Rule], has: Counter[str]) -> list[Waiting]:
    """Take turns by share; `has` counts on. Ratios are compared exactly: as multiples of one over all shares."""
    shares = {programme: rules.get(programme, Rule()).share for programme in lines}
    whole = math.lcm(*shares.values())

    def turn(programme: str) -> tuple[int, int, str]:
        return has[programme] * (whole // shares[programme]), lines[programme][0].asked_at, programme

    turns = [turn(programme) for programme in lines]
    heapq.heapify(turns)
    ordered: list[Waiting] = []
    while turns:
        programme = turns[0][2]
        lease = lines[programme].popleft()
        ordered.append(lease)
        has[programme] += lease.gpus
        if lines[programme]:
            heapq.heapreplace(turns, turn(programme))
        else:
            heapq.heappop(turns)
    return ordered


def plan(domains: Sequence[Domain], running: Sequence[Running], waiting: Sequence[Waiting], now: int) -> Plan:
    """Decide for the queue, which is in order of turns. `domains` are as free as they are now.

    The GPUs on which others make room for a lease are its own, as if it had started when they were promised: nobody
    else starts there, and it starts there whoever waits.
    """
    floor = tuple(domains)
    rooms = [lease.room for lease in waiting if lease.room]
    busy = list(running)
    starts: list[tuple[str, Placement]] = []
    left: list[Waiting] = []
    head: Fit | None = None
    # The shortest of each shape that found no place: a longer one will not find one either.
    unfit: dict[Shape, int] = {}
    for lease in waiting:
        found: Placement | None = None
        if lease.room and is_free(lease.room, floor):
            found = lease.room
        elif lease.seconds < unfit.get(lease.shape, lease.seconds + 1):
            found = lease.place(without(floor, rooms))
            if found is not None and head is not None:
                found = _beside(left[0], head, lease, found, floor, rooms, busy, now)
        if found is None:
            unfit[lease.shape] = min(lease.seconds, unfit.get(lease.shape, lease.seconds))
            left.append(lease)
        else:
            starts.append((lease.id, found))
            floor = without(floor, [found])
            busy.append(lease.started(found, now))
        if left and (found is not None or len(left) == 1):
            head = first_fit(left[0], floor, busy, now)
    return Plan(tuple(starts), _outlook(left, floor, busy, now))


def _beside(
    head: Waiting,
    fit: Fit,
    lease: Waiting,
    found: Placement,
    floor: tuple[Domain, ...],
    rooms: Sequence[Placement],
    busy: Sequence[Running],
    now: int,
) -> Placement | None:
    """Choose GPUs for `lease`, best those found, so that the head of the queue, which fits by `fit`, starts no later."""
    started = lease.started(found, now)
    if started.ends_for(head) <= fit.start:
        return found
    clear = lease.place(without(floor, [*rooms, fit.placement]))
    if clear is not None:
        return clear
    with_it = first_fit(head, without(floor, [found]), [*busy, started], now)
    return found if with_it is not None and with_it.start <= fit.start else None


@dataclass(frozen=True, slots=True)
class Fit:
    """When and where a lease fits first; the floor and who is still busy then."""

    start: int
    placement: Placement
    floor: tuple[Domain, ...]
    busy: list[Running]


def first_fit(lease: Waiting, floor: tuple[Domain, ...], busy: Sequence[Running], now: int) -> Fit | None:
    """Let the busy ones end one after the other until `lease` fits; None: it never does."""
    ends = sorted(((running.ends_for(lease), running) for running in busy), key=lambda end: end[0])
    free_gpus = sum(domain.free_gpus for domain in floor)
    index = 0
    when = now
    while True:
        if free_gpus >= lease.gpus:
            found = lease.place(floor)
            if found is not None:
                return Fit(when, found, floor, [running for _, running in ends[index:]])
        if index == len(ends):
            return None
        when = max(now, ends[index][0])
        back = []
        while index < len(ends) and ends[index][0] <= when:
            back.append(ends[index][1].placement)
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
        fit = first_fit(lease, floor, taken, now)
        if fit is None:
            outlook[lease.id] = Outlook(position, None)
            continue
        outlook[lease.id] = Outlook(position, fit.start)
        taken = [*fit.busy, lease.started(fit.placement, fit.start)]
        floor = without(fit.floor, [fit.placement])
        now = fit.start
    return outlook


def expected_start(
    domains: Sequence[Domain],
    running: Sequence[Running],
    waiting: Sequence[Waiting],
    asked: Waiting,
    now: int,
    rules: Mapping[str, Rule],
    held: Mapping[str, int],
) -> int | None:
    """Return when `asked` would start if it joined the queue now, or None where it cannot be foreseen.

    `waiting` is in order of asking; `rules` and `held` as for :func:`order`.
    """
    decided = plan(domains, running, order([*waiting, asked], rules, held), now)
    outlook = decided.outlook.get(asked.id)
    return now if outlook is None else outlook.start
