"""Pre-emptible leases that run x the queue -> who must make room, and on which GPUs for whom.

For each lease that is not pre-emptible, in the order of the queue, as few must go as it takes: the idle before those
that compute, of each the newest start first. Afterwards those are let off whose GPUs are not needed because those who
count on them fit where others must go anyway. A lease that could not start even if all went is passed over, and what is
behind it gets room only where that does not delay it.

Room that was promised stays promised while it can be had, whoever comes in front: without pre-emptible leases its
holder would run there already. So nobody waits for them longer than one notice, and nobody is told to go, and to stay,
and to go.

Who runs on trays that are about to be kept for somebody else's project must go, too, whoever waits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nvlhub.flow.placement import Domain, Placement, given_back, is_free, without
from nvlhub.flow.queue import Fit, Running, Waiting, first_fit
from nvlhub.flow.reservation import Kept

IDLE = 60
"""Seconds without activity from which a lease counts as idle."""
AT_ONCE = 64
"""Leases that new room is made for in one turn of the run loop; the next follow in the next one."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A pre-emptible lease that has GPUs. `started_at` in Unix seconds; None: it is about to start."""

    id: str
    placement: Placement
    started_at: int | None
    idle_seconds: int = 0
    warned: bool = False
    """Whether it was told to make room already."""
    project: str = ""

    @property
    def rank(self) -> tuple[bool, bool, int, str]:
        """Order in which tenants must go."""
        started = self.started_at
        return self.idle_seconds < IDLE, started is not None, -(started or 0), self.id


@dataclass(frozen=True, slots=True)
class Room:
    """Ids of the tenants that must go, and the GPUs promised to waiting leases, by id."""

    going: frozenset[str] = frozenset()
    promised: Mapping[str, Placement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A lease that gets room, and the GPUs that it must leave to one that it passes."""

    lease: Waiting
    avoided: tuple[Placement, ...]
    at: int
    kept: Sequence[Kept]

    def place(self, floor: Iterable[Domain], going: Iterable[Tenant] = ()) -> Placement | None:
        """Choose its GPUs once some tenants have gone."""
        spare = without(given_back(floor, _placements(going)), self.avoided)
        return self.lease.place(spare, self.at, self.kept)


def make_room(
    domains: Sequence[Domain], running: Sequence[Running], tenants: Sequence[Tenant], waiting: Sequence[Waiting],
    now: int, notice: int, kept: Sequence[Kept] = (),
) -> Room:  # fmt: skip
    """Choose who must go within `notice` seconds.

    `domains` are as free as they are now, `running` are all others that have GPUs, `waiting` is in order of turns,
    `kept` what is kept for projects.
    """
    if not tenants and not any(lease.room for lease in waiting):
        return Room()
    at = now + notice
    soon = [one for one in kept if now < one.ends and one.starts <= at]
    cleared = {
        tenant.id
        for tenant in tenants
        if any(one.project != tenant.project and one.touches(tenant.placement) for one in soon)
    }
    leaving = [tenant for tenant in tenants if tenant.warned or tenant.id in cleared]
    staying = sorted((tenant for tenant in tenants if tenant not in leaving), key=lambda tenant: tenant.rank)
    # What is ending already comes back without anybody being told to go.
    back = [other.placement for other in running if other.until <= now]
    busy = [other for other in running if other.until > now]
    floor = given_back(domains, [*back, *_placements(leaving)])
    promised = {
        lease.id: lease.room for lease in waiting if lease.room and is_free(lease.room, lease.open_to(floor, at, kept))
    }
    busy += [lease.started(promised[lease.id], at) for lease in waiting if lease.id in promised]
    floor = without(floor, promised.values())
    emptied = given_back(floor, _placements(staying))
    fresh: list[_Asked] = []
    told: list[Tenant] = []
    passed: Fit | None = None
    unfit: set[tuple[object, ...]] = set()
    for lease in waiting:
        if lease.preemptible or len(fresh) == AT_ONCE:
            break
        asked = _Asked(lease, _avoided(lease, passed, at), at, kept)
        if lease.id in promised or (lease.shape, asked.avoided) in unfit:
            continue
        if asked.place(emptied) is None:
            if not unfit:
                passed = first_fit(lease, emptied, busy, at, kept)
            unfit.add((lease.shape, asked.avoided))
            continue
        more = _fewest(asked, floor, staying)
        room = asked.place(floor, more)
        assert room is not None  # noqa: S101  # it fits when all go, and those are left out without whom it fits
        fresh.append(asked)
        told += more
        staying = [tenant for tenant in staying if tenant not in more]
        promised[lease.id] = room
        floor = without(given_back(floor, _placements(more)), [room])
        emptied = without(emptied, [room])
        busy.append(lease.started(room, at))
    told, promised = _let_off(told, fresh, promised, floor)
    counted_on = [tenant for tenant in leaving if _share(tenant.placement, promised.values())]
    return Room(frozenset(tenant.id for tenant in (*counted_on, *told)) | cleared, promised)


def _placements(tenants: Iterable[Tenant]) -> list[Placement]:
    return [tenant.placement for tenant in tenants]


def _share(placement: Placement, others: Iterable[Placement]) -> bool:
    """Tell whether any GPU of a placement belongs to one of the others, too."""
    cells = {(share.domain, share.tray, gpu) for share in placement for gpu in share.gpus}
    return any((share.domain, share.tray, gpu) in cells for other in others for share in other for gpu in share.gpus)


def _avoided(lease: Waiting, passed: Fit | None, at: int) -> tuple[Placement, ...]:
    """Return what a lease that starts at `at` must leave to one that it passes."""
    return () if passed is None or at + lease.seconds <= passed.start else (passed.placement,)


def _fewest(asked: _Asked, floor: tuple[Domain, ...], staying: Sequence[Tenant]) -> list[Tenant]:
    """Choose who must go so that one lease fits: the last in rank is as early as can be, then the one before.

    None of them could stay: with all that rank before it and those chosen already, the lease did not fit.
    """
    going: list[Tenant] = []
    while asked.place(floor, going) is None:
        last = bisect_left(
            range(len(staying)), True, key=lambda count: asked.place(floor, [*going, *staying[: count + 1]]) is not None
        )
        going.append(staying[last])
        staying = staying[:last]
    return going


def _let_off(
    told: list[Tenant], fresh: Sequence[_Asked], promised: dict[str, Placement], floor: tuple[Domain, ...]
) -> tuple[list[Tenant], dict[str, Placement]]:
    """Leave out those without whom the leases that count on them fit elsewhere, the last in rank first.

    `floor` is what is left when everybody has what is promised.
    """
    before = None
    while told != before:
        before = told
        for tenant in sorted(told, key=lambda tenant: tenant.rank, reverse=True):
            counting = [asked for asked in fresh if _share(tenant.placement, [promised[asked.lease.id]])]
            spare = given_back(floor, [promised[asked.lease.id] for asked in counting])
            spare = without(spare, [tenant.placement])
            moved = _place_all(spare, counting)
            if moved is not None:
                told = [other for other in told if other is not tenant]
                promised = {**promised, **moved}
                floor = without(spare, moved.values())
    return told, promised


def _place_all(floor: tuple[Domain, ...], asked: Iterable[_Asked]) -> dict[str, Placement] | None:
    """Place leases one after the other; None when they do not all fit."""
    placed: dict[str, Placement] = {}
    for one in asked:
        found = one.place(floor)
        if found is None:
            return None
        placed[one.lease.id] = found
        floor = without(floor, [found])
    return placed
