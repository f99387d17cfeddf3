"""HTTP in, desk or registry, HTTP out."""

from __future__ import annotations

from functools import cache, partial

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from nvlhub import __version__
from nvlhub.api import (
    announcements,
    assessing,
    awards,
    board,
    burning,
    capacity,
    certificates,
    courses,
    directory,
    exchange,
    fleet,
    health,
    leases,
    ledger,
    profiles,
    reconciling,
    reports,
    reservations,
    seats,
    telemetry,
)
from nvlhub.api.bounded import Bounded
from nvlhub.api.document import describe
from nvlhub.api.doors import Doors, once
from nvlhub.api.problems import add_handlers


def make_app(doors: Doors, prefix: str) -> FastAPI:
    """Return the application with the API under `prefix` + ``api/v1``; pages are added by :mod:`nvlhub.portal.pages`."""
    api = f"{prefix.rstrip('/')}/api/v1"
    app = FastAPI(
        title="nvlhub", version=__version__, docs_url=None, redoc_url=None, openapi_url=f"{api}/openapi.json",
        description="Times are Unix seconds, amounts milli-GPU-seconds; what people fill in is in whole GPU-hours.",
    )  # fmt: skip
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.state.doors = doors
    app.router.routes.extend(_routes(api))
    app.add_middleware(Bounded)
    add_handlers(app)
    return app


@cache
def _routes(api: str) -> tuple[BaseRoute, ...]:
    """Return the routes of the API, which know no application: to read the signatures of them all takes most of a second."""
    whole = APIRouter()
    for part in (
        leases, directory, awards, capacity, ledger, reconciling, reports, exchange, fleet, telemetry, announcements, reservations,
        burning, health, profiles, courses, seats, board, assessing, certificates,
    ):  # fmt: skip
        whole.include_router(part.router, prefix=api, dependencies=[Depends(once)])
    return tuple(whole.routes)
