"""A portal without a hub, as a process: ``python -m tests.benchmarks.ledger_portal DATABASE PORT``.

All else is as in production: settings, threads, log. 139 simulated domains, on which nothing is really started.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn
from fastapi import Request

from nvlhub.api import Doors, make_app
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import Portal, token_of
from nvlhub.settings import Settings
from nvlhub.visitor import Visitor

DOMAINS = 139
PREFIX = "/services/portal/"


def identify(request: Request) -> Visitor:
    """Take the token for the name: what is remembered of the hub's answers costs no more."""
    token = token_of(request)
    if not token.startswith(("user", "admin")):
        raise LoginNeededError("login-needed")
    return Visitor(token, admin=token == "admin")


def main(database: str, port: int) -> None:
    """Serve until told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s portal %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    portal = Portal(Settings(data=Path(), database=database), ScriptedEngine(SimulatedFloor(DOMAINS)))
    app = make_app(Doors(portal.desk, portal.registry, identify), PREFIX)
    portal.open()
    try:
        uvicorn.run(
            app, host="127.0.0.1", port=port, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
    finally:
        portal.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
