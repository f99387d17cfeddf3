"""Slurm as the hub sees it: its commands, run beside the hub's loop, and one shared look at all servers' jobs."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JOB_NAME = "nvlhub-server"
"""Name of every server's job."""
FRESH = 2.0
"""Seconds for which a look at the jobs is good enough for everybody."""
PATIENCE = 15.0
"""Seconds that a command may take."""
LOOK = ("squeue", "--noheader", "--states=all", f"--name={JOB_NAME}", "--format=%i|%T|%r|%N|%S")
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
OVER = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
        "TIMEOUT",
    }
)  # fmt: skip
"""States of a job that has ended."""
ENDING = "COMPLETING"
# Commands that hang keep nobody else in the hub waiting.
_threads = ThreadPoolExecutor(8, "slurm")


class SlurmError(Exception):
    """A command of Slurm's failed; the text is what it said."""


class AwayError(SlurmError):
    """Slurm does not answer: nothing may be concluded."""


AWAY = (
    "unable to contact slurm controller", "socket timed out", "connection refused", "zero bytes were transmitted",
    "unable to establish", "transport endpoint", "munge encode failed", "connection reset", "no route to host",
    "backup controller", "in standby",
)  # fmt: skip
"""What its commands say when the controller, or what they speak to it by, is away."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as squeue tells it."""

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
    """All servers' jobs at one time, by job id; what is absent has ended a while ago."""

    jobs: Mapping[str, Job]
    began: float
    """When squeue was called, on the monotonic clock."""


def read(text: str) -> dict[str, Job]:
    """Return the jobs in what :data:`LOOK` prints; a line that is no job is left out."""
    found = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 5 and parts[0].isdecimal():
            number, state, reason, node, starts = parts
            found[number] = Job(state, reason, node, int(starts) if starts.isdecimal() else None)
    return found


def address_of(text: str) -> str:
    """Return the address in what ``scontrol show node`` prints of one node; empty: there is none."""
    found = re.search(r"(?:^|\s)NodeAddr=(\S+)", text)
    return found[1] if found else ""


class Slurm:
    """The commands of one Slurm; `conf` is its ``SLURM_CONF``, empty: what the machine has."""

    def __init__(self, conf: str = "") -> None:
        self._conf = conf
        self._seen = Look({}, float("-inf"))
        self._failed: tuple[float, SlurmError] | None = None
        self._looking = asyncio.Lock()

    async def run(
        self, *argv: str, account: pwd.struct_passwd | None = None, prefix: Sequence[str] = (), text: str = "",
        **more: str,
    ) -> str:  # fmt: skip
        """Return what a command prints. `account`: whose identity it is run with, by `prefix` or else by us as root.

        Raises `SlurmError`, and `AwayError` where it took too long or Slurm did not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(
            _threads, lambda: self._run([*prefix, *argv], account, text, become=not prefix, more=more)
        )

    def _run(
        self, argv: list[str], account: pwd.struct_passwd | None, text: str, *, become: bool, more: Mapping[str, str]
    ) -> str:  # fmt: skip
        identity: dict[str, Any] = {}
        if account is not None and become:
            groups = os.getgrouplist(account.pw_name, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                argv, input=text, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False, cwd="/",
                env={**self._environment(account), **more}, **identity,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise AwayError(f"{argv[0]} took more than {PATIENCE:.0f} s") from None
        except OSError as error:
            raise SlurmError(f"{argv[0]}: {error.strerror}") from None
        except ValueError as error:
            # A null byte in what was to be an argument.
            raise SlurmError(f"{argv[0]}: {error}") from None
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or done.stdout.strip() or f"{argv[0]}: exit status {done.returncode}"
        raise (AwayError if any(sign in said.lower() for sign in AWAY) else SlurmError)(said)

    def _environment(self, account: pwd.struct_passwd | None) -> dict[str, str]:
        """Return what a command may have of the hub's environment: none of its secrets."""
        whose = account or pwd.getpwuid(os.geteuid())
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": whose.pw_dir,
            "USER": whose.pw_name,
            "LOGNAME": whose.pw_name,
            "SHELL": whose.pw_shell or "/bin/sh",
            **({"SLURM_CONF": self._conf} if self._conf else {}),
        }

    async def look(self, since: float = float("-inf")) -> Look:
        """Return the jobs of all servers, in a look that began after `since` (monotonic). Raises `SlurmError`.

        Whoever asks while another asks waits for that answer: there is one squeue at a time.
        """
        async with self._looking:
            now = time.monotonic()
            if now - self._seen.began < FRESH and self._seen.began >= since:
                return self._seen
            if self._failed is not None and now - self._failed[0] < FRESH:
                raise self._failed[1]
            try:
                self._seen = Look(read(await self.run(*LOOK, SLURM_TIME_FORMAT="%s")), now)
            except SlurmError as error:
                self._failed = (time.monotonic(), error)
                raise
            self._failed = None
            return self._seen

    async def address(self, node: str) -> str:
        """Return the address of a node. Raises `SlurmError`."""
        if not NODE_NAME.fullmatch(node):
            raise SlurmError(f"{node!r} is no node's name")
        return address_of(await self.run("scontrol", "--oneliner", "show", "node", node)) or node

    async def end_of(self, job: str) -> Job | None:
        """Return how a job ended that the queue knows no more; None: there is no accounting that could tell."""
        try:
            said = await self.run("sacct", "-n", "-P", "-X", "-j", job, "-o", "State,Reason")
        except SlurmError:
            return None
        state, _, reason = said.partition("\n")[0].partition("|")
        # “CANCELLED by 1000”
        return Job(state.split()[0], reason) if state.split() else None


_known: dict[str, Slurm] = {}


def slurm(conf: str = "") -> Slurm:
    """Return the one :class:`Slurm` that all spawners of a hub share."""
    return _known.setdefault(conf, Slurm(conf))


def tail(file: Path, owner: int, length: int = 600) -> str:
    """Return the end of a job's log if it is a plain file of `owner`'s; else nothing.

    The directory is its user's: what lies there under that name may be a link to what only the hub may read.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as log:
        about = os.fstat(handle)
        if about.st_uid != owner or (about.st_mode & 0o170000) != 0o100000:
            return ""
        log.seek(max(0, about.st_size - length))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-4:])
