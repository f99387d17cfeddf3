"""How many leases can be taken and given back a second, over HTTP, with a million in the past, and what proving them takes.

Against a Slurm on the same machine whose jobs are admitted by budget and limits, too. `NVLHUB_BENCH_PAST`,
`NVLHUB_BENCH_PROJECTS` and `NVLHUB_BENCH_SECONDS` make it smaller.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.ports import free_port
from nvlhub.store import Store, verify
from tests.benchmarks.ledger_load import LEASES, Borne, Load, together
from tests.benchmarks.ledger_past import fill
from tests.conftest import running_postgres

PAST = int(os.environ.get("NVLHUB_BENCH_PAST", "1000000"))
PROJECTS = int(os.environ.get("NVLHUB_BENCH_PROJECTS", "5000"))
SECONDS = float(os.environ.get("NVLHUB_BENCH_SECONDS", "15"))
CLIENTS, PROCESSES = 32, 2
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def peer() -> float | None:
    """Jobs that Slurm takes and cancels a second; None: it is not installed."""
    if missing := lacking():
        print(f"\nno comparison with Slurm: {', '.join(missing)} not installed")
        return None
    with (
        tempfile.TemporaryDirectory(prefix="nvlhub-slurm-") as directory,
        private_slurm(Path(directory) / "base") as slurm,
    ):
        slurm.add_account("bench", gpu_minutes=10**9)
        rate = jobs_a_second(slurm)
    print(f"\nSlurm, {CLIENTS} clients: {rate:.0f} jobs/s submitted and cancelled")
    return rate


def jobs_a_second(slurm: Slurm) -> float:
    """Submit jobs and cancel them, by as many threads as there are clients of the portal."""
    done: list[str] = []
    begun = time.monotonic()

    def client() -> None:
        while time.monotonic() < begun + SECONDS:
            job = slurm.run(
                "sbatch", "--parsable", "--account=bench", "--gres=gpu:1", "--time=60", "--output=/dev/null",
                "--wrap", "sleep 3600",
            ).strip()  # fmt: skip
            slurm.run("scancel", job)
            done.append(job)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.monotonic() - begun)


@contextlib.contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """An empty database that flushes what it has promised to keep, as in production."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'portal.sqlite'}"
        for file in directory.glob("portal.sqlite*"):
            file.unlink()
        return
    with running_postgres() as server:
        with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as admin:
            admin.execute("CREATE DATABASE bench")
        yield f"{server}/bench"


@dataclass(frozen=True)
class Portal:
    """A portal's process."""

    port: int
    process: psutil.Popen

    def active(self) -> int:
        """Return how many leases hold anything."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}{LEASES}", headers={"Authorization": "token admin"})
        return int(answer.json()["total"])

    def worked(self) -> float:
        """Return the seconds of CPU time that it has taken: other load on the machine hardly changes that."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def portal(url: str, directory: Path) -> Iterator[Portal]:
    """Run a portal for the length of the block."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.ledger_portal", url, str(port)]
    with (directory / "portal.log").open("wb") as log:
        process = psutil.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        running = Portal(port, process)
        try:
            for _ in range(300):
                with contextlib.suppress(httpx.HTTPError):
                    running.active()
                    break
                assert process.poll() is None, (directory / "portal.log").read_text()[-3000:]
                time.sleep(0.1)
            yield running
        finally:
            process.terminate()
            process.wait(30)


def bear(port: int, seconds: float, pace: float = 0) -> Borne:
    """Load the portal from other processes, so that the clients' work is not counted as its own."""
    load = Load(port, CLIENTS // PROCESSES, seconds, PROJECTS, pace)
    command = [sys.executable, "-m", "tests.benchmarks.ledger_load", json.dumps(asdict(load))]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(PROCESSES)]
    borne = together([Borne(**json.loads(process.communicate()[0])) for process in processes])
    assert not borne.failures, borne.failures[:5]
    return borne


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    return 1000 * statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class Memory(threading.Thread):
    """Watches how much memory this process takes more than at the start, at most."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process()
        self.before = self.process.memory_info().rss
        self.most = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, self.process.memory_info().rss - self.before)


def prove(store: Store) -> tuple[float, float]:
    """Verify the ledger; return the seconds and the megabytes that it took."""
    memory = Memory()
    memory.start()
    begun = time.monotonic()
    with store.reading() as unit:
        assert verify(unit) == []
    spent = time.monotonic() - begun
    memory.over.set()
    memory.join()
    return spent, memory.most / 2**20


def without_pause(kind: str, running: Portal, peer: float | None) -> None:
    """Take leases and give them back as fast as can be."""
    bear(running.port, 2)
    begun, worked = time.monotonic(), running.worked()
    borne = bear(running.port, SECONDS)
    rate = borne.cycles / (time.monotonic() - begun)
    ratio = f"{rate / peer:.1f} times Slurm's {peer:.0f}/s (aim >= 5)" if peer else "no peer"
    print(
        f"{kind}: {CLIENTS} clients without a pause: {rate:.0f} leases/s taken and given back, {ratio}; "
        f"admission p50 {percentile(borne.admissions, 50):.0f} ms, p99 {percentile(borne.admissions, 99):.0f} ms; "
        f"{1000 * (running.worked() - worked) / borne.cycles:.1f} ms of the portal's CPU time each"
    )


def paced(kind: str, running: Portal) -> None:
    """Take leases and give them back well below what can be borne."""
    borne = bear(running.port, SECONDS, pace=1.0)
    print(
        f"{kind}: {CLIENTS} clients, a lease a second each: admission p50 {percentile(borne.admissions, 50):.1f} ms, "
        f"p99 {percentile(borne.admissions, 99):.1f} ms (aim <= 50)"
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_leases_taken_and_given_back(kind: str, tmp_path: Path, peer: float | None) -> None:
    with database(kind, tmp_path) as url:
        store = Store(url)
        store.migrate()
        begun = time.monotonic()
        fill(store, projects=PROJECTS, past=PAST, now=int(time.time()))
        print(f"\n{kind}: {PAST:,} past leases of {PROJECTS:,} projects in {time.monotonic() - begun:.0f} s")
        with portal(url, tmp_path) as running:
            without_pause(kind, running, peer)
            paced(kind, running)
            for _ in range(100):
                if not running.active():
                    break
                time.sleep(0.1)
            assert running.active() == 0
        spent, growth = prove(store)
        print(f"{kind}: every invariant proved in {spent:.0f} s (aim <= 60), {growth:.0f} MB more memory at most")
        store.close()
