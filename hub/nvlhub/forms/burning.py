"""Forms of burn-downs, and of how a pool is shared."""

from __future__ import annotations

from nvlhub.wire import View


class StandingView(View):
    """What stood of awards at a moment; milli-GPU-seconds. `left`: what was not charged, what was held included."""

    at: int
    awarded: int
    charged: int
    left: int


class BurnDown(View):
    """How awards were used up, day by day (UTC)."""

    since: int
    until: int
    points: list[StandingView]
    """At the end of each day, and now."""
    dry_at: int | None
    """When nothing is left of the awards that are valid now if use goes on as in the last 14 days; None: it lasts."""
    ends: int | None
    """When the last of the awards that are valid now ends; None: there is none."""


class ShareView(View):
    """What a programme has of a pool. Programmes that are not the visitor's are one row without a name."""

    programme: str
    name: str
    share: int | None
    """Its weight in the queue; None for those without a name."""
    gpus: int
    """Held now; pre-emptible ones are not in it."""
    preemptible_gpus: int
    gpu_seconds: int
    """Used in the last 30 days."""
