"""The Slurm that ``nvlhub up`` runs, or the one that it finds."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from nvlhub.engines.slurm.keeper import READY
from nvlhub.engines.slurm.private import LONGEST, LOOPBACK, lacking, own_address
from nvlhub.settings import Settings, SettingsError, load

START = 120.0
"""Seconds that a private Slurm has to start."""
STOP = 60.0
"""Seconds that it has to end: its jobs first."""
PING = 15.0
"""Seconds that a Slurm which is there has to answer."""
PACKAGES = "slurm-wlm slurmdbd mariadb-server munge"
"""Debian's."""


class UpError(Exception):
    """It cannot start; the text says why and what to do."""


class PrivateSlurm:
    """A Slurm of simulated domains in ``slurm`` of the data directory, run by a process that keeps it."""

    def __init__(self, data: Path, domains: int, log: BinaryIO) -> None:
        if absent := lacking(accounting=False):
            raise UpError(
                f"--engine slurm --simulate needs programs of Slurm that are not here ({', '.join(absent)}): install them "
                f"(Debian, Ubuntu: apt-get install {PACKAGES}), or leave --engine out"
            )
        self.directory = data / "slurm"
        if len(str(self.directory)) > LONGEST:
            raise UpError(
                f"{self.directory} is too long a path for Slurm's sockets, more than {LONGEST} characters: choose a shorter --data"
            )
        self.trays = settings_of(data).trays
        self._accounting = not lacking()
        self._domains = domains
        self._log = log
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the portal and users' servers need to find it."""
        conf = str(self.directory / "etc/slurm.conf")
        return {"SLURM_CONF": conf, "NVLHUB_SLURM__CONF": conf, "NVLHUB_SLURM__SIMULATED": "true"}

    @property
    def hints(self) -> list[str]:
        """How to look at it."""
        said = [f"squeue, sinfo and sacct see it with SLURM_CONF={self.environment['SLURM_CONF']}"]
        if not self._accounting:
            said.append("It keeps no accounts: for that, install slurmdbd and mariadb-server.")
        if own_address() != LOOPBACK:
            said.append(
                f"Other machines can reach its ports, behind munge: this one's name does not resolve to {LOOPBACK} (docs/slurm.md)."
            )
        return said

    def start(self) -> None:
        """Start it and wait until all nodes are idle. Raises `UpError`."""
        command = [
            sys.executable, "-m", "nvlhub.engines.slurm.keeper", str(self.directory), "--domains", str(self._domains),
            "--trays", str(self.trays), *([] if self._accounting else ["--no-accounting"]),
        ]  # fmt: skip
        self._keeper = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
        )
        answer = self._keeper.stdout
        if (
            answer is None
            or not select.select([answer], [], [], START)[0]
            or answer.readline() != f"{READY}\n".encode()
        ):
            self.stop()
            raise UpError(f"the private Slurm did not start; why stands in {self._log.name}")

    def told(self) -> list[str]:
        """Return what its keeper said since it was asked last: which daemons it had to start again."""
        answer = None if self._keeper is None else self._keeper.stdout
        said = b""
        while answer is not None and select.select([answer], [], [], 0)[0] and (more := os.read(answer.fileno(), 4096)):
            said += more
        return said.decode(errors="replace").splitlines()

    def ended(self) -> bool:
        """Tell whether it ended by itself."""
        return self._keeper is not None and self._keeper.poll() is not None

    def stop(self) -> None:
        """End it with its jobs, and wait for that."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        for pipe in (keeper.stdin, keeper.stdout):
            if pipe is not None:
                pipe.close()
        try:
            keeper.wait(STOP)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


def check_slurm(data: Path) -> None:
    """Raise `UpError` unless a Slurm answers here."""
    told = settings_of(data).slurm
    path = str(told.bin) if told.bin else None
    advice = (
        "start it, name its slurm.conf (SLURM_CONF, or conf in section [slurm] of portal.toml), "
        "or try a simulated one with --simulate 1"
    )
    found = {program: shutil.which(program, path=path) for program in ("sbatch", "squeue", "scontrol")}
    for program, file in found.items():
        if file is None:
            raise UpError(f"--engine slurm needs Slurm's commands, and there is no {program} here: {advice}")
    environment = {**os.environ, **({"SLURM_CONF": str(told.conf)} if told.conf else {})}
    try:
        done = subprocess.run(
            [str(found["scontrol"]), "ping"], env=environment, capture_output=True, text=True, timeout=PING, check=False
        )
    except subprocess.TimeoutExpired:
        raise UpError(f"Slurm's controller does not answer within {PING:.0f} s: {advice}") from None
    if done.returncode or "is UP" not in done.stdout:
        said = " ".join((done.stdout + done.stderr).split())[:200]
        raise UpError(f"no Slurm answers here ({said}): {advice}")


def settings_of(data: Path) -> Settings:
    """Return what the portal will be told. Raises `UpError`."""
    try:
        return load(data)
    except SettingsError as error:
        raise UpError(str(error)) from None
