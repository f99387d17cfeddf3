"""Routes of the fleet as one picture."""

from __future__ import annotations

from fastapi import APIRouter, Response

from nvlhub.api.doors import Here, Who, plain
from nvlhub.forms import FleetHolders, FleetView, HolderBy

router = APIRouter()


@router.get("/fleet", response_model=FleetView)
def fleet(here: Here, who: Who) -> Response:
    """Return what all GPUs do now, one byte each; it names nobody."""
    return plain(here.registry.fleet.view())


@router.get("/fleet/holders", response_model=FleetHolders)
def holders(here: Here, who: Who, by: HolderBy = "programme") -> Response:
    """Tell administrators who holds the GPUs, and who holds them for nothing."""
    return plain(here.registry.fleet.holders(who, by))
