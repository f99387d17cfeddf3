"""Balance and caps x request -> a hold, or a refusal that says what would be allowed.

A pre-emptible start holds nothing and counts against no cap; the programme must allow it, and an award must be valid.

Which award pays is fixed: the one that ends first, then the oldest, among those that last until the deadline and
have enough left. One lease is paid by one award.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvlhub.flow.placement import GPUS_PER_TRAY
from nvlhub.flow.request import SHORTEST, Request

OVER = frozenset({"balance-too-low", "cap-user", "cap-member", "cap-project", "cap-programme", "cap-award"})
"""Refusals of what would be too much; a pre-emptible start is not too much."""
OWN = frozenset({"cap-user", "cap-member"})
"""Caps on what one user holds."""


@dataclass(frozen=True, slots=True)
class Award:
    """GPU-hours given to a project in one pool; amounts in milli-GPU-seconds, times in Unix seconds."""

    id: int
    awarded: int
    charged: int
    held: int
    starts: int
    ends: int
    cap: int | None = None
    """GPUs held at once; None = no cap."""
    revoked: bool = False

    def pays(self, now: int) -> bool:
        """Tell whether starts may be paid from it now."""
        return not self.revoked and self.starts <= now < self.ends

    @property
    def left(self) -> int:
        """What can still be set aside."""
        return self.awarded - self.charged - self.held


@dataclass(frozen=True, slots=True)
class InUse:
    """GPUs held now, waiting starts included: they will be held as soon as there is room."""

    user: int = 0
    """By this user in this project."""
    project: int = 0
    """By all its members; like those of the programme and of awards, without what the slots of runs pay for."""
    programme: int = 0
    awards: Mapping[int, int] = field(default_factory=dict)
    everywhere: int = 0
    """By this user in all projects together."""

    def plus(self, award: int, gpus: int) -> InUse:
        """Return what is held when `award` pays for `gpus` more."""
        awards = {**self.awards, award: self.awards.get(award, 0) + gpus}
        return InUse(self.user + gpus, self.project + gpus, self.programme + gpus, awards, self.everywhere + gpus)


@dataclass(frozen=True, slots=True)
class Hold:
    """What is set aside, and from which award."""

    request: Request
    award: int
    units: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a start may not be, in numbers; `slug` names the sentence."""

    slug: str
    members: Mapping[str, int | str | bool | None]


def admit(request: Request, awards: Sequence[Award], in_use: InUse, now: int) -> Hold | Refusal:
    """Decide on a request; `awards` are those of its project in its pool, oldest first."""
    if request.slot is not None:
        return _admit_to_slot(request, request.slot, in_use, now)
    if request.preemptible and not request.project.low_priority:
        return Refusal("preemptible-off", _facts(request, 0, None, now))
    paying = [award for award in awards if award.pays(now)]
    if not paying:
        return Refusal("no-award", _facts(request, 0, None, now, ends=max((a.ends for a in awards), default=None)))
    capped = None if request.preemptible else _over_cap(request, in_use)
    if capped is not None:
        slug, cap, used = capped
        left = max(award.left for award in paying)
        return Refusal(slug, _facts(request, left, cap - used, now, cap=cap, in_use=used))
    for award in sorted(paying, key=lambda award: award.ends):
        room = None if request.preemptible else _award_room(award, in_use)
        if (
            award.left >= request.hold
            and now + request.seconds <= award.ends
            and (room is None or room >= request.gpus)
        ):
            return Hold(request=request, award=award.id, units=request.hold)
    return _why_none_pays(request, paying, in_use, now)


def _admit_to_slot(request: Request, award: int, in_use: InUse, now: int) -> Hold | Refusal:
    """Admit what a slot pays for: it was approved for all of them, so only caps of the user's own count."""
    broken = [cap for cap in _caps(request, in_use) if cap[0] in OWN and cap[2] + request.gpus > cap[1]]
    if not broken:
        return Hold(request=request, award=award, units=0)
    slug, cap, used = min(broken, key=lambda cap: cap[1] - cap[2])
    left = request.gpus * request.seconds * request.factor_milli
    return Refusal(slug, _facts(request, left, cap - used, now, cap=cap, in_use=used))


def admit_together(
    request: Request, count: int, awards: Sequence[Award], in_use: InUse, now: int
) -> tuple[Hold, ...] | Refusal:
    """Decide on `count` requests of one shape: all are held, each paid by one award, or the refusal counts them all.

    A refusal says by ``low_priority`` that they could be pre-emptible.
    """
    if request.preemptible and request.project.low_priority:
        as_usual = _admit_all(replace(request, preemptible=False), count, awards, in_use, now)
        if not isinstance(as_usual, Refusal):
            # Nobody uses for nothing what they can pay for.
            return Refusal("preemptible-unneeded", _facts(request, 0, None, now))
    decided = _admit_all(request, count, awards, in_use, now)
    if isinstance(decided, Refusal) and decided.slug in OVER:
        yielding = admit(replace(request, preemptible=True), awards, in_use, now)
        if isinstance(yielding, Hold):
            return Refusal(decided.slug, {**decided.members, "low_priority": True})
    return decided


def _admit_all(
    request: Request, count: int, awards: Sequence[Award], in_use: InUse, now: int
) -> tuple[Hold, ...] | Refusal:
    holds: list[Hold] = []
    left, used = awards, in_use
    while len(holds) < count:
        decided = admit(request, left, used, now)
        if isinstance(decided, Refusal):
            return decided if count == 1 else _refused_together(request, count, len(holds), awards, in_use, now)
        holds.append(decided)
        left = [
            replace(award, held=award.held + decided.units) if award.id == decided.award else award for award in left
        ]
        used = used.plus(decided.award, request.gpus)
    return tuple(holds)


def _refused_together(
    request: Request, count: int, allowed: int, awards: Sequence[Award], in_use: InUse, now: int
) -> Refusal:
    """Return the refusal of all `count` as if they were one request, of which `allowed` would be granted."""
    title = f"{count} × {request.profile.display_name}"
    whole = replace(
        request, gpus=count * request.gpus, profile=replace(request.profile, display_name=title)
    )  # fmt: skip
    refused = admit(whole, awards, in_use, now)
    # What one award pays for as a whole it also pays for in parts, so the whole is never granted here.
    assert isinstance(refused, Refusal)  # noqa: S101
    more = {"largest_count": allowed, "largest_gpus": allowed * request.gpus, "longest_gpus": 0, "longest_seconds": 0}
    if refused.slug == "balance-too-low":
        seconds = int(refused.members["left"] or 0) // (whole.gpus * whole.factor_milli)
        if seconds >= SHORTEST:
            more |= {"longest_gpus": whole.gpus, "longest_seconds": seconds}
    return Refusal(refused.slug, {**refused.members, "count": count, **more})


def _why_none_pays(request: Request, paying: Sequence[Award], in_use: InUse, now: int) -> Refusal:
    best = max(paying, key=lambda award: award.left)
    if best.left < request.hold:
        return Refusal("balance-too-low", _facts(request, best.left, _cap_room(request, in_use), now))
    lasting = [award for award in paying if now + request.seconds <= award.ends and award.left >= request.hold]
    if not lasting:
        longest = max(award.ends for award in paying if award.left >= request.hold) - now
        return Refusal("award-ends-first", _facts(request, best.left, _cap_room(request, in_use), now, ends_in=longest))
    award = lasting[0]
    used = in_use.awards.get(award.id, 0)
    room = _award_room(award, in_use)
    return Refusal("cap-award", _facts(request, award.left, room, now, cap=award.cap, in_use=used))


def _award_room(award: Award, in_use: InUse) -> int | None:
    return None if award.cap is None else award.cap - in_use.awards.get(award.id, 0)


def _caps(request: Request, in_use: InUse) -> list[tuple[str, int, int]]:
    project = request.project
    caps = (
        ("cap-user", project.user_cap, in_use.everywhere),
        ("cap-member", project.member_cap, in_use.user),
        ("cap-project", project.cap, in_use.project),
        ("cap-programme", project.programme_cap, in_use.programme),
    )
    return [(slug, cap, used) for slug, cap, used in caps if cap is not None]


def _over_cap(request: Request, in_use: InUse) -> tuple[str, int, int] | None:
    """Return the tightest cap that the request would break."""
    broken = [cap for cap in _caps(request, in_use) if cap[2] + request.gpus > cap[1]]
    return min(broken, key=lambda cap: cap[1] - cap[2], default=None)


def _cap_room(request: Request, in_use: InUse) -> int | None:
    return min((cap - used for _, cap, used in _caps(request, in_use)), default=None)


def _facts(
    request: Request, left: int, room: int | None, now: int, **more: int | str | None
) -> Mapping[str, int | str | None]:
    """Return what was asked, what it would hold, what is left, and the largest starts that would be allowed.

    `room` is how many more GPUs the caps allow; None = as many as one likes.
    """
    room = request.profile.gpus if room is None else max(0, min(room, request.profile.gpus))
    per_gpu = request.seconds * request.factor_milli
    gpus = _shape(min(room, left // per_gpu))
    at_asked = min(request.gpus, _shape(room)) or 0
    seconds = min(request.seconds, left // (at_asked * request.factor_milli)) if at_asked else 0
    return {
        "project": request.project.name,
        "profile": request.profile.display_name,
        "gpus": request.gpus,
        "seconds": request.seconds,
        "hold": request.hold,
        "left": left,
        "largest_gpus": gpus,
        "longest_gpus": at_asked if seconds >= SHORTEST else 0,
        "longest_seconds": seconds if seconds >= SHORTEST else 0,
        "now": now,
        **more,
    }


def _shape(gpus: int) -> int:
    """Return the largest number of GPUs up to `gpus` that can be placed: up to a tray, or whole trays."""
    return gpus if gpus <= GPUS_PER_TRAY else gpus - gpus % GPUS_PER_TRAY
