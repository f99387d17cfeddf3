"""One lease of a cluster: its node agents, and a Dask worker on each of its GPUs.

Dask asks for a thing that can be started and closed (``ProcessInterface``). A start only begins it: the lease may wait in the
queue, and nobody is kept waiting for that. A worker that ends although the cluster wants it is started again inside its lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from nvlhub.wire import Beat, LeaseView, State
from nvlkernels.client import Portal, PortalDownError, PortalError
from nvlkernels.mailbox import Mailbox, Run

DEATHS = 5
"""Ends within :data:`DEATHS_WITHIN` seconds after which a worker is not started again."""
DEATHS_WITHIN = 60.0
SETTLED = 3.0
"""Seconds to wait for a lease that was given back to be settled."""


class Crew(Protocol):
    """What a lease needs of its cluster."""

    mailbox: Mailbox
    portal: Portal

    def start_message(self, name: str, device: str) -> dict[str, Any]:
        """Return what the agent must know to start the worker `name`."""
        ...

    async def retire(self, names: list[str]) -> None:
        """Have the scheduler move data away from workers and let them go."""
        ...

    def wants(self, name: str) -> bool:
        """Tell whether the lease called `name` still belongs to the cluster."""
        ...

    def ended(self, lease: LeaseView) -> None:
        """Hear that a lease was given back, as it is then."""
        ...

    def lacks(self, worker: LeaseWorker, devices: int) -> None:
        """Hear that the agents of a lease have another number of GPUs than it holds."""
        ...

    def gave_up(self, worker: LeaseWorker, tail: str) -> None:
        """Hear that a worker ended too often; `tail` is the end of what it wrote."""
        ...


class LeaseWorker(ProcessInterface):
    """The workers of one lease."""

    def __init__(self, scheduler: str, name: str, *, lease: LeaseView, crew: Crew) -> None:
        super().__init__(scheduler, name)
        self.name = name
        self.lease = lease
        """As the portal last told it."""
        self._crew = crew
        # Asked for once: whoever asked again after it was dropped would make another one.
        self._line = crew.mailbox.line(lease.id)
        self._runs: dict[str, Run] = {}
        self._living: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; return at once."""
        self._living = asyncio.create_task(self._live())
        self.status = Status.running

    async def _live(self) -> None:
        # As its nodes call them: what the portal shows may be called otherwise.
        devices = (await self._line.hello)["devices"]
        if len(devices) != self.lease.gpus:
            self._crew.lacks(self, len(devices))
            return
        names = worker_names(self.name, len(devices))
        self._runs = {name: self._line.run(name) for name in names}
        together = (self._keep(name, device) for name, device in zip(names, devices, strict=True))
        await asyncio.gather(*together)

    async def _keep(self, name: str, device: str) -> None:
        """Have a worker run until the cluster no longer wants it, or its agent is gone."""
        run, deaths = self._runs[name], deque[float](maxlen=DEATHS)
        while self._crew.wants(self.name):
            said = await run.start(**self._crew.start_message(name, device), devices=[device], cwd=_here())
            if said["kind"] == "started":
                await run.ended.wait()
            exited = run.exited or said
            if exited.get("phase") == "bye":
                return
            deaths.append(time.monotonic())
            if len(deaths) == DEATHS and deaths[-1] - deaths[0] < DEATHS_WITHIN:
                self._crew.gave_up(self, str(exited.get("tail", "")))
                return

    @property
    def speaks(self) -> bool:
        """Whether its agents give signs of life, or were not to be heard yet."""
        return self._line.speaks

    def beat(self, idle_seconds: int) -> Beat:
        """Return a sign of life of the lease."""
        return self._line.beat("running" if self._line.hello.done() else "starting", idle_seconds)

    def restart(self, name: str) -> None:
        """Have a worker that hangs killed; it starts again inside the lease."""
        if (run := self._runs.get(name)) is not None:
            run.signal(signal.SIGKILL)

    async def close(self) -> None:
        """End the workers and give the lease back. Does no harm when repeated."""
        if self.status in {Status.closing, Status.closed}:
            return
        self.status = Status.closing
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])
        if len(self._runs) > 1:
            # Dask retires by the name of the lease, which no worker of a gang has.
            await self._crew.retire(list(self._runs))
        # The portal first: an agent that leaves before its lease was given back looks lost. A portal that is down hears the
        # silence of the lease instead.
        with contextlib.suppress(PortalDownError, PortalError):
            self.lease = await self._crew.portal.end(self.lease.id)
        self._line.say("exit")
        with contextlib.suppress(PortalDownError, PortalError):
            # Who closes a cluster and makes another one finds the GPUs and the caps free.
            until = time.monotonic() + SETTLED
            while self.lease.state is not State.SETTLED and time.monotonic() < until:
                await asyncio.sleep(0.05)
                self.lease = await self._crew.portal.lease(self.lease.id)
        self._crew.mailbox.drop(self.lease.id)
        self._crew.ended(self.lease)
        await super().close()


def worker_names(lease_name: str, gpus: int) -> list[str]:
    """Return the names of a lease's workers as Dask sees them: the lease's own when it has one GPU."""
    return [lease_name] if gpus == 1 else [f"{lease_name}-{number}" for number in range(gpus)]


def _here() -> str | None:
    with contextlib.suppress(OSError):
        return str(Path.cwd())
    return None
