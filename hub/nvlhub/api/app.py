"""HTTP in, desk or registry, HTTP out."""

from __future__ import annotations

from fastapi import FastAPI

from nvlhub import __version__
from nvlhub.api import awards, capacity, directory, exchange, leases, ledger
from nvlhub.api.bounded import Bounded
from nvlhub.api.doors import Doors
from nvlhub.api.problems import add_handlers
from nvlhub.wire import Problem


def make_app(doors: Doors, prefix: str) -> FastAPI:
    """Return the application with the API under `prefix` + ``api/v1``; pages are added by :mod:`nvlhub.portal.pages`."""
    api = f"{prefix.rstrip('/')}/api/v1"
    app = FastAPI(
        title="nvlhub", version=__version__, docs_url=None, redoc_url=None, openapi_url=f"{api}/openapi.json",
        responses={"default": {"model": Problem, "description": "Problem document (RFC 9457)"}},
    )  # fmt: skip
    app.state.doors = doors
    for part in (leases, directory, awards, capacity, ledger, exchange):
        app.include_router(part.router, prefix=api)
    app.add_middleware(Bounded)
    add_handlers(app)
    return app
