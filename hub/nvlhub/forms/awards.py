"""Forms of requests, reviews and awards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from nvlhub.flow.awarding import AwardState, RequestKind, RequestState
from nvlhub.forms.base import GpuCap, GpuHours, Reason, Time, Words
from nvlhub.wire import Slug, Strict, View


class NewAward(Strict):
    """Body of ``POST /awards``: an award without a request."""

    project: Slug
    pool: Slug
    gpu_hours: GpuHours
    starts: Time
    ends: Time
    cap: GpuCap | None = None


class AwardPatch(Strict):
    """Body of ``PATCH /awards/{id}``: what is left out stays."""

    ends: Time = 0
    cap: GpuCap | None = None


class Revocation(Strict):
    """Body of ``POST /awards/{id}/revoke``."""

    reason: Reason


class AwardView(View):
    """An award and what stands of it; milli-GPU-seconds."""

    id: str
    project: str
    programme: str
    pool: str
    state: AwardState
    awarded: int
    """What it has now; what it gave back is not in it."""
    returned: int
    charged: int
    held: int
    left: int
    starts: int
    ends: int
    cap: int | None = None
    """GPUs held at once; None = no cap."""
    revoked_at: int | None = None
    request: str | None = None
    dry_at: int | None = None
    """When nothing is left if use goes on as in the last 14 days; None: it lasts until its end."""


class NewRequest(Strict):
    """Body of ``POST /requests`` and, for one sent back for revision, of ``PUT /requests/{id}``.

    new: pool, gpu_hours, starts, ends, perhaps cap. renewal: the same with `award`, the one before. extension: award,
    ends. supplement: award, gpu_hours. transfer: award, gpu_hours and pool, where they are to go.
    """

    project: Slug
    kind: RequestKind
    pool: Slug | None = None
    gpu_hours: GpuHours | None = None
    starts: Time | None = None
    ends: Time | None = None
    cap: GpuCap | None = None
    award: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}$")] | None = None
    reasons: Words


class Review(Strict):
    """Body of ``POST /requests/{id}/reviews``. `gpu_hours`: what is awarded, at most what was asked for."""

    verdict: Literal["approve", "decline", "revise"]
    gpu_hours: GpuHours | None = None
    reason: Words


class ReviewView(View):
    """What a reviewer said; `amount` in milli-GPU-seconds."""

    reviewer: str
    verdict: str
    amount: int | None
    reason: str
    at: int


class RequestView(View):
    """A request and what was said of it; `amount` in milli-GPU-seconds."""

    id: str
    project: str
    programme: str
    kind: RequestKind
    state: RequestState
    pool: str
    amount: int
    starts: int | None
    ends: int | None
    cap: int | None
    award: str | None
    """The award that is renewed, extended, supplemented or taken from."""
    reasons: str
    asked_by: str
    asked_at: int
    result: str | None
    """The award that came of it."""
    reviews: list[ReviewView]
