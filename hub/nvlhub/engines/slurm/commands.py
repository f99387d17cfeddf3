"""The one place that runs Slurm's commands: list of arguments, no shell, a time limit, and nothing of our environment.

They run in ``/``: jobs begin where ``sbatch`` ran, and our directory is not for their users.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvlhub.engines.base import AwayError, EngineError
from nvlhub.engines.slurm.reasons import AWAY, why_refused

KEPT = ("PATH", "LANG", "LC_ALL", "HOME", "SLURM_CONF", "LD_LIBRARY_PATH")
"""Variables of ours that a command may have: no secrets."""


class SlurmAwayError(AwayError):
    """Slurm cannot be spoken to now: nothing may be concluded."""


class SlurmRefusedError(EngineError):
    """A command failed; `text` is what it wrote."""

    def __init__(self, text: str) -> None:
        super().__init__(why_refused(text) or text)
        self.text = text


@dataclass(frozen=True)
class Commands:
    """Runs commands as the portal's account, or as a user's."""

    conf: Path | None = None
    bin: Path | None = None
    timeout: float = 8
    run: tuple[str, ...] = ()
    """What stands before a command that is to run as ``{user}``."""
    as_user: bool = True
    """Whether jobs run as their users; False: as the portal's account."""

    @property
    def account(self) -> str:
        """The one account that all jobs run under; empty: each runs under its user's."""
        return "" if self.as_user else pwd.getpwuid(os.geteuid()).pw_name

    def ask(self, *command: str) -> str:
        """Return what a command prints. Raises `SlurmAwayError` and `SlurmRefusedError`."""
        # Times are printed in this zone.
        return self._run(
            self._found(command), {**self._environment(), "TZ": "UTC", "SLURM_TIME_FORMAT": "standard"}, {}
        )

    def tell(self, account: str, *command: str, text: str = "") -> str:
        """Run a command as a user's account, with `text` on its standard input. Raises as :meth:`ask`, and `EngineError`."""
        found = self._found(command)
        if not self.as_user:
            return self._run(found, self._environment(), {}, text)
        try:
            entry = pwd.getpwnam(account)
        except KeyError:
            raise EngineError(f"there is no account {account!r} on this machine to run it under") from None
        if entry.pw_uid == 0:
            raise EngineError("slurm-no-root")
        if self.run:
            prefix = tuple(part.replace("{user}", account) for part in self.run)
            return self._run((*prefix, *found), self._environment(), {}, text)
        if entry.pw_uid == os.geteuid():
            return self._run(found, self._environment(), {}, text)
        if os.geteuid() != 0:
            raise EngineError("slurm-no-identity")
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        own = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
        return self._run(found, {**self._environment(), **own}, identity, text)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name in KEPT if (value := os.environ.get(name)) is not None}
        return kept if self.conf is None else {**kept, "SLURM_CONF": str(self.conf)}

    def _found(self, command: Sequence[str]) -> tuple[str, ...]:
        program, *rest = command
        return (program if self.bin is None else str(self.bin / program), *rest)

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], identity: Mapping[str, Any], text: str = ""
    ) -> str:
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                command, env=environment, input=text, capture_output=True, text=True, errors="replace",
                timeout=self.timeout, check=False, cwd="/", **identity,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SlurmAwayError("slurm-away") from None
        except OSError as error:
            raise SlurmAwayError(f"{command[0]}: {error.strerror}") from error
        if done.returncode:
            said = " ".join(done.stderr.split())[:500] or f"{command[0]} ended with {done.returncode}"
            if why_refused(said) in AWAY:
                raise SlurmAwayError(why_refused(said))
            raise SlurmRefusedError(said)
        return done.stdout
