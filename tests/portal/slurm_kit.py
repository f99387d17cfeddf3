"""A spawner of Slurm jobs without a hub and without a Slurm."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from nvlhub.portal import slurm_spawner
from nvlhub.portal.slurm_queue import Scheduler
from nvlhub.portal.slurm_spawner import SlurmSpawner

Ran = tuple[str, tuple[str, ...], str]
SEPARATOR = "\x1f"
"""Stands for what squeue is told to put between its fields."""


def line(state: str = "RUNNING", reason: str = "None", node: str = "cpu001", start: str = "N/A", job: int = 7) -> str:
    """Return what squeue prints of a server's job."""
    fields = (
        job,
        state,
        "ann",
        "cpu",
        start,
        "N/A",
        "N/A",
        "0:01",
        node,
        "1",
        "N/A",
        reason,
        "x",
        "nvlhub-server:ann/",
    )
    return "".join(f"{field}{SEPARATOR}" for field in fields) + "\n"


class FakeCommands:
    """Answers commands from `says`: what sbatch, squeue, sacct, scontrol and scancel print, or an error."""

    def __init__(self, **says: Any) -> None:
        self.says: dict[str, Any] = {
            "sbatch": "7\n", "squeue": line(), "scontrol": "NodeName=cpu001 Arch=x NodeAddr=10.0.0.9 NodeHostName=x\n",
            "scancel": "", "sacct": "", **says,
        }  # fmt: skip
        self.ran: list[Ran] = []
        """Account (empty: the hub's own), words, and what was sent."""
        self.scheduler = Scheduler(self)  # type: ignore[arg-type]

    def ask(self, *command: str) -> str:
        return self.tell("", *command)

    def tell(self, account: str, *command: str, text: str = "") -> str:
        self.ran.append((account, command, text))
        answer = self.says[command[0]]
        if isinstance(answer, Exception):
            raise answer
        said = str(answer() if callable(answer) else answer)
        wanted = next((word for word in command if word.startswith("--format=%A")), "")
        return said.replace(SEPARATOR, wanted[len("--format=%A") : wanted.find("%T")])

    def of(self, command: str) -> list[Ran]:
        return [one for one in self.ran if one[1][0] == command]


def spawner(
    slurm: FakeCommands, monkeypatch: pytest.MonkeyPatch, user: str = "ann", server: str = "", **traits: Any
) -> SlurmSpawner:
    monkeypatch.setattr(slurm_spawner, "scheduler", lambda _commands: slurm.scheduler)
    monkeypatch.setattr(slurm_spawner, "EAGER", 0.01)
    person = SimpleNamespace(name=user, escaped_name=quote(user), url=f"/user/{quote(user)}/", spawners={})
    hub = SimpleNamespace(public_host="", api_url="http://hub:8081/hub/api", base_url="/hub/")
    orm = SimpleNamespace(name=server, server=None, user_options={})
    made = SlurmSpawner(user=person, hub=hub, orm_spawner=orm, **{"run_as": "hub", "api_token": "t" * 32, **traits})
    person.spawners[server] = made
    return made


async def started(one: SlurmSpawner, port: int = 5000) -> str:
    """Start it, with a server that says its port as soon as the job is known."""
    start = asyncio.ensure_future(one.start())
    while not one.job and not start.done():
        await asyncio.sleep(0.001)
    if not start.done():
        one.take_port(port)
    return await start
