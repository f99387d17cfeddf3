"""Runs tasks as processes of this machine.

Which GPUs a task may use is told to it by ``CUDA_VISIBLE_DEVICES``. That is cooperative: a process of the same user can
ignore it. Engines that own the devices (cgroups, device plugins) enforce it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from nvlhub.engines.accounting import Accounting
from nvlhub.engines.base import Engine, EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.cgroups import Cgroups
from nvlhub.engines.floor import Floor, devices
from nvlhub.engines.processes import LEASE, alive, family, kill_all, of_lease
from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.reconciliation import Record

logger = logging.getLogger(__name__)

AGENT = "nvlkernels.agent"
POLITE = 3.0
"""Seconds that an agent has to end its task before all of it is killed."""


class LocalEngine(Engine):
    """Starts a node agent per lease; each has a private directory under `tasks`.

    `accounting` is the file of what ran; left out: beside `tasks`. An end is written when it is noticed: at the next
    look, or after a time without a portal when the next portal looks for the first time.
    """

    name = "local"

    def __init__(
        self, floor: Floor, tasks: Path, *, python: str, bind: str, grace: int, as_user: bool,
        accounting: Path | None = None,
    ) -> None:  # fmt: skip
        self.simulated = floor.simulated
        self.gpu_model = floor.gpu_model
        self._floor = floor
        self._tasks = tasks
        self._python = python
        self._bind = bind
        self._grace = grace
        self._as_user = as_user
        # The agent is in the path of every start: in our own interpreter it finds its two packages without what other
        # packages add to each start of Python (a third of the agent's 0.1 s).
        own = python == sys.executable
        self._quick = ("-S",) if own else ()
        self._paths = {"PYTHONPATH": os.pathsep.join(_roots("zmq", "nvlkernels"))} if own else {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: dict[str, float] = {}
        # Other accounts may pass through to their own task's directory, and see nothing else.
        tasks.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._cgroups = Cgroups.find(tasks)
        self._accounting = Accounting(accounting or tasks.with_name("accounting.jsonl"))

    def capacity(self) -> tuple[Domain, ...]:
        """Return the domains of the floor."""
        return self._floor.domains()

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return device names."""
        return devices(self._floor, placement)

    def start(self, task: Task) -> Iterator[Handle]:
        """Start the node agent of a lease."""
        directory = self._tasks / task.lease_id
        account = self._account(task.user)
        gpus = sum(len(share.gpus) for share in task.placement)
        handle: Handle = {"directory": str(directory), "gpus": gpus}
        yield handle
        # An earlier run of this lease that ended unseen.
        self._accounting.ended(task.lease_id)
        try:
            # What a start before this one left may be its user's by now: nothing in there is followed or kept.
            if directory.exists():
                shutil.rmtree(directory)
            directory.mkdir(mode=0o700)
            with (directory / "agent.log").open("xb") as log:
                if account is not None:
                    os.fchown(log.fileno(), account.pw_uid, account.pw_gid)
                    os.chown(directory, account.pw_uid, account.pw_gid)
                child = subprocess.Popen(
                    [self._python, *self._quick, "-m", AGENT, task.lease_id],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=directory, start_new_session=True,
                    env={**_inherited(account), **self._paths, LEASE: task.lease_id}, **_identity(account),
                )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise EngineError(f"the agent could not be started: {getattr(error, 'strerror', error)}") from error
        self._children[task.lease_id] = child
        created = psutil.Process(child.pid).create_time()
        self._accounting.began(task.lease_id, gpus, created)
        yield {**handle, "pid": child.pid, "created": created}
        # Only now may it begin: before, nothing could find it. Without this line it ends by itself.
        try:
            if self._cgroups is not None:
                self._cgroups.add(task.lease_id, child.pid)
            with child.stdin or contextlib.nullcontext() as stdin:
                if stdin is not None:
                    stdin.write(self._letter(task, directory))
        except OSError as error:
            self.stop(task.lease_id, {})
            raise EngineError("the agent ended before it began; its log is in the portal's data directory") from error

    def _account(self, user: str) -> pwd.struct_passwd | None:
        """Return the account to run a task under; None: the portal's own. Raises `EngineError`."""
        if not self._as_user:
            return None
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            raise EngineError(f"there is no account {user!r} on this machine to run it under") from None
        if account.pw_uid == os.geteuid():
            return None
        if os.geteuid() != 0:
            raise EngineError("the portal is not root, so it cannot run tasks under their users' accounts")
        return account

    def _letter(self, task: Task, directory: Path) -> bytes:
        """Return what the agent must know; nothing of it is in its arguments or its environment."""
        letter = {
            **task.mailbox.model_dump(),
            "grace": self._grace,
            "bind": self._bind,
            "directory": str(directory),
            "environment": self._environment(task),
        }
        return json.dumps(letter).encode() + b"\n"

    def _environment(self, task: Task) -> dict[str, str]:
        names = self.devices(task.placement)
        return {
            **task.environment,
            LEASE: task.lease_id,
            "NVLHUB_BIND": self._bind,
            "NVLHUB_DEVICES": ",".join(names),
            "NVLHUB_SIMULATED": str(int(self.simulated)),
            "NVLHUB_DOMAIN": ",".join(dict.fromkeys(share.domain for share in task.placement)),
            "NVLHUB_TRAYS": ",".join(str(share.tray) for share in task.placement),
            "CUDA_VISIBLE_DEVICES": "" if self.simulated else ",".join(names),
        }

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        """Look at the agents' processes."""
        for child in self._children.values():
            child.poll()
        return {lease_id: self._sight(lease_id, handle) for lease_id, handle in tasks.items()}

    def _sight(self, lease_id: str, handle: Handle) -> Sighting:
        pid, created = handle.get("pid"), handle.get("created")
        if isinstance(pid, int) and isinstance(created, float) and alive(pid, created):
            self._account_for(lease_id, handle)
            return Sighting(Sight.RUNNING)
        left = self._left(lease_id)
        agent = next((process for process in left if _is_agent(process)), None)
        if agent is not None:
            handle = {**handle, "pid": agent.pid, "created": agent.create_time()}
            self._account_for(lease_id, handle)
            return Sighting(Sight.RUNNING, handle)
        if left:
            # The agent is gone and cannot end what it started.
            self._kill(lease_id, left)
            return Sighting(Sight.UNKNOWN)
        self._forget(lease_id)
        return Sighting(Sight.GONE)

    def _account_for(self, lease_id: str, handle: Handle) -> None:
        """See to it that what runs stands in the accounting: a portal may have died between the two."""
        gpus, created = handle.get("gpus"), handle.get("created")
        if isinstance(gpus, int) and isinstance(created, float):
            self._accounting.began(lease_id, gpus, created)

    def extend(self, lease_id: str, handle: Handle, seconds: int) -> None:
        """Nothing here ends by a time limit."""

    def stop(self, lease_id: str, handle: Handle) -> None:
        """Ask the agent to end its task; after a while, kill all of it."""
        asked = self._asked.setdefault(lease_id, time.monotonic())
        left = self._left(lease_id, handle)
        agents = [process for process in left if _is_agent(process)]
        if not agents or time.monotonic() - asked > POLITE:
            self._kill(lease_id, left)
            return
        for agent in agents:
            with contextlib.suppress(psutil.Error):
                agent.send_signal(signal.SIGTERM)

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return leases that left a trace here, are not known, and still run; clear away what runs no more."""
        found = set()
        for lease_id in ({directory.name for directory in self._tasks.iterdir()} | self._accounting.running) - known:
            if self._left(lease_id):
                found.add(lease_id)
            else:
                self._forget(lease_id)
        return frozenset(found)

    def records(self, since: int) -> Iterator[Record]:
        """Yield what ended at or after `since` or still runs, from the accounting's file; safe in any thread."""
        try:
            yield from self._accounting.records(since)
        except OSError as error:
            raise EngineError(f"the accounting cannot be read: {error.strerror}") from error

    def _left(self, lease_id: str, handle: Handle | None = None) -> list[psutil.Process]:
        """Return what runs for a lease: what is in its cgroup, or what carries its mark, and the agent it is known by."""
        pid, created = (handle or {}).get("pid"), (handle or {}).get("created")
        found = {process.pid: process for process in of_lease(lease_id)}
        if isinstance(pid, int) and isinstance(created, float) and alive(pid, created):
            found |= {process.pid: process for process in family(pid)}
        if self._cgroups is not None:
            for member in self._cgroups.pids(lease_id):
                with contextlib.suppress(psutil.Error):
                    found[member] = psutil.Process(member)
        return list(found.values())

    def _kill(self, lease_id: str, left: list[psutil.Process]) -> None:
        if self._cgroups is not None:
            self._cgroups.kill(lease_id)
        kill_all(left)

    def _forget(self, lease_id: str) -> None:
        self._asked.pop(lease_id, None)
        child = self._children.pop(lease_id, None)
        if child is not None:
            child.wait()
        if self._cgroups is not None:
            self._cgroups.remove(lease_id)
        self._accounting.ended(lease_id)
        shutil.rmtree(self._tasks / lease_id, ignore_errors=True)


def _roots(*packages: str) -> list[str]:
    """Return the directories that packages are imported from."""
    specs = [find_spec(package) for package in packages]
    return [str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin]


def _is_agent(process: psutil.Process) -> bool:
    try:
        return AGENT in process.cmdline()
    except psutil.Error:
        return False


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _inherited(account: pwd.struct_passwd | None) -> dict[str, str]:
    """Return what an agent may have of the portal's environment: none of its secrets."""
    own = {} if account is None else {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    kept = ("PATH", "LANG", "LC_ALL", "HOME", "USER", "LOGNAME", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ")
    return {name: value for name in kept if (value := os.environ.get(name)) is not None} | own
