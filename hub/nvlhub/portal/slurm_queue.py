"""Slurm as the hub sees it: its commands, run beside the hub's loop, and one shared look at all jobs."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from nvlhub.engines.base import EngineError
from nvlhub.engines.slurm.commands import Commands
from nvlhub.engines.slurm.reading import duration, fresh_separator, nodes, queue, queue_format
from nvlhub.engines.slurm.reasons import OVER

JOB_NAME = "nvlhub-server"
"""Name of every server's job."""
FRESH = 2.0
"""Seconds for which a look at the jobs is good enough for everybody."""
LOOK = ("squeue", "--noheader", "--states=all")
"""All jobs: whoever runs one can change its name."""
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENDING = "COMPLETING"
LINES = 4
"""Lines of a log that are shown."""
Answer = TypeVar("Answer")
# Commands that hang keep nobody else in the hub waiting.
_threads = ThreadPoolExecutor(8, "slurm")


@dataclass(frozen=True, slots=True)
class Job:
    """One job as Slurm tells it."""

    state: str
    reason: str = ""
    node: str = ""
    starts: int | None = None
    """Unix time of its start: expected, or past; None: not known."""

    @property
    def over(self) -> bool:
        """Whether it has ended, or only its remains are cleared away."""
        return self.state in OVER or self.state == ENDING


@dataclass(frozen=True, slots=True)
class Look:
    """All jobs at one time, by job id; what is absent has ended a while ago."""

    jobs: Mapping[str, Job]
    began: float
    """When squeue was called, on the monotonic clock."""


def _jobs(commands: Commands) -> dict[str, Job]:
    mark = fresh_separator()
    text = commands.ask(*LOOK, f"--format={queue_format(mark)}")
    return {str(one.job): Job(one.state, one.reason, one.nodes, one.start) for one in queue(text, "", mark)}


class Scheduler:
    """One Slurm. Every call raises `EngineError`: `SlurmAwayError` where it does not answer, and nothing may be concluded."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._seen = Look({}, float("-inf"))
        self._failed: tuple[float, EngineError] | None = None
        self._looking = asyncio.Lock()

    async def tell(self, account: str, *command: str, text: str = "") -> str:
        """Run a command as a user's account, with `text` on its standard input; return what it prints."""
        return await _beside(lambda: self._commands.tell(account, *command, text=text))

    async def look(self, since: float = float("-inf")) -> Look:
        """Return all jobs, in a look that began after `since` (monotonic).

        Whoever asks while another asks waits for that answer: there is one squeue at a time.
        """
        async with self._looking:
            now = time.monotonic()
            if now - self._seen.began < FRESH and self._seen.began >= since:
                return self._seen
            if self._failed is not None and now - self._failed[0] < FRESH:
                raise self._failed[1].with_traceback(None)
            try:
                self._seen = Look(await _beside(lambda: _jobs(self._commands)), now)
            except EngineError as error:
                self._failed = (time.monotonic(), error)
                raise
            self._failed = None
            return self._seen

    async def address(self, node: str) -> str:
        """Return the address of a node."""
        if not NODE_NAME.fullmatch(node):
            raise EngineError(f"{node!r} is no node's name")
        text = await _beside(lambda: self._commands.ask("scontrol", "--oneliner", "show", "node", node))
        return next((one.address for one in nodes(text)), node)

    async def longest(self, partition: str) -> str:
        """Return how long a job may run in a partition, as sbatch takes it; empty: Slurm tells nothing of it.

        `partition`: empty: the default one; of several that are named the shortest, so that each can take the job.
        """
        text = await _beside(lambda: self._commands.ask("scontrol", "--all", "--oneliner", "show", "partition"))
        told = [dict(re.findall(r"(\S+?)=(\S*)", one)) for one in text.splitlines()]
        named = (
            partition.split(",") if partition else [one["PartitionName"] for one in told if one.get("Default") == "YES"]
        )
        times = [one["MaxTime"] for one in told if one.get("PartitionName") in named and "MaxTime" in one]
        return min(times, key=_seconds, default="")

    async def end_of(self, job: str) -> Job | None:
        """Return how a job ended that the queue knows no more; None: there is no accounting that could tell."""
        try:
            said = await _beside(lambda: self._commands.ask("sacct", "-n", "-P", "-X", "-j", job, "-o", "State,Reason"))
        except EngineError:
            return None
        state, _, reason = said.partition("\n")[0].partition("|")
        # “CANCELLED by 1000”
        return Job(state.split()[0], reason) if state.split() else None


def _seconds(time_limit: str) -> float:
    # UNLIMITED
    return duration(time_limit) if time_limit[:1].isdecimal() else float("inf")


async def _beside(call: Callable[[], Answer]) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


scheduler = cache(Scheduler)
"""Return the one :class:`Scheduler` that all spawners with the same :class:`Commands` share."""


def tail(file: Path, owner: int, length: int = 600) -> str:
    """Return the end of a job's log if it is a plain file of `owner`'s; else nothing.

    The directory is its user's: what lies there under that name may be a link to what only the hub may read.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        about = os.fstat(handle)
        if about.st_uid != owner or not stat.S_ISREG(about.st_mode):
            return ""
        end = os.pread(handle, length, max(0, about.st_size - length))
    except OSError:
        return ""
    finally:
        os.close(handle)
    return "\n".join(end.decode(errors="replace").splitlines()[-LINES:])
