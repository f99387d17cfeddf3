"""A private Slurm: its daemons, its faults, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nvlhub.engines.slurm.private import LONGEST, TRIES, WHILE, Slurm, lacking, private_slurm
from nvlhub.engines.slurm.render import Site
from tests.conftest import missing
from tests.waiting import until

pytestmark = pytest.mark.slurm


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path that other accounts can reach."""
    if absent := lacking():
        missing(f"Slurm ({', '.join(absent)})")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-slurm-"))
    base.chmod(0o755)
    yield base / "slurm"
    shutil.rmtree(base, ignore_errors=True)


def submit(slurm: Slurm, *options: str, wrap: str = "sleep 600") -> str:
    return slurm.run("sbatch", "--parsable", "--gres=gpu:1", "--output=/dev/null", *options, "--wrap", wrap).strip()


def state(slurm: Slurm, job: str) -> str:
    return slurm.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()


def of(conf: Path) -> list[psutil.Process]:
    """Every process that was told of this Slurm, daemons and jobs, but for those of the tests."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == str(conf) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def owners(conf: Path, job: str) -> set[str]:
    """The accounts that the processes of a job run under."""
    found = set()
    for process in of(conf):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == job:
                found.add(process.username())
    return found


def test_a_job_runs_soon_on_a_named_tray_with_its_gpu(slurm: Slurm) -> None:
    slurm.add_account("quick", gpu_minutes=1000)
    slurm.add_account("quick")
    begun = time.monotonic()
    job = submit(slurm, "--account=quick", "--comment=nvlhub:abc")
    slurm.until(lambda: state(slurm, job) == "RUNNING", "a running job", patience=30)
    assert time.monotonic() - begun < 5
    shown = slurm.run("scontrol", "show", "job", "-d", job)
    assert "Nodes=nvl001-" in shown
    assert "GRES=gpu:gb300:1(IDX:" in shown
    slurm.run("scancel", job)
    slurm.until(lambda: state(slurm, job) == "CANCELLED", "a cancelled job")
    told = ("sacct", "-n", "-P", "-X", "-j", job, "-o", "account,alloctres,comment")
    slurm.until(lambda: "gres/gpu=1,mem=8000M,node=1|nvlhub:abc" in slurm.run(*told), "its record", patience=20)


def test_every_daemon_listens_on_the_address_of_the_machines_name_alone(slurm: Slurm) -> None:
    if not slurm.site.address:
        pytest.skip("this machine's name resolves to nothing that Slurm can listen on alone")
    listening = {
        connection.laddr.ip
        for process in of(slurm.conf)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {slurm.site.address}


def test_its_database_keeps_away_from_those_of_others(slurm: Slurm) -> None:
    told = slurm.run("mariadb-admin", "--no-defaults", f"--socket={slurm.directory}/db.sock", "variables")
    [line] = [line for line in told.splitlines() if line.startswith("| tmpdir ")]
    assert line.split("|")[2].strip() == f"{slurm.directory}/run"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run jobs of others")
def test_jobs_of_other_accounts_run_as_they(slurm: Slurm) -> None:
    slurm.add_account("others", users=("nobody",))
    job = slurm.run(
        "sbatch", "--parsable", "--account=others", "--output=/dev/null", "--wrap", "sleep 600", user="nobody"
    ).strip()  # fmt: skip
    slurm.until(lambda: state(slurm, job) == "RUNNING", "a running job")
    slurm.until(lambda: owners(slurm.conf, job) == {"nobody"}, "its process")
    slurm.run("scancel", job)


def test_jobs_outlive_the_controller_and_fail_with_their_node(directory: Path) -> None:
    with private_slurm(directory, trays=2) as slurm:
        slurm.add_account("faults")
        first, second = submit(slurm, "--nodelist=nvl001-01"), submit(slurm, "--nodelist=nvl001-02")
        slurm.until(lambda: state(slurm, first) == state(slurm, second) == "RUNNING", "running jobs")
        slurm.stop_controller()
        with pytest.raises((subprocess.TimeoutExpired, subprocess.CalledProcessError)):
            slurm.run("squeue", timeout=1)
        slurm.start_controller()
        assert state(slurm, first) == state(slurm, second) == "RUNNING"

        slurm.kill_node("nvl001-01")
        slurm.run("scontrol", "update", "NodeName=nvl001-01", "State=DOWN", "Reason=power")
        slurm.until(lambda: state(slurm, first) == "NODE_FAIL", "the end of its job")
        assert state(slurm, second) == "RUNNING"
        slurm.start_node("nvl001-01")

        slurm.stop_accounting()
        slurm.run("scancel", second)
        slurm.until(lambda: state(slurm, second) == "CANCELLED", "the end of the other job")
        slurm.start_accounting()
        ends = ("sacct", "-n", "-P", "-X", "-j", f"{first},{second}", "-o", "state")
        slurm.until(lambda: "NODE_FAIL\nCANCELLED" in slurm.run(*ends), "the records", patience=30)
        left = submit(slurm)
        slurm.until(lambda: state(slurm, left) == "RUNNING", "a running job")
    assert of(slurm.conf) == []


def test_numbers_and_records_go_on_where_it_was_run_before(directory: Path) -> None:
    with private_slurm(directory, trays=1, cpu_nodes=0) as slurm:
        slurm.add_account("first")
        job = submit(slurm)
    with private_slurm(directory, trays=1, cpu_nodes=0) as slurm:
        assert int(submit(slurm)) > int(job)
        assert slurm.run("sacct", "-n", "-P", "-X", "-j", job, "-o", "state").startswith("CANCELLED")


def test_what_a_daemon_wrote_is_told_when_it_ends_by_itself(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nvlhub.engines.slurm.render._gpu_nodes", lambda _site: "nowhere")
    begun = time.monotonic()
    with (
        pytest.raises(TimeoutError, match=r"slurmctld ended by itself(?s:.*)Invalid node names in partition"),
        private_slurm(directory, trays=1, accounting=False),
    ):
        pass
    assert time.monotonic() - begun < 20


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long a path"), private_slurm(tmp_path / ("x" * LONGEST)):
        pass


def test_a_daemon_that_ends_again_and_again_is_left_alone(tmp_path: Path) -> None:
    """Told each time, and once that it is the last."""
    made = Slurm(tmp_path, Site(domains=1, host="x"), dict(os.environ))
    made._start("slurmctld", "false")
    said, now = [], 0.0
    for _ in range(TRIES + 3):
        daemon = made._daemons.get("slurmctld")
        if daemon is not None:
            daemon.wait(60)
        said += made.revive(now)
        now += 1
    assert said[:TRIES] == ["slurmctld of the private Slurm ended; starting it again"] * TRIES
    assert (len(said), "is not started again: look into" in said[-1]) == (TRIES + 1, True)
    # What ends once in a long while is started every time.
    made._start("slurmd", "false")
    for _ in range(TRIES + 3):
        made._daemons["slurmd"].wait(60)
        assert made.revive(now) == ["slurmd of the private Slurm ended; starting it again"]
        now += WHILE
    made._daemons["slurmd"].wait(60)


def test_its_keeper_ends_everything_when_its_parent_dies(directory: Path) -> None:
    """Even killed, it cannot keep the pipe open."""
    program = (
        "import os, subprocess, sys\n"
        "keeper = subprocess.Popen([sys.executable, '-m', 'nvlhub.engines.slurm.keeper', sys.argv[1], '--trays', '1', '--no-accounting'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)\n"
        "print(keeper.stdout.readline().decode().strip(), flush=True)\n"
        "os.read(0, 1)\n"
    )
    conf = directory / "etc/slurm.conf"
    with subprocess.Popen(
        [sys.executable, "-c", program, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        environment = {**os.environ, "SLURM_CONF": str(conf)}
        subprocess.run(["sbatch", "--output=/dev/null", "--wrap", "sleep 600"], env=environment, check=True)
        jobs = ["squeue", "-h", "-t", "R", "-u", getpass.getuser()]
        until(lambda: bool(subprocess.run(jobs, env=environment, check=True, capture_output=True).stdout))
        daemons = of(conf)
        assert len(daemons) >= 4
        parent.send_signal(signal.SIGKILL)
    until(lambda: of(conf) == [])
