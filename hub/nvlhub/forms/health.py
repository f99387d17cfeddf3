"""Forms of how the portal itself is doing."""

from __future__ import annotations

from typing import Literal

from nvlhub.wire import EndReason, View


class RefusedView(View):
    """Starts that were refused for one reason, since the portal began."""

    slug: str
    count: int


class EndedView(View):
    """Leases that ended in the last 24 hours for one reason."""

    reason: EndReason
    count: int


class TookView(View):
    """Starts of the last 24 hours that took less than `below` seconds, and no less than the one before; null: the rest."""

    below: int | None
    count: int


class ProofView(View):
    """When the ledger was last verified, and whether it was right."""

    at: int
    ok: bool


class HealthReport(View):
    """How the portal is doing: counts since it began, and what became of leases in the last 24 hours. Seconds."""

    version: str
    engine: str
    simulated: bool
    engine_away: bool = False
    """Whether the engine does not answer now."""
    database: Literal["sqlite", "postgresql"]
    now: int
    up: int
    admitted: int
    refused: list[RefusedView]
    """Since the portal began, the most frequent first."""
    since: int
    """From when on starts and ends are told."""
    started: int
    start_median: int | None
    """From room to running; null: nothing started."""
    start_most: int | None
    """95 of 100 took no longer."""
    took: list[TookView]
    ended: list[EndedView]
    turns: int
    turn_mean: float | None
    """Of the run loop."""
    turn_ago: float | None
    active: int
    waiting: int
    differences_open: int
    proof: ProofView | None
    """Null: not verified since the portal began."""
