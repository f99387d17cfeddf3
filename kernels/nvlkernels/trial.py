"""A trial start of one version of a profile: the way of a kernel, with a tiny task instead of one.

    python -m nvlkernels.trial PROFILE --project P [--version N]     prints a line of JSON for each step

mailbox ─► lease asked for ─► room ─► the agent's hello ─► a Python task that prints its GPUs ─► lease given back ─► charge

The project pays for the seconds that it takes. Whatever happens, the lease is given back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from nvlhub.text import say
from nvlhub.wire import MILLI_PER_GPU_HOUR, Beat, LeaseAsk, LeaseView, State, gpu_hours
from nvlkernels.client import Portal, PortalDownError, PortalError
from nvlkernels.mailbox import Line, Mailbox

PATIENCE = 120.0
"""Seconds to wait for room, and again for the agent."""
LONGEST = 300
"""Seconds that are paid for at most."""
RUN = 60.0
"""Seconds that the task may take."""
POLL = 1.0
"""Seconds between two looks, each of them a sign of life."""
SETTLED = 15.0
"""Seconds to wait for the charge."""
TASK = """
import hashlib, json, os
names = [name for name in os.environ.get("NVLHUB_DEVICES", "").split(",") if name]
print(json.dumps({"devices": len(names), "sum": hashlib.sha256(",".join(names).encode()).hexdigest()}))
"""
"""Says which GPUs it sees: in few words, because only the end of what it writes comes back."""
SHOWN = 8
"""Names of GPUs that are told."""
KEPT = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "TZ")
"""Variables of this process that the task gets: never its token."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was reached, or what went wrong."""

    name: str
    seconds: float
    """Since the trial began."""
    text: str
    ok: bool = True


class TrialError(Exception):
    """The trial cannot go on; the text is for people."""


class Trial:
    """One trial start."""

    def __init__(
        self, portal: Portal, tell: Callable[[Step], None], *, project: str, profile: str, version: int | None = None,
        bind: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self._portal = portal
        self._tell = tell
        self._project = project
        self._profile = profile
        self._version = version
        self._bind = bind
        self._begun = time.monotonic()
        self._lease: LeaseView | None = None

    def _reached(self, name: str, *, ok: bool = True, **members: object) -> None:
        text = say(f"trial-{name}", self._portal.lang, **members)
        self._tell(Step(name, round(time.monotonic() - self._begun, 1), text, ok=ok))

    def _failed(self, name: str, text: str) -> None:
        self._tell(Step(name, round(time.monotonic() - self._begun, 1), text, ok=False))

    async def run(self) -> bool:
        """Take all steps; return whether all went well. Told to stop, it gives the lease back first."""
        mailbox = Mailbox(self._bind)
        try:
            self._reached("mailbox", address=mailbox.address.address)
            await self._start(mailbox)
            well = True
        except (TrialError, PortalError, PortalDownError) as error:
            self._failed("failed", str(error))
            well = False
        except asyncio.CancelledError:
            self._reached("stopped", ok=False)
            raise
        finally:
            if self._lease is not None:
                mailbox.line(self._lease.id).say("exit")
                await self._give_back(self._lease)
            mailbox.close()
        return well

    async def _start(self, mailbox: Mailbox) -> None:
        ask = LeaseAsk(
            project=self._project, profile=self._profile, version=self._version, seconds=await self._seconds(),
            label="trial", mailbox=mailbox.address,
        )  # fmt: skip
        self._lease = lease = await self._portal.ask(ask, uuid.uuid4().hex)
        self._reached("asked", lease=lease.id, gpus=str(lease.gpus), hours=gpu_hours(lease.held))
        line = mailbox.line(lease.id)
        await self._room()
        await self._task(line, await self._hello(line))

    async def _seconds(self) -> int | None:
        """Return how long to ask for: a little, or all that a version has which has less."""
        found = await self._portal.profile(self._profile)
        for row in found["versions"]:
            if row["version"] == self._version or (self._version is None and row["published"]):
                return min(LONGEST, int(row["longest"]))
        return None

    async def _look(self, phase: Any) -> LeaseView:
        """Give a sign of life and return the lease. Raises `TrialError` when it has ended."""
        if self._lease is None:
            raise TrialError(say("trial-stopped", self._portal.lang))
        await self._portal.beat(self._lease.id, Beat(phase=phase))
        self._lease = lease = await self._portal.lease(self._lease.id)
        if lease.end_reason is not None:
            raise TrialError(say("trial-ended", self._portal.lang, detail=lease.detail))
        return lease

    async def _room(self) -> None:
        until, waits = time.monotonic() + PATIENCE, False
        while (lease := await self._look("starting")).state is State.HELD:
            if not waits:
                self._reached("waiting")
                waits = True
            if time.monotonic() > until:
                raise TrialError(say("trial-silent", self._portal.lang, seconds=str(int(PATIENCE))))
            await asyncio.sleep(POLL)
        where = ", ".join(f"{share.domain}/{share.tray}" for share in lease.placement)
        self._reached("placed", where=where)

    async def _hello(self, line: Line) -> list[str]:
        """Wait for the agents; return the devices of the first, which runs the task."""
        until = time.monotonic() + PATIENCE
        while not line.hello.done():
            if time.monotonic() > until:
                raise TrialError(say("trial-silent", self._portal.lang, seconds=str(int(PATIENCE))))
            await asyncio.wait([line.hello], timeout=POLL)
            await self._look("starting")
        hello = line.hello.result()
        self._reached("hello", host=str(hello.get("host", ""))[:100])
        return line.first

    async def _task(self, line: Line, devices: list[str]) -> None:
        """Run the task, which has to see the devices that the agent has."""
        run = line.run()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        run.start(argv=[sys.executable, "-c", TASK], env=environment, cwd=None, tell=True)
        until = time.monotonic() + RUN
        while run.exited is None and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), POLL)
            if run.exited is None:
                await self._look("running")
        said = run.exited or {}
        tail = str(said.get("tail", "")).strip()
        if said.get("rc") != 0:
            raise TrialError(say("trial-failed", self._portal.lang, rc=str(said.get("rc")), tail=tail[-500:]))
        expected = {"devices": len(devices), "sum": hashlib.sha256(",".join(devices).encode()).hexdigest()}
        if tail != json.dumps(expected):
            raise TrialError(say("trial-devices", self._portal.lang, devices=tail[-200:]))
        shown = ", ".join([*devices[:SHOWN], *(["…"] if len(devices) > SHOWN else [])])
        self._reached("ran", devices=shown or say("trial-none", self._portal.lang))

    async def _give_back(self, lease: LeaseView) -> None:
        with contextlib.suppress(PortalDownError, PortalError):
            lease = await self._portal.end(lease.id)
            self._reached("back")
            until = time.monotonic() + SETTLED
            while lease.state is not State.SETTLED and time.monotonic() < until:
                await asyncio.sleep(0.1)
                lease = await self._portal.lease(lease.id)
            paid = lease.charged - lease.refunded
            seconds = paid // (lease.gpus * lease.factor_milli)
            self._reached(
                "charged", project=lease.project, charged=_exact(paid), gpus=str(lease.gpus), seconds=str(seconds)
            )


def _exact(amount: int) -> str:
    """Return an amount in GPU-hours of which two decimals would say nothing."""
    return f"{amount / MILLI_PER_GPU_HOUR:.4f}"


async def trial(environment: dict[str, str], tell: Callable[[Step], None], **told: Any) -> bool:
    """Make a trial start with a portal and a token as they stand in `environment`; return whether all went well."""
    portal = Portal(environment)
    bind = os.environ.get("NVLHUB_MAILBOX_BIND", "127.0.0.1")
    try:
        return await Trial(portal, tell, bind=bind, **told).run()
    finally:
        await portal.close()


def main() -> int:
    """Make a trial start and print its steps; exit status 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m nvlkernels.trial")
    parser.add_argument("profile")
    parser.add_argument("--project", required=True)
    parser.add_argument("--version", type=int)
    told = parser.parse_args()

    def tell(step: Step) -> None:
        sys.stdout.write(json.dumps(asdict(step), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    well = asyncio.run(trial(dict(os.environ), tell, project=told.project, profile=told.profile, version=told.version))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
