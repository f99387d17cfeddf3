"""A portal whose engine is a real Slurm: over HTTP with real kernels, or turned by hand with jobs that only sleep."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import AsyncKernelManager

from nvlhub.clock import SteadyClock
from nvlhub.engines.processes import of_lease
from nvlhub.engines.registry import make_engine
from nvlhub.engines.slurm.engine import SlurmEngine
from nvlhub.engines.slurm.private import Slurm
from nvlhub.forms import DifferenceView, NewReconciliation
from nvlhub.settings import Settings, SlurmSettings
from nvlhub.store import Store
from nvlhub.wire import LeaseView
from nvlkernels.specs import OfferKernelSpecManager
from tests.kernels.conftest import GRACE, Served
from tests.portal_kit import ADMIN, Kit
from tests.waiting import until

ME = pwd.getpwuid(os.geteuid()).pw_name
A, B = "daemon", "nobody"
"""Two accounts that every machine has."""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs jobs as several accounts")


def settings(data: Path, slurm: Slurm, *, told: dict[str, Any] | None = None, **more: Any) -> Settings:
    """Return what a portal on this Slurm is told; jobs run as whoever runs the tests.

    Its pool has a name of its own: accounting remembers the jobs of all tests.
    """
    section = {"conf": slurm.conf, "partition": "gpu", "simulated": True, "timeout": 2, **(told or {})}
    told_more = {"run_as": "portal", "grace": GRACE, "sweep": 5, "pool": f"t{uuid.uuid4().hex[:8]}", **more}
    return Settings(data=data, engine="slurm", slurm=SlurmSettings(**section), **told_more)


def jobs(slurm: Slurm, pool: str, *states: str) -> dict[str, list[int]]:
    """Return the jobs of each lease of a portal, by default those that wait or run."""
    which = f"--states={','.join(states)}" if states else "--states=PENDING,CONFIGURING,RUNNING,SUSPENDED"
    found: dict[str, list[int]] = {}
    for line in slurm.run("squeue", "-h", which, "-o", "%i|%k").splitlines():
        job, _, comment = line.partition("|")
        if comment.startswith(f"nvlhub:{pool}:"):
            found.setdefault(comment.rpartition(":")[2], []).append(int(job))
    return found


@dataclass
class ServedBySlurm(Served):
    """A portal over HTTP, its jobs real agents."""

    slurm: Slurm = field(kw_only=True)
    told: Settings | None = None

    def settings(self) -> Settings:
        self.told = self.told or settings(
            self.data, self.slurm, demo=True, tick=0.2, grace=self.grace, public_url=self.url
        )
        return self.told

    def jobs(self, *states: str) -> dict[str, list[int]]:
        return jobs(self.slurm, self.settings().pool, *states)

    def nothing_left(self, leases: list[str]) -> None:
        assert self.jobs() == {}
        until(lambda: not any(of_lease(lease) for lease in leases))


class Kernel:
    """One kernel as a notebook server has it, through the provisioner."""

    def __init__(self, name: str) -> None:
        self.manager: Any = AsyncKernelManager(kernel_name=name, kernel_spec_manager=OfferKernelSpecManager())
        self.client: Any = None

    async def start(self) -> None:
        await self.manager.start_kernel()
        await self.connect()

    async def connect(self) -> None:
        if self.client is not None:
            self.client.stop_channels()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=30)

    async def run(self, code: str, seconds: float = 60) -> str:
        """Return what the code printed, or the name of its error."""
        out: list[str] = []
        reply = await self.client.execute_interactive(
            code, timeout=seconds, output_hook=lambda message: out.append(message["content"].get("text", ""))
        )
        return reply["content"].get("ename") or "".join(out).strip()

    @property
    def lease(self) -> str:
        held = self.manager.provisioner.lease
        return held.id if held else ""

    async def stop(self) -> None:
        if self.client is not None:
            self.client.stop_channels()
        provisioner = self.manager.provisioner
        await self.manager.shutdown_kernel(now=True)
        if provisioner is not None:
            # A notebook server keeps it for as long as it lives.
            await provisioner._portal._http.aclose()


@contextlib.asynccontextmanager
async def kernel(name: str = "nvlhub-demo.gpu1") -> AsyncIterator[Kernel]:
    """Run a kernel for the length of the block."""
    made = Kernel(name)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


# --- by hand ----------------------------------------------------------------------------------------------------------

SLEEPER = "#!/bin/sh\n# An agent that lives until it is ended.\ncat > /dev/null\nexec sleep 900\n"


class WallClock(SteadyClock):
    """Time as it passes: nobody turns the clock of a real Slurm."""

    def forward(self, seconds: int) -> None:
        """Let it pass by itself."""


@dataclass
class Hand:
    """A portal whose loop is turned by hand, and whose jobs only sleep."""

    slurm: Slurm
    kit: Kit
    settings: Settings

    @property
    def engine(self) -> SlurmEngine:
        assert isinstance(self.kit.engine, SlurmEngine)
        return self.kit.engine

    def until(self, true: Any, seconds: float = 60) -> Any:
        """Turn the loop until it is so; everybody alive says so meanwhile. Returns what it found."""
        end = time.monotonic() + seconds
        while True:
            self.kit.step()
            if found := true():
                return found
            assert time.monotonic() < end, f"not true within {seconds} s: {self.kit.runner.board.leases}"
            time.sleep(0.1)

    def until_state(self, *leases: Any, state: str = "running", seconds: float = 60) -> None:
        self.until(lambda: {self.kit.seen(lease).state.value for lease in leases} == {state}, seconds)

    def until_ran(self, *leases: Any) -> None:
        """Wait until each has run for a second that can be counted."""
        self.until_state(*leases)
        names = ",".join(f"nvlhub-{self.settings.pool}-{lease.id}" for lease in leases)
        self.until(
            lambda: "0:00" not in self.slurm.run("squeue", "-h", "-t", "R", f"--name={names}", "-o", "%M").split()
        )

    def jobs(self, *states: str) -> dict[str, list[int]]:
        return jobs(self.slurm, self.settings.pool, *states)

    def restart(self) -> None:
        """Forget everything that the portal's process remembers."""
        made = make_engine(self.settings)
        self.kit.engine = made
        self.kit.restart()

    def differences(self, **since: int) -> list[DifferenceView]:
        """Return where the ledger and Slurm's accounting differ by more than nothing at all."""
        made = self.kit.registry.reconciling.run(ADMIN, NewReconciliation(**since))
        assert len(made.found) == sum(count for kind, count in made.counts.items() if kind != "matched")
        return made.found

    def exact(self) -> list[tuple[str, int, int]]:
        """Return the leases that are over and were charged other seconds than Slurm counted, each GPU's told apart."""
        counted = {
            record.lease_id: record.gpus * (record.ended_at - record.started_at)
            for record in self.engine.records(0)
            if record.ended_at is not None
        }
        with self.kit.store.reading() as unit:
            over = [lease for lease in unit.leases(per_page=10_000)[0] if not lease.active]
        return [
            (lease.id, lease.charged, 1000 * counted.get(lease.id, 0))
            for lease in over
            if lease.charged != 1000 * counted.get(lease.id, 0)
        ]

    def recorded(self, lease: LeaseView) -> int:
        """Return the seconds of a lease's job by Slurm's accounting; 0 while it does not say that it has ended."""
        name = f"nvlhub-{self.settings.pool}-{lease.id}"
        said = self.slurm.run("sacct", "-X", "-n", "-P", f"--name={name}", "-o", "End,ElapsedRaw").splitlines()
        return sum(int(line.split("|")[1]) for line in said if not line.startswith("Unknown"))

    def recorded_job(self, job: int) -> bool:
        """Tell whether accounting knows that a job has ended."""
        said = self.slurm.run("sacct", "-X", "-n", "-P", "-j", str(job), "-o", "End").split()
        return bool(said) and "Unknown" not in said

    def settled(self) -> None:
        """End everything and prove the books."""
        for lease_id in list(self.kit.runner.board.leases):
            self.kit.desk.end(ADMIN, lease_id)
        self.until(lambda: not self.kit.runner.board.leases)
        assert self.kit.broken() == []
        assert self.jobs() == {}


def hand(slurm: Slurm, directory: Path, **more: Any) -> Hand:
    """Return a portal on this Slurm, its data in `directory`."""
    directory.mkdir(exist_ok=True)
    sleeper = directory / "python"
    sleeper.write_text(SLEEPER)
    sleeper.chmod(0o755)
    made = settings(directory, slurm, kernel_python=str(sleeper), **more)
    store = Store(made.database_url)
    store.migrate()
    kit = Kit(store, WallClock(), make_engine(made), pool=made.pool)  # type: ignore[arg-type]
    return Hand(slurm, kit, made)
