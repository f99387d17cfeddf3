"""Routes of how the portal itself is doing."""

from __future__ import annotations

from fastapi import APIRouter

from nvlhub.api.doors import Here, Who
from nvlhub.forms import HealthReport

router = APIRouter()


@router.get("/health/report")
def report(here: Here, who: Who) -> HealthReport:
    """Tell how starts went lately, what was refused since the portal began, and what waits for a person."""
    return here.registry.health.report(who)
