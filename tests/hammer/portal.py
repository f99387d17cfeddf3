"""A real portal in a process of its own, which dies where it is told to: ``python -m tests.hammer.portal DATA URL PORT [CONF]``.

Its tasks are files, or with the slurm.conf of a cluster jobs there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Request

from nvlhub.api import Doors, make_app
from nvlhub.engines.base import Engine
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.registry import make_engine
from nvlhub.engines.slurm.commands import Commands
from nvlhub.parent import follow_parent
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import Portal, token_of
from nvlhub.run import Runner
from nvlhub.settings import Settings, SlurmSettings
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


def settings(data: Path, url: str, conf: Path | None) -> Settings:
    told: dict[str, Any] = {"data": data, "database": url, "grace": GRACE, "tick": 0.1, "sweep": 5}
    if conf is None:
        return Settings(**told)
    section = SlurmSettings(conf=conf, partition="gpu", simulated=True)
    # Accounting remembers the jobs of other tests: the pool tells them apart.
    return Settings(
        **told, engine="slurm", slurm=section, run_as="portal", pool=data.name, kernel_python=str(data / "python")
    )  # fmt: skip


def make(settings: Settings, orders: Orders) -> Engine:
    def started() -> None:
        orders.obey(AFTER_START)

    if settings.engine != "slurm":
        return FileEngine(SimulatedFloor(1, TRAYS), settings.data / "tasks", started)
    tell = Commands.tell

    def telling(commands: Commands, account: str, *words: str, text: str = "") -> str:
        said = tell(commands, account, *words, text=text)
        if words[0] == "sbatch":
            started()
        return said

    Commands.tell = telling  # type: ignore[method-assign]
    return make_engine(settings)


def main(data: Path, url: str, port: int, conf: Path | None = None) -> None:
    follow_parent()
    logging.basicConfig(level=logging.ERROR)
    orders = Orders(data)
    Unit.hold = orders.before(BEFORE_HOLD, Unit.hold)  # type: ignore[method-assign]
    Runner.admitted = orders.before(AFTER_HOLD, Runner.admitted)  # type: ignore[method-assign]
    Unit.settle = orders.before(AFTER_END, Unit.settle)  # type: ignore[method-assign]
    told = settings(data, url, conf)
    portal = Portal(told, make(told, orders))
    portal.open()
    app = make_app(Doors(portal.desk, portal.registry, identify), "/")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    portal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(Path, sys.argv[4:]))
