"""A real Slurm whose nodes are fakes on this machine: NVL72 domains of 18 nodes with 4 GPUs each.

    with slurm(tmp_path / "slurm", domains=1, accounting=True) as cluster:
        cluster.run("sbatch", "--gres=gpu:1", "--wrap", "sleep 60")

Works for any account; jobs run as the one that started it. Nothing outside the directory is written, nothing but the
loopback address is listened on.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nvlhub.ports import taken

TRAYS, GPUS = 18, 4
PATIENCE = 60
"""Seconds in which a daemon must answer."""

CONF = """
ClusterName=nvlhub
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={me}
SlurmdUser={me}
AuthType=auth/munge
AuthInfo=socket={base}/munge/socket
CredType=cred/munge
StateSaveLocation={base}/state
SlurmctldPidFile={base}/pid/slurmctld.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdSpoolDir={base}/spool/%n
SlurmdPidFile={base}/pid/slurmd-%n.pid
SlurmdLogFile={base}/log/slurmd-%n.log
# Believe the number of CPUs and the memory that the nodes are said to have.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
# Without these every daemon listens on all addresses.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PropagateResourceLimits=NONE
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
TopologyPlugin=topology/tree
GresTypes=gpu
PriorityType=priority/multifactor
# Budgets do not come back by themselves.
PriorityDecayHalfLife=0
PriorityUsageResetPeriod=NONE
KillWait=5
InactiveLimit=0
MessageTimeout=20
BatchStartTimeout=20
TCPTimeout=5
# The controller speaks to each node itself.
TreeWidth=65533
PreemptType=preempt/none
{accounting}
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP DefMemPerCPU=1000 DefCpuPerGPU=8
"""
NODES = (
    "NodeName=d{domain}n[01-{trays}] NodeHostName={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] Sockets=2 CoresPerSocket=72 "
    "ThreadsPerCore=1 RealMemory=900000 Gres=gpu:gb300:{gpus} Feature=gb300,nvl72,domain{domain} State=UNKNOWN\n"
)
UNCOUNTED = """JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none"""
COUNTED = """JobAcctGatherType=jobacct_gather/linux
AccountingStorageTRES=gres/gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={base}/munge/socket
AccountingStorageEnforce=associations,limits,qos,safe
JobCompType=jobcomp/none"""
DBD_CONF = """AuthType=auth/munge
AuthInfo=socket={base}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={me}
LogFile={base}/log/slurmdbd.log
PidFile={base}/pid/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={me}
StorageLoc=slurm_acct_db
"""


@dataclass(frozen=True)
class Cluster:
    """One running Slurm."""

    directory: Path
    environment: Mapping[str, str]
    """What its commands need."""

    def run(self, *command: str, timeout: float = PATIENCE) -> str:
        """Return what one of its commands prints. Raises `CalledProcessError`, and `TimeoutExpired` after `timeout` s."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=timeout
        ).stdout  # fmt: skip

    def add_account(self, name: str, gpu_minutes: int) -> None:
        """Add an account with a budget, with whoever runs this as its user."""
        self.run("sacctmgr", "-i", "add", "account", name, f"GrpTRESMins=gres/gpu={gpu_minutes}")
        self.run("sacctmgr", "-i", "add", "user", getpass.getuser(), f"Account={name}")

    def jobs(self) -> int:
        """Return how many jobs wait, run or end."""
        return len(self.run("squeue", "-h").splitlines())


def lacking(*, accounting: bool = True) -> list[str]:
    """Return the programs that are not installed."""
    programs = ["munged", "slurmctld", "slurmd", "sbatch", "sinfo"]
    if accounting:
        programs += ["slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb-admin"]
    return [program for program in programs if shutil.which(program) is None]


@contextlib.contextmanager
def slurm(directory: Path, *, domains: int = 1, accounting: bool = True) -> Iterator[Cluster]:
    """Run a Slurm for the length of the block, all its nodes idle at the start."""
    for part in ("etc", "munge", "log", "state", "spool", "dev", "pid"):
        (directory / part).mkdir(parents=True)
    port = _free_range(2 + domains * TRAYS)
    _configure(directory, domains, port, accounting=accounting)
    nodes = [f"d{domain}n{tray:02}" for domain in range(1, domains + 1) for tray in range(1, TRAYS + 1)]
    environment = {
        **os.environ, "SLURM_CONF": str(directory / "etc/slurm.conf"), "MYSQL_UNIX_PORT": str(directory / "db.sock")
    }  # fmt: skip
    cluster = Cluster(directory, environment)
    with contextlib.ExitStack() as running:

        def start(*commands: list[str]) -> None:
            daemons = [
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                for command in commands
            ]  # fmt: skip
            running.callback(_end, daemons)

        def until(answered: Callable[[], bool], what: str) -> None:
            _until(answered, what, directory / "log")

        munge = directory / "munge"
        start([
            "munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key",
            f"--pid-file={munge}/pid", f"--log-file={directory}/log/munged.log", f"--seed-file={munge}/seed",
        ])  # fmt: skip
        until((munge / "socket").exists, "munged")
        if accounting:
            _make_database(directory)
            start(_database(directory))
            ping = ("mariadb-admin", "--no-defaults", f"--user={getpass.getuser()}", f"--socket={directory}/db.sock")
            until(lambda: _answers(cluster, *ping, "ping"), "mariadbd")
            start(["slurmdbd", "-D"])
            until(lambda: _answers(cluster, "sacctmgr", "-n", "show", "cluster"), "slurmdbd")
        start(["slurmctld", "-D"])
        until(lambda: "is UP" in _said(cluster, "scontrol", "ping"), "slurmctld")
        start(*(["slurmd", "-D", "-N", node] for node in nodes))
        until(
            lambda: len(set(_said(cluster, "sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split())) == len(nodes),
            "nodes",
        )
        running.callback(_cancel_all, cluster)
        yield cluster


def _free_range(count: int) -> int:
    """Return the first of `count` ports in a row that nobody listens on."""
    while True:
        first = random.randint(20_000, 30_000 - count)
        if not any(taken(port) for port in range(first, first + count)):
            return first


def _configure(base: Path, domains: int, port: int, *, accounting: bool) -> None:
    told = {"base": base, "host": socket.gethostname().split(".")[0], "me": getpass.getuser()}
    nodes = switches = ""
    for domain in range(1, domains + 1):
        first = port + 2 + (domain - 1) * TRAYS
        nodes += NODES.format(domain=domain, trays=TRAYS, gpus=GPUS, first=first, last=first + TRAYS - 1, **told)
        switches += f"SwitchName=nvl{domain} Nodes=d{domain}n[01-{TRAYS}]\n"
        for tray in range(1, TRAYS + 1):
            (base / f"spool/d{domain}n{tray:02}").mkdir()
    if domains > 1:
        switches += f"SwitchName=spine Switches=nvl[1-{domains}]\n"
    for gpu in range(GPUS):
        # Slurm wants devices.
        (base / f"dev/nvidia{gpu}").symlink_to("/dev/null")
    counted = COUNTED.format(port=port + 1, **told) if accounting else UNCOUNTED
    files = {
        "slurm.conf": CONF.format(port=port, accounting=counted + "\n" + nodes, **told),
        "slurmdbd.conf": DBD_CONF.format(port=port + 1, **told),
        "gres.conf": f"AutoDetect=off\nName=gpu Type=gb300 File={base}/dev/nvidia[0-{GPUS - 1}]\n",
        "topology.conf": switches,
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
    }
    for name, text in files.items():
        (base / "etc" / name).write_text(text)
    # It refuses a file that others can read: there could be a password in it.
    (base / "etc/slurmdbd.conf").chmod(0o600)
    key = base / "munge/key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))


def _make_database(base: Path) -> None:
    subprocess.run(
        [
            "mariadb-install-db", "--no-defaults", f"--datadir={base}/db", "--skip-test-db", f"--user={getpass.getuser()}",
            "--auth-root-authentication-method=socket", f"--auth-root-socket-user={getpass.getuser()}",
        ],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip


def _database(base: Path) -> list[str]:
    return [
        "mariadbd", "--no-defaults", f"--datadir={base}/db", f"--socket={base}/db.sock", "--skip-networking",
        f"--pid-file={base}/pid/mariadbd.pid", f"--user={getpass.getuser()}", "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M", "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0",
        f"--log-error={base}/log/mariadbd.log",
    ]  # fmt: skip


def _answers(cluster: Cluster, *command: str) -> bool:
    try:
        cluster.run(*command, timeout=2)
    except subprocess.SubprocessError:
        return False
    return True


def _said(cluster: Cluster, *command: str) -> str:
    try:
        return cluster.run(*command, timeout=5)
    except subprocess.SubprocessError:
        return ""


def _until(answered: Callable[[], bool], what: str, logs: Path) -> None:
    give_up = time.monotonic() + PATIENCE
    while not answered():
        if time.monotonic() > give_up:
            tails = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in sorted(logs.iterdir()))
            raise TimeoutError(f"{what} did not come up within {PATIENCE} s\n{tails}")
        time.sleep(0.1)


def _cancel_all(cluster: Cluster) -> None:
    """End what runs: a job outlives the daemon that started it."""
    _said(cluster, "scancel", f"--user={getpass.getuser()}")
    give_up = time.monotonic() + 20
    while cluster.jobs() and time.monotonic() < give_up:
        time.sleep(0.2)


def _end(daemons: list[subprocess.Popen[bytes]]) -> None:
    for daemon in daemons:
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
