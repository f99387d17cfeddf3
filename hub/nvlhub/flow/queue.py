"""Running and waiting leases -> who starts now, and when the others can expect to.

Whose turn it is (:func:`order`): a lease that is not pre-emptible before one that is; then the programme of higher
priority; then shares, by progressive filling: the next is of the programme that has the fewest GPUs for its share, in
use and in the queue before it; of a programme the lease that has waited longest. Nothing that was used up in the past
counts.

A later start may go first only where it does not delay the first in the queue: its GPUs are back before the head
could start anyway, or the head still fits beside it then (conservative for the head alone, as EASY backfill: Lifka,
"The ANL/IBM SP Scheduling System", 1995).

What is kept for a project (:class:`~nvlhub.flow.reservation.Kept`) is closed to whoever could still run then. From its
start on the project's leases go there first, whoever waits. A lease that only waits for a reservation to end is not
the head: those behind it take their turns, and leave it the GPUs that it will have.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvlhub.flow.placement import Domain, Placement, given_back, is_free, only_cells, place, without, without_cells
from nvlhub.flow.reservation import Kept
from nvlhub.wire import Span

FORECAST = 64
"""Places in the queue for which an expected start is worked out; behind them it would be a guess upon guesses."""
GUARDED = 4
"""Leases at the front that are not delayed while they wait for reservations to end."""


Shape = tuple[int, Span, str, bool, bool, Placement, str]


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
    project: str = ""
    """Whose it is, where anything is kept for that project: others need not be told apart."""

    @property
    def preemptible(self) -> bool:
        """Whether it must make room for others."""
        return self.notice is not None

    @property
    def shape(self) -> Shape:
        """What leases have in common that are placed alike."""
        return self.gpus, self.span, self.near, self.pinned, self.preemptible, self.room, self.project

    def place(self, floor: Sequence[Domain], at: int = 0, kept: Sequence[Kept] = ()) -> Placement | None:
        """Choose GPUs for it from `at` on; return None when there is no room.

        Those first that are kept for its project, then those that others make room on.
        """
        own = self.place_own(floor, at, kept)
        if own is not None:
            return own
        floor = self.open_to(floor, at, kept)
        if self.room and is_free(self.room, floor):
            return self.room
        return place(self.gpus, self.span, floor, self.near, pinned=self.pinned)

    def place_own(self, floor: Sequence[Domain], at: int, kept: Sequence[Kept]) -> Placement | None:
        """Choose GPUs that are kept for its project at a time; return None when it has none, or no room on them."""
        own = self.kept_for(at, kept)
        if not own:
            return None
        # First the few domains, then what is closed of them.
        floor = self.open_to(only_cells(floor, [one.cells for one in own]), at, kept)
        return place(self.gpus, self.span, floor, self.near, pinned=self.pinned)

    def kept_for(self, at: int, kept: Sequence[Kept]) -> list[Kept]:
        """Return what is kept for its project at a time."""
        return [one for one in kept if one.is_for(self.project, at)] if self.project else []

    def open_to(self, floor: Sequence[Domain], at: int, kept: Sequence[Kept]) -> Sequence[Domain]:
        """Return the floor without what is kept for others while it would run, if it starts at a time."""
        if not kept:
            return floor
        # One that makes room for others makes it for a reservation, too.
        until = at + (self.seconds if self.notice is None else min(self.seconds, 1 + self.notice))
        closed = [one.cells for one in kept if one.is_closed(self.project, at, until)]
        return without_cells(floor, closed) if closed else floor

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
class Wait:
    """Why a lease that was placed is in the queue of its engine: `reason` is a message id, `start` when it is expected to start."""

    reason: str
    start: int | None = None


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


def plan(
    domains: Sequence[Domain], running: Sequence[Running], waiting: Sequence[Waiting], now: int, kept: Sequence[Kept] = ()
) -> Plan:  # fmt: skip
    """Decide for the queue, which is in order of turns. `domains` are as free as they are now.

    The GPUs on which others make room for a lease are its own, as if it had started when they were promised: nobody
    else starts there, and it starts there whoever waits.
    """
    floor = tuple(domains)
    rooms = [lease.room for lease in waiting if lease.room]
    busy = list(running)
    starts: list[tuple[str, Placement]] = []
    left: list[Waiting] = []
    front = _Front(kept)
    # The shortest of each shape that found no place: a longer one will not find one either.
    unfit: dict[Shape, int] = {}
    for lease in waiting:
        found: Placement | None = None
        if lease.room and is_free(lease.room, lease.open_to(floor, now, kept)):
            found = lease.room
        elif lease.seconds < unfit.get(lease.shape, lease.seconds + 1):
            spare = without(floor, rooms)
            found = lease.place_own(spare, now, kept)
            if found is None:
                found = lease.place(spare, now, front.kept)
                if found is not None and front.fit is not None:
                    found = _beside(front, lease, found, floor, rooms, busy, now)
        if found is None:
            unfit[lease.shape] = min(lease.seconds, unfit.get(lease.shape, lease.seconds))
            left.append(lease)
        else:
            starts.append((lease.id, found))
            floor = without(floor, [found])
            busy.append(lease.started(found, now))
        if left and (found is not None or front.lease is None):
            front = _front(left, floor, busy, now, kept)
    return Plan(tuple(starts), _outlook(left, floor, busy, now, kept))


@dataclass(frozen=True, slots=True)
class _Front:
    """The head of the queue, and when it fits first."""

    kept: Sequence[Kept]
    """What is kept for reservations, and for leases before the head that wait for one to end."""
    lease: Waiting | None = None
    fit: Fit | None = None


def _front(
    left: Sequence[Waiting], floor: tuple[Domain, ...], busy: Sequence[Running], now: int, kept: Sequence[Kept]
) -> _Front:
    """Find the head: the first that waits for more than the end of a reservation."""
    for place_in_queue, lease in enumerate(left[:GUARDED], start=1):
        fit = first_fit(lease, floor, busy, now, kept)
        if fit is None or not fit.held_up or place_in_queue == GUARDED:
            return _Front(kept, lease, fit)
        kept = [*kept, fit.kept_for(lease)]
    return _Front(kept)


def _beside(
    front: _Front,
    lease: Waiting,
    found: Placement,
    floor: tuple[Domain, ...],
    rooms: Sequence[Placement],
    busy: Sequence[Running],
    now: int,
) -> Placement | None:
    """Choose GPUs for `lease`, best those found, so that the head of the queue starts no later."""
    head, fit = front.lease, front.fit
    if head is None or fit is None:
        return found
    started = lease.started(found, now)
    if started.ends_for(head) <= fit.start:
        return found
    clear = lease.place(without(floor, [*rooms, fit.placement]), now, front.kept)
    if clear is not None:
        return clear
    with_it = first_fit(head, without(floor, [found]), [*busy, started], now, front.kept)
    return found if with_it is not None and with_it.start <= fit.start else None


@dataclass(frozen=True, slots=True)
class Fit:
    """When and where a lease fits first; the floor and who is still busy then."""

    start: int
    placement: Placement
    floor: tuple[Domain, ...]
    busy: list[Running]
    held_up: bool = False
    """Whether it would have fitted earlier if nothing were kept for others."""

    def kept_for(self, lease: Waiting) -> Kept:
        """Return what must be kept so that it fits then."""
        return Kept(self.placement, self.start, self.start + lease.seconds)


def first_fit(
    lease: Waiting, floor: tuple[Domain, ...], busy: Sequence[Running], now: int, kept: Sequence[Kept] = (),
    not_before: int = 0, by: float = math.inf,
) -> Fit | None:  # fmt: skip
    """Let the busy ones end one after the other, and reservations begin and end, until `lease` fits; None: never.

    `not_before`: it is known to be held up until then; `by`: whether it fits then or later does not matter.
    """
    ends = sorted(((running.ends_for(lease), running) for running in busy), key=lambda end: end[0])
    # What is kept opens to a lease at these moments only: in between a later start reaches further into it.
    moments = sorted({moment for one in kept for moment in (one.starts, one.ends) if moment > now}, reverse=True)
    free_gpus = sum(domain.free_gpus for domain in floor)
    index = 0
    when = now
    held_up = not_before > now
    # Up to the next moment more and more is closed: a domain without room has none until something comes back there.
    one_domain = lease.span is Span.DOMAIN and not lease.room
    back_in: set[str] | None = None
    while when < by:
        if when >= not_before and free_gpus >= lease.gpus:
            looked_at = floor if back_in is None else tuple(one for one in floor if one.name in back_in)
            if lease.place(looked_at) is not None:
                found = lease.place(looked_at, when, kept) and lease.place(floor, when, kept)
                if found is not None:
                    return Fit(when, found, floor, [running for _, running in ends[index:]], held_up)
                held_up = True
            back_in = set() if one_domain else None
        if index < len(ends) and (not moments or ends[index][0] <= moments[-1]):
            when = max(now, not_before, ends[index][0])
        elif moments:
            when = max(not_before, moments[-1])
        else:
            break
        while moments and moments[-1] <= when:
            moments.pop()
            back_in = None
        back = []
        while index < len(ends) and ends[index][0] <= when:
            back.append(ends[index][1].placement)
            index += 1
        if back_in is not None:
            back_in.update(share.domain for placement in back for share in placement)
        floor = given_back(floor, back)
        free_gpus += sum(len(share.gpus) for placement in back for share in placement)
    return None


def _outlook(
    left: Sequence[Waiting], floor: tuple[Domain, ...], busy: Sequence[Running], now: int, kept: Sequence[Kept]
) -> Mapping[str, Outlook]:
    """Work out expected starts by letting the queue go ahead in order, everyone using all their time.

    What waits for a reservation to begin or to end takes its turn then; the others go on meanwhile.
    """
    outlook: dict[str, Outlook] = {}
    then, taken, at = floor, list(busy), now
    own = _fit_own([lease for lease in left[:FORECAST] if lease.project], floor, busy, now, kept)
    aside = [*kept, *(theirs for _, theirs in own.values())]
    held_up: dict[Shape, tuple[int, int]] = {}
    for position, lease in enumerate(left, start=1):
        if position > FORECAST:
            outlook[lease.id] = Outlook(position, None)
            continue
        on_own, theirs = own.get(lease.id, (None, None))
        fit = first_fit(
            lease, then, taken, at, [one for one in aside if one is not theirs] if theirs else aside,
            0 if theirs else _not_before(held_up, lease),
            math.inf if on_own is None else on_own.start,
        )  # fmt: skip
        if on_own is not None and fit is None:
            outlook[lease.id] = Outlook(position, on_own.start)
            continue
        outlook[lease.id] = Outlook(position, None if fit is None else fit.start)
        if theirs is not None:
            aside.remove(theirs)
            held_up.clear()
        if fit is None:
            continue
        if fit.held_up:
            aside.append(fit.kept_for(lease))
            held_up[lease.shape] = lease.seconds, fit.start
        else:
            taken = [*fit.busy, lease.started(fit.placement, fit.start)]
            then = without(fit.floor, [fit.placement])
            at = fit.start
    return outlook


def _not_before(found: Mapping[Shape, tuple[int, int]], lease: Waiting) -> int:
    """Return when a lease fits at the soonest, by the seconds and the start that were `found` for one of its shape.

    What takes no less time fits no sooner: more and more is taken. 0: nothing is known of it.
    """
    seconds, start = found.get(lease.shape, (lease.seconds + 1, 0))
    return start if lease.seconds >= seconds else 0


def _fit_own(
    left: Sequence[Waiting], floor: tuple[Domain, ...], busy: Sequence[Running], now: int, kept: Sequence[Kept]
) -> dict[str, tuple[Fit, Kept]]:
    """Return when and where leases fit first on what is kept for their project, by id, and what that takes from others.

    They wait for nobody there but for those before them that are of the same project.
    """
    found: dict[str, tuple[Fit, Kept]] = {}
    before: list[Kept] = []
    places: dict[str, tuple[tuple[Domain, ...], list[Running]]] = {}
    soonest: dict[Shape, tuple[int, int]] = {}
    for lease in left:
        if lease.project not in places:
            own = [one for one in kept if one.project == lease.project]
            theirs = [running for running in busy if any(one.touches(running.placement) for one in own)]
            places[lease.project] = only_cells(floor, [one.cells for one in own]), theirs
        fit = first_fit(lease, *places[lease.project], now, [*kept, *before], _not_before(soonest, lease))
        if fit is not None:
            before.append(fit.kept_for(lease))
            found[lease.id] = fit, before[-1]
            soonest[lease.shape] = lease.seconds, fit.start
    return found


def expected_start(
    domains: Sequence[Domain],
    running: Sequence[Running],
    waiting: Sequence[Waiting],
    asked: Waiting,
    now: int,
    rules: Mapping[str, Rule],
    held: Mapping[str, int],
    kept: Sequence[Kept] = (),
) -> int | None:
    """Return when `asked` would start if it joined the queue now, or None where it cannot be foreseen.

    `waiting` is in order of asking; `rules` and `held` as for :func:`order`.
    """
    decided = plan(domains, running, order([*waiting, asked], rules, held), now, kept)
    outlook = decided.outlook.get(asked.id)
    return now if outlook is None else outlook.start
