"""A real portal in a process of its own, which dies where it is told to: ``python -m tests.hammer.portal DATA URL PORT``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn
from fastapi import Request

from nvlhub.api import Doors, make_app
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.parent import follow_parent
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import Portal, token_of
from nvlhub.run import Runner
from nvlhub.settings import Settings
from nvlhub.store import Unit
from nvlhub.visitor import Visitor
from tests.hammer.engine import FileEngine
from tests.hammer.points import AFTER_END, AFTER_HOLD, AFTER_START, BEFORE_HOLD, Orders

CLIENTS = 16
TOKENS = {f"token-{number}": Visitor(f"client{number}") for number in range(CLIENTS)}
TRAYS = 4
"""16 GPUs: some wait for room."""
GRACE = 5


def identify(request: Request) -> Visitor:
    visitor = TOKENS.get(token_of(request))
    if visitor is None:
        raise LoginNeededError("login-needed")
    return visitor


def main(data: Path, url: str, port: int) -> None:
    follow_parent()
    logging.basicConfig(level=logging.ERROR)
    orders = Orders(data)
    Unit.hold = orders.before(BEFORE_HOLD, Unit.hold)  # type: ignore[method-assign]
    Runner.admitted = orders.before(AFTER_HOLD, Runner.admitted)  # type: ignore[method-assign]
    Unit.settle = orders.before(AFTER_END, Unit.settle)  # type: ignore[method-assign]
    engine = FileEngine(SimulatedFloor(1, TRAYS), data / "tasks", lambda: orders.obey(AFTER_START))
    portal = Portal(Settings(data=data, database=url, grace=GRACE, tick=0.1, sweep=5), engine)
    portal.open()
    app = make_app(Doors(portal.desk, portal.registry, identify), "/")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    portal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
