"""Domains and a request for GPUs -> a placement, or none.

    domain   the GPUs that reach each other by NVLink
    tray     one compute node in it: 4 GPUs, two halves (superchips) of 2
    segment  16 trays taken together when a request reaches across domains

The rules, each comparison ending in a total order (domain order as given, tray index, GPU index), so that equal
inputs place equally:

- 1 to 4 GPUs share one tray: the tray with the fewest free GPUs that fits, then the domain with the fewest free
  GPUs, then order. Two GPUs prefer a whole superchip, one GPU prefers a superchip that is already broken.
- More than 4: whole trays. One domain, unless the span is ``fabric``: the domain with the fewest free whole trays
  that fits. Least-free tray first keeps the most whole trays; domain-first packing breaks them.
- ``fabric`` above one domain: segments of 16 trays, each inside one domain; 16 of 18 is what stays schedulable
  when trays fail.
- A request may name a domain to be near to: it is tried alone first; the others only where the request is not pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter

from nvlhub.wire import Share, Span

GPUS_PER_TRAY = 4
SUPERCHIP_GPUS = 2
SEGMENT_TRAYS = 16


@dataclass(frozen=True, slots=True)
class Tray:
    """One compute node: which of its GPUs are free, by index from 0. `index` counts from 1."""

    index: int
    free: frozenset[int]
    size: int = GPUS_PER_TRAY
    in_service: bool = True
    reason: str = ""
    """Why the engine has it out of service, in an administrator's words."""

    @property
    def usable(self) -> frozenset[int]:
        """The GPUs that may be handed out now."""
        return self.free if self.in_service else frozenset()

    @property
    def whole(self) -> bool:
        """Whether all GPUs of the tray are free and in service."""
        return self.in_service and len(self.free) == self.size


@dataclass(frozen=True)
class Domain:
    """One NVLink domain; `trays` in order of index.

    A placement looks at all domains and changes one: what is worked out of the others is kept.
    """

    name: str
    trays: tuple[Tray, ...]

    @cached_property
    def free_gpus(self) -> int:
        """GPUs that may be handed out now."""
        return sum(len(tray.usable) for tray in self.trays)

    @property
    def size(self) -> int:
        """All GPUs, whatever their state."""
        return sum(tray.size for tray in self.trays)

    @cached_property
    def whole_trays(self) -> tuple[Tray, ...]:
        """Trays that are free as a whole."""
        return tuple(tray for tray in self.trays if tray.whole)

    @cached_property
    def tightest(self) -> Mapping[int, tuple[_Rank, Share]]:
        """For each number of GPUs that fits into a tray: where they go, and how that ranks among domains."""
        found: dict[int, tuple[_Rank, Share]] = {}
        for gpus in range(1, GPUS_PER_TRAY + 1):
            fitting = [tray for tray in self.trays if len(tray.usable) >= gpus]
            if fitting:
                ranks = [
                    (len(tray.usable), gpus == SUPERCHIP_GPUS and not _whole_halves(tray.usable), self.free_gpus)
                    for tray in fitting
                ]
                rank, tray = min(zip(ranks, fitting, strict=True), key=itemgetter(0))
                found[gpus] = rank, Share(domain=self.name, tray=tray.index, gpus=_pick(gpus, tray.usable))
        return found

    @cached_property
    def _seen(self) -> dict[tuple[bool, Cells], Domain]:
        return {}

    def closed(self, cells: Cells) -> Domain:
        """Return it without some GPUs. A search asks for the same again and again: it is kept."""
        known = self._seen.get((False, cells))
        if known is None:
            taken: dict[int, frozenset[int]] = {}
            for tray, gpus in cells:
                taken[tray] = taken.get(tray, frozenset()).union(gpus)
            known = self._seen[False, cells] = _with_trays(self, taken, lambda free, gpus: free - gpus)
        return known

    def only(self, cells: Cells) -> Domain:
        """Return it with no other trays than those of some GPUs; kept, too."""
        known = self._seen.get((True, cells))
        if known is None:
            wanted = {tray for tray, _ in cells}
            trays = tuple(tray for tray in self.trays if tray.index in wanted)
            known = self._seen[True, cells] = replace(self, trays=trays)
        return known


Cells = frozenset[tuple[int, tuple[int, ...]]]
"""GPUs of a domain: trays, and the indices in them."""
_Rank = tuple[int, bool, int]
"""GPUs free in the tray, whether a superchip is lacking, GPUs free in the domain: the least is taken."""


Placement = tuple[Share, ...]
"""GPUs by tray, in order of domain and tray."""


def place(
    gpus: int, span: Span, domains: Sequence[Domain], near: str = "", *, pinned: bool = False
) -> Placement | None:  # fmt: skip
    """Choose GPUs for a request, or return None when there is no room now.

    `near` names a domain to try first; with `pinned` no other is taken.
    """
    if near:
        found = place(gpus, span, [domain for domain in domains if domain.name == near])
        if found is not None or pinned:
            return found
    if gpus <= GPUS_PER_TRAY:
        return _in_tray(gpus, domains)
    trays = -(-gpus // GPUS_PER_TRAY)
    found = _in_domain(trays, domains)
    if found is None and span is Span.FABRIC:
        found = _segments(trays, domains)
    return found


def most_ever(gpus: int, span: Span, capacity: Sequence[Domain], beside: Iterable[Placement] = ()) -> int:
    """Return how many such requests could be placed on a `capacity` of which only `beside` were taken."""
    return count_free(gpus, span, without(capacity, beside))


def fits_ever(gpus: int, span: Span, capacity: Sequence[Domain]) -> bool:
    """Tell whether a request could be placed if all of `capacity` that is in service were free, as it is given."""
    if gpus <= GPUS_PER_TRAY:
        return any(len(tray.usable) >= gpus for domain in capacity for tray in domain.trays)
    return place(gpus, span, capacity) is not None


def count_free(gpus: int, span: Span, domains: Sequence[Domain]) -> int:
    """Return how many such requests could be placed now, one after the other."""
    if gpus <= GPUS_PER_TRAY:
        return sum(len(tray.usable) // gpus for domain in domains for tray in domain.trays)
    trays = -(-gpus // GPUS_PER_TRAY)
    whole = [len(domain.whole_trays) for domain in domains]
    if span is Span.FABRIC and trays > SEGMENT_TRAYS:
        return sum(count // SEGMENT_TRAYS for count in whole) // -(-trays // SEGMENT_TRAYS)
    return sum(count // trays for count in whole)


def is_free(placement: Placement, domains: Iterable[Domain]) -> bool:
    """Tell whether all GPUs of a placement may be handed out now."""
    wanted = {(share.domain, share.tray): frozenset(share.gpus) for share in placement}
    named = {share.domain for share in placement}
    trays = {(domain.name, tray.index): tray for domain in domains if domain.name in named for tray in domain.trays}
    return all(where in trays and gpus <= trays[where].usable for where, gpus in wanted.items())


def without(domains: Iterable[Domain], placements: Iterable[Placement]) -> tuple[Domain, ...]:
    """Return the domains with the GPUs of `placements` taken."""
    return _changed(domains, placements, lambda free, gpus: free - gpus)


def given_back(domains: Iterable[Domain], placements: Iterable[Placement]) -> tuple[Domain, ...]:
    """Return the domains with the GPUs of `placements` free again."""
    return _changed(domains, placements, lambda free, gpus: free | gpus)


def exchange(placements: Mapping[str, Placement], lease: str, given: Placement) -> dict[str, Placement]:
    """Return the placements that change when `lease` was given other GPUs than those that were chosen for it.

    Whoever was to have one of them gets one of those that the lease was to have, as many as there are: a GPU is never
    anybody's twice.
    """
    mine = _cells_of(placements[lease])
    owner = {cell: other for other, has in placements.items() if other != lease for cell in _cells_of(has)}
    spare = sorted(mine - _cells_of(given))
    changed: dict[str, set[_Cell]] = {}
    for cell in sorted(_cells_of(given) - mine):
        other = owner.get(cell)
        if other is not None:
            cells = changed.setdefault(other, set(_cells_of(placements[other])))
            cells.remove(cell)
            if spare:
                cells.add(spare.pop(0))
    return {lease: given} | {other: _placed(cells) for other, cells in changed.items()}


_Cell = tuple[str, int, int]
"""A GPU: domain, tray, index in the tray."""


def _cells_of(placement: Placement) -> frozenset[_Cell]:
    return frozenset((share.domain, share.tray, gpu) for share in placement for gpu in share.gpus)


def _placed(cells: Iterable[_Cell]) -> Placement:
    trays: dict[tuple[str, int], list[int]] = {}
    for domain, tray, gpu in sorted(cells):
        trays.setdefault((domain, tray), []).append(gpu)
    return tuple(Share(domain=domain, tray=tray, gpus=tuple(gpus)) for (domain, tray), gpus in trays.items())


def without_cells(domains: Iterable[Domain], taken: Iterable[Mapping[str, Cells]]) -> tuple[Domain, ...]:
    """Return the domains without GPUs of theirs, each mapping by the name of the domain."""
    closed = _together(taken)
    return tuple(domain.closed(closed[domain.name]) if domain.name in closed else domain for domain in domains)


def only_cells(domains: Iterable[Domain], wanted: Iterable[Mapping[str, Cells]]) -> tuple[Domain, ...]:
    """Return what the domains have of the trays of some GPUs, and nothing else."""
    named = _together(wanted)
    return tuple(domain.only(named[domain.name]) for domain in domains if domain.name in named)


def _together(parts: Iterable[Mapping[str, Cells]]) -> dict[str, Cells]:
    found: dict[str, Cells] = {}
    for part in parts:
        for name, cells in part.items():
            found[name] = found[name] | cells if name in found else cells
    return found


_Change = Callable[[frozenset[int], frozenset[int]], frozenset[int]]


def _changed(domains: Iterable[Domain], placements: Iterable[Placement], change: _Change) -> tuple[Domain, ...]:
    touched: dict[str, dict[int, frozenset[int]]] = {}
    for placement in placements:
        for share in placement:
            trays = touched.setdefault(share.domain, {})
            trays[share.tray] = trays.get(share.tray, frozenset()) | frozenset(share.gpus)
    return tuple(
        _with_trays(domain, touched[domain.name], change) if domain.name in touched else domain for domain in domains
    )


def _with_trays(domain: Domain, touched: Mapping[int, frozenset[int]], change: _Change) -> Domain:
    return replace(
        domain,
        trays=tuple(
            replace(tray, free=change(tray.free, touched[tray.index])) if tray.index in touched else tray
            for tray in domain.trays
        ),
    )


def _in_tray(gpus: int, domains: Sequence[Domain]) -> Placement | None:
    fitting = (domain.tightest[gpus] for domain in domains if gpus in domain.tightest)
    found = min(fitting, key=itemgetter(0), default=None)
    return None if found is None else (found[1],)


def _whole_halves(free: frozenset[int]) -> list[int]:
    """First GPUs of the superchips that are free as a whole."""
    return [gpu for gpu in sorted(free) if gpu % 2 == 0 and gpu + 1 in free]


def _pick(gpus: int, free: frozenset[int]) -> tuple[int, ...]:
    whole = _whole_halves(free)
    if gpus == SUPERCHIP_GPUS and whole:
        return (whole[0], whole[0] + 1)
    paired = {gpu for first in whole for gpu in (first, first + 1)}
    # GPUs whose neighbour is taken go first, so that superchips stay whole.
    return tuple(sorted(sorted(free, key=lambda gpu: (gpu in paired, gpu))[:gpus]))


def _in_domain(trays: int, domains: Sequence[Domain]) -> Placement | None:
    fitting = [domain for domain in domains if len(domain.whole_trays) >= trays]
    if not fitting:
        return None
    domain = min(fitting, key=lambda domain: len(domain.whole_trays))
    return _take(domain, trays)


def _segments(trays: int, domains: Sequence[Domain]) -> Placement | None:
    found: list[Share] = []
    by_room = sorted(domains, key=lambda domain: len(domain.whole_trays))
    for domain in by_room:
        segments = len(domain.whole_trays) // SEGMENT_TRAYS
        taken = min(segments * SEGMENT_TRAYS, trays)
        found.extend(_take(domain, taken))
        trays -= taken
        if not trays:
            return tuple(found)
    return None


def _take(domain: Domain, trays: int) -> Placement:
    return tuple(
        Share(domain=domain.name, tray=tray.index, gpus=tuple(sorted(tray.free))) for tray in domain.whole_trays[:trays]
    )
