"""A real Slurm of one's own on this machine: NVL72 domains whose GPUs are none, for tests, demos and laptops.

    with private_slurm(directory, domains=1) as slurm:
        slurm.run("sbatch", "--gres=gpu:1", "--wrap", "sleep 60")

Works for any account; jobs run as the one that started it, and as others where that is root. Nothing outside the directory
is written. Its daemons listen on the loopback address alone where this machine's name resolves to it (:func:`own_address`);
elsewhere others can reach their ports, and get no further than munge, whose key lies in the directory. A directory that was
used before is used on: job numbers and accounting continue.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nvlhub.engines.slurm.render import Paths, Site, render
from nvlhub.parent import follow_parent
from nvlhub.ports import taken

PATIENCE = 60.0
"""Seconds in which a daemon must answer."""
STOP = 10.0
"""Seconds that a daemon has to end."""
TRIES = 5
"""Times that a daemon which ends by itself is started again within :data:`WHILE`."""
WHILE = 600
"""Seconds."""
LOOK = 0.05
"""Seconds between two looks whether a daemon answers."""
LONGEST = 60
"""Characters of the directory's path: sockets lie in it, and a socket's path can have 107."""
LOOPBACK = "127.0.0.1"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb-admin")
SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where daemons lie that an ordinary account does not find."""


def lacking(*, accounting: bool = True) -> list[str]:
    """Return the programs that are not installed."""
    programs = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [program for program in programs if shutil.which(program, path=_path()) is None]


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{SYSTEM}"


@dataclass
class Slurm:
    """One running Slurm. Start and end its daemons from the thread that made it: they end with that thread."""

    directory: Path
    site: Site
    environment: Mapping[str, str]
    """What its commands need: ``SLURM_CONF``, ``MYSQL_UNIX_PORT`` and the rest of ours."""
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _commands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _revived: dict[str, list[float]] = field(default_factory=dict)
    """When daemons that ended by themselves were started again, lately."""

    @property
    def conf(self) -> Path:
        """Its slurm.conf."""
        return self.directory / "etc/slurm.conf"

    def run(self, *command: str, timeout: float = PATIENCE, user: str | None = None, text: str | None = None) -> str:
        """Return what one of its commands prints.

        `user`: run it as somebody else, which root may; `text`: its standard input. Raises `CalledProcessError`, and
        `TimeoutExpired` after `timeout` s.
        """
        account = pwd.getpwnam(user) if user else None
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=timeout, input=text,
            user=account.pw_uid if account else None, group=account.pw_gid if account else None,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
            cwd="/" if account else None,
        ).stdout  # fmt: skip

    def add_account(self, name: str, gpu_minutes: int | None = None, users: tuple[str, ...] = ()) -> None:
        """Add an account, with a budget if told; its users are those named, or whoever runs this. What is there stays."""
        budget = [] if gpu_minutes is None else [f"GrpTRESMins=gres/gpu={gpu_minutes}"]
        self._add("account", name, *budget)
        self._add("user", ",".join(users) or getpass.getuser(), f"Account={name}")

    def _add(self, *words: str) -> None:
        try:
            self.run("sacctmgr", "-i", "add", *words)
        except subprocess.CalledProcessError as error:
            if "Nothing new added" not in error.stdout:
                raise

    def jobs(self) -> int:
        """Return how many jobs wait, run or end."""
        return len(self.run("squeue", "-h").splitlines())

    def cancel_all(self) -> None:
        """End all jobs and wait until they are gone, at most 20 s."""
        with contextlib.suppress(subprocess.SubprocessError, TimeoutError):
            for name in set(self.run("squeue", "-h", "-o", "%u", timeout=5).split()):
                self.run("scancel", f"--user={name}", timeout=5)
            self.until(lambda: not self.jobs(), "the end of all jobs", patience=20)

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers and knows the nodes that run."""
        self._start("slurmctld", "slurmctld", "-D")
        self.until(lambda: "is UP" in self._said("scontrol", "ping"), "slurmctld")
        self._until_usable({name for name in self.site.nodes if name in self._daemons})

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on, commands hang until they time out."""
        self._end("slurmctld")

    def start_accounting(self) -> None:
        """Start slurmdbd and wait until it answers."""
        self._start("slurmdbd", "slurmdbd", "-D")
        self.until(lambda: self._answers("sacctmgr", "-n", "show", "cluster"), "slurmdbd")

    def stop_accounting(self) -> None:
        """End slurmdbd; slurmctld keeps what it could not tell."""
        self._end("slurmdbd")

    def start_node(self, *names: str) -> None:
        """Start the slurmd of nodes and wait until they can be used."""
        for name in names:
            self._start(name, "slurmd", "-D", "-N", name)
        ports = {name: self.site.first_node_port + index for index, name in enumerate(self.site.nodes)}
        self.until(lambda: all(taken(ports[name], self.site.address) for name in names), f"slurmd of {names[0]} and on")
        self._until_usable(set(names))

    def _until_usable(self, names: set[str]) -> None:
        if not names:
            return
        ask = ("sinfo", "-h", "-N", "-t", "idle,alloc,mix", "-o", "%N")
        self.until(lambda: names <= set(self._said(*ask).split()), f"nodes {min(names)} and on")

    def revive(self, now: float) -> list[str]:
        """Start again what ended by itself; return what was done, in words. `now`: seconds of a clock that only goes on.

        Each a few times in a while: what ends again and again has a reason that another start does not take away.
        """
        said = []
        for name in [name for name, daemon in self._daemons.items() if daemon.poll() is not None]:
            before = [at for at in self._revived.get(name, []) if now - at < WHILE]
            if len(before) >= TRIES:
                said.append(
                    f"{name} of the private Slurm ended {TRIES + 1} times within {WHILE // 60} minutes and is not started "
                    f"again: look into {self.directory / 'log'}"
                )
                del self._daemons[name]
                continue
            self._revived[name] = [*before, now]
            if name == "munged":
                (self.directory / "munge/socket").unlink(missing_ok=True)
            self._start(name, *self._commands[name])
            said.append(f"{name} of the private Slurm ended; starting it again")
        return said

    def kill_node(self, name: str) -> None:
        """Kill the slurmd of a node and what runs there, as when its power fails.

        Slurm notices after ``SlurmdTimeout``, or when told: ``scontrol update NodeName=… State=DOWN Reason=…``.
        """
        self._end(name, signal.SIGKILL)
        self._kill_steps(name)

    def _kill_steps(self, node: str | None = None) -> None:
        """Kill the processes of jobs: those of a node, or all that are left."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                told = process.environ()
                if told.get("SLURM_CONF") != str(self.conf) or "SLURM_JOB_ID" not in told:
                    continue
                if node in {None, told.get("SLURMD_NODENAME")}:
                    parent = process.parent()
                    # The one that watches a step has overwritten its own environment.
                    found += [parent] if parent is not None and parent.name() == "slurmstepd" else []
                    found += [process, *process.children(recursive=True)]
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def until(self, answered: Callable[[], object], what: str, *, patience: float = PATIENCE) -> None:
        """Wait until it is so. Raises `TimeoutError` with what the daemons wrote last, at once where one has ended."""
        give_up = time.monotonic() + patience
        while not answered():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended:
                raise TimeoutError(f"{what} did not come: {', '.join(ended)} ended by itself\n{self._tails()}")
            if time.monotonic() > give_up:
                raise TimeoutError(f"{what} did not come within {patience:.0f} s\n{self._tails()}")
            time.sleep(LOOK)

    def _tails(self) -> str:
        logs = sorted((self.directory / "log").iterdir(), key=lambda log: log.stat().st_mtime)[-6:]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs)

    def _answers(self, *command: str) -> bool:
        try:
            self.run(*command, timeout=2)
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def _said(self, *command: str) -> str:
        try:
            return self.run(*command, timeout=2)
        except (OSError, subprocess.SubprocessError):
            return ""

    def _start(self, name: str, *command: str) -> None:
        if name in self._daemons and self._daemons[name].poll() is None:
            return
        self._commands[name] = command
        self._daemons[name] = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.directory, start_new_session=True,
            preexec_fn=follow_parent,  # noqa: PLW1509
        )  # fmt: skip

    def _end(self, name: str, number: int = signal.SIGTERM) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.send_signal(number)
            _wait(daemon)

    def _start_all(self) -> None:
        munge, log, me = self.directory / "munge", self.directory / "log", getpass.getuser()
        (munge / "socket").unlink(missing_ok=True)
        self._start(
            "munged", "munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key",
            f"--pid-file={munge}/pid", f"--log-file={log}/munged.log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        if self.site.accounting:
            self._make_database()
            self._start(
                "mariadbd",
                "mariadbd", "--no-defaults", f"--datadir={self.directory}/db", f"--socket={self.directory}/db.sock",
                "--skip-networking", f"--pid-file={self.directory}/run/mariadbd.pid", f"--user={me}", self._apart,
                "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--innodb-lock-wait-timeout=900",
                "--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF", f"--log-error={log}/mariadbd.log",
            )  # fmt: skip
            ping = ("mariadb-admin", "--no-defaults", f"--user={me}", f"--socket={self.directory}/db.sock", "ping")
            self.until(lambda: self._answers(*ping), "mariadbd")
        self.until((munge / "socket").exists, "munged")
        if self.site.accounting:
            self.start_accounting()
        self.start_controller()
        self.start_node(*self.site.nodes)

    def _make_database(self) -> None:
        if (self.directory / "db/mysql").is_dir():
            return
        me = getpass.getuser()
        self.run(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.directory}/db", "--skip-test-db", f"--user={me}",
            "--auth-root-authentication-method=socket", f"--auth-root-socket-user={me}", self._apart,
        )  # fmt: skip

    @property
    def _apart(self) -> str:
        # One that starts clears its directory of temporary tables: where several have the same, also of another's.
        return f"--tmpdir={self.directory}/run"

    def _stop_all(self) -> None:
        for group in (self.site.nodes, ["slurmctld"], ["slurmdbd"], ["mariadbd", "munged"]):
            daemons = [self._daemons.pop(name) for name in group if name in self._daemons]
            for daemon in daemons:
                daemon.terminate()
            for daemon in daemons:
                _wait(daemon)
        self._kill_steps()


@contextlib.contextmanager
def private_slurm(
    directory: Path, *, domains: int = 1, trays: int = 18, cpu_nodes: int = 1, accounting: bool = True
) -> Iterator[Slurm]:
    """Run a Slurm for the length of the block, all its nodes idle at the start.

    Raises `TimeoutError` when a daemon does not come up, and `ValueError` for a directory with too long a path.
    """
    directory = directory.absolute()
    if len(str(directory)) > LONGEST:
        raise ValueError(f"{directory}: too long a path for the sockets of Slurm, more than {LONGEST} characters")
    address = own_address()
    port = _free_range(2 + domains * trays + cpu_nodes, address)
    site = Site(
        domains=domains, trays=trays, cpu_nodes=cpu_nodes, accounting=accounting, simulated=True, version=(22, 5),
        host=socket.gethostname().split(".")[0], user=getpass.getuser(), port=port, accounting_port=port + 1,
        first_node_port=port + 2, address=address, paths=Paths.below(str(directory)),
    )  # fmt: skip
    environment = {
        **os.environ, "PATH": _path(), "SLURM_CONF": str(directory / "etc/slurm.conf"),
        "MYSQL_UNIX_PORT": str(directory / "db.sock"),
    }  # fmt: skip
    _lay_out(directory, site)
    slurm = Slurm(directory, site, environment)
    try:
        slurm._start_all()  # noqa: SLF001  # they are one
        yield slurm
    finally:
        # A job outlives the daemon that started it.
        slurm.cancel_all()
        slurm._stop_all()  # noqa: SLF001


def own_address() -> str:
    """Return the address that daemons and commands can listen on alone; empty: there is none, they listen on all.

    Slurm takes what the machine's name resolves to. Where that is another loopback address (Debian: 127.0.1.1), srun would
    be called back at the address that it seems to come from, 127.0.0.1, and would not hear it.
    """
    try:
        found = socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
    return found if found == LOOPBACK or not found.startswith("127.") else ""


def _free_range(count: int, address: str) -> int:
    """Return the first of `count` ports in a row that nobody listens on."""
    while True:
        first = random.randint(20_000, 30_000 - count)  # noqa: S311  # no secret
        if not any(taken(port, address) for port in range(first, first + count)):
            return first


def _lay_out(base: Path, site: Site) -> None:
    """Make directories, files and devices. Those who run jobs must be able to reach them."""
    for part in ("", "etc", "munge", "log", "state", "spool", "dev", "run", *(f"spool/{node}" for node in site.nodes)):
        (base / part).mkdir(parents=True, exist_ok=True)
        (base / part).chmod(0o755)
    for gpu in range(site.gpus):
        device = base / f"dev/nvidia{gpu}"
        if not device.is_symlink():
            # Slurm wants devices.
            device.symlink_to("/dev/null")
    for name, text in render(site).items():
        file = base / "etc" / name
        file.write_text(text, encoding="utf-8")
        # slurmdbd refuses a file that others can read: there could be a password in it.
        file.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
    key = base / "munge/key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))


def _wait(daemon: subprocess.Popen[bytes]) -> None:
    try:
        daemon.wait(STOP)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
