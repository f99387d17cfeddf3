"""A spawner of Slurm jobs without a hub and without a Slurm."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from nvlhub.portal import slurm_spawner
from nvlhub.portal.slurm_queue import Slurm, SlurmError
from nvlhub.portal.slurm_spawner import SlurmSpawner

ME = pwd.getpwuid(os.geteuid()).pw_name


class FakeSlurm(Slurm):
    """Answers commands from `says`: what sbatch, squeue, sacct, scontrol and scancel print, or an error."""

    def __init__(self, **says: str | SlurmError | Callable[[], str]) -> None:
        super().__init__()
        self.says: dict[str, Any] = {
            "sbatch": "7", "squeue": "7|RUNNING|None|cpu001|N/A", "scontrol": "NodeName=cpu001 NodeAddr=10.0.0.9 Port=1",
            "scancel": "", "sacct": SlurmError("no accounting"), **says,
        }  # fmt: skip
        self.ran: list[dict[str, Any]] = []

    async def run(self, *argv: str, account: Any = None, prefix: Any = (), text: str = "", **more: str) -> str:
        self.ran.append({"argv": argv, "account": account, "prefix": list(prefix), "text": text})
        await asyncio.sleep(0)
        answer = self.says[argv[0]]
        if isinstance(answer, SlurmError):
            raise answer
        return answer() if callable(answer) else answer

    def of(self, command: str) -> list[dict[str, Any]]:
        return [one for one in self.ran if one["argv"][0] == command]


def spawner(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, user: str = "ann", server: str = "", **traits: Any) -> SlurmSpawner:
    monkeypatch.setattr(slurm_spawner, "slurm", lambda conf="": slurm)
    monkeypatch.setattr(slurm_spawner, "EAGER", 0.01)
    person = SimpleNamespace(name=user, escaped_name=quote(user), url=f"/user/{quote(user)}/", spawners={})
    hub = SimpleNamespace(public_host="", api_url="http://hub:8081/hub/api", base_url="/hub/")
    orm = SimpleNamespace(name=server, server=None, user_options={})
    made = SlurmSpawner(user=person, hub=hub, orm_spawner=orm, **{"run_as": "hub", "api_token": "t" * 32, **traits})
    person.spawners[server] = made
    return made


async def started(spawner: SlurmSpawner, port: int = 5000) -> str:
    """Start it, with a server that says its port as soon as the job is known."""
    start = asyncio.ensure_future(spawner.start())
    while not spawner.job and not start.done():
        await asyncio.sleep(0)
    if not start.done():
        spawner.take_port(port)
    return await start
