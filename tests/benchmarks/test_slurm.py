"""What a portal costs on a real Slurm: a start beside a plain sbatch, the load on the controller, and every second accounted for."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client import AsyncKernelClient
from jupyter_client.connect import write_connection_file

from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.flow.lease import End
from nvlhub.run import Runner
from nvlhub.wire import EndReason, State, WorkersAsk
from tests.conftest import missing
from tests.portal_kit import MAILBOX, RESEARCHER
from tests.slurm.kit import Hand, Kernel, ServedBySlurm, hand

pytestmark = pytest.mark.slurm

STARTS = 12
LIVE, TICKS = 500, 20
LEASES, WAVE, TOGETHER = 1000, 250, 50


@contextmanager
def cluster(domains: int) -> Iterator[Slurm]:
    if absent := lacking():
        missing(f"Slurm ({', '.join(absent)})")
    with tempfile.TemporaryDirectory(prefix="nvlhub-slurm-", ignore_cleanup_errors=True) as base:
        Path(base).chmod(0o755)
        begun = time.monotonic()
        with private_slurm(Path(base) / "slurm", domains=domains) as running:
            said = running.run("sbatch", "--version").strip()
            print(f"\n{said}, {72 * domains} GPUs in {18 * domains} nodes, up in {time.monotonic() - begun:.1f} s")
            yield running


async def plain(slurm: Slurm, directory: Path) -> float:
    """Return the seconds from a plain sbatch of ipykernel to its first answer."""
    begun = time.perf_counter()
    file, _ = write_connection_file(str(directory / f"{time.monotonic_ns()}.json"))
    script = f"#!/bin/sh\nexec {sys.executable} -m ipykernel_launcher -f {file}\n"
    options = ("--parsable", "--gres=gpu:1", "--no-requeue", "--output=/dev/null", "--export=ALL")
    job = slurm.run("sbatch", *options, text=script).strip()
    client = AsyncKernelClient()
    client.load_connection_file(file)
    await answer(client)
    spent = time.perf_counter() - begun
    client.stop_channels()
    slurm.run("scancel", job)
    slurm.until(lambda: not slurm.jobs(), "the end of the job")
    return spent


async def leased() -> float:
    """Return the seconds from the ask for a lease to the first answer of its kernel."""
    begun = time.perf_counter()
    notebook = Kernel("nvlhub-demo.gpu1")
    await notebook.manager.start_kernel()
    notebook.client = notebook.manager.client()
    await answer(notebook.client)
    spent = time.perf_counter() - begun
    await notebook.stop()
    return spent


async def answer(client: Any) -> None:
    """Wait until a kernel has run a cell. What is sent before it listens is sent on when it does."""
    client.start_channels(hb=False)
    await client.execute("1", reply=True, timeout=60)


async def test_a_start_beside_a_plain_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(1) as slurm:
        (tmp_path / "data").mkdir()
        served = ServedBySlurm(tmp_path / "data", slurm=slurm)
        monkeypatch.setenv("NVLHUB_PORTAL_URL", served.url)
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t-researcher")
        times: dict[str, list[float]] = {"plain": [], "leased": []}
        await plain(slurm, tmp_path)
        await leased()
        for _ in range(STARTS):
            times["plain"].append(await plain(slurm, tmp_path))
            times["leased"].append(await leased())
            await asyncio.to_thread(slurm.until, lambda: not slurm.jobs(), "the end of the job")
        await asyncio.to_thread(served.settled)
        served.stop()
    a, b = (statistics.median(values) for values in times.values())
    print(
        f"kernel on Slurm ready, median of {STARTS}: plain sbatch of ipykernel {version('ipykernel')} {a:.2f} s, with lease {b:.2f} s; "
        f"ratio {b / a:.2f} (aim <= 1.15)"
    )


def counts(slurm: Slurm) -> dict[str, int]:
    """Return how often the controller was asked what by people's commands, as sdiag says."""
    lines = [line for line in slurm.run("sdiag").splitlines() if "count:" in line and "(" in line]
    return {line.split("(")[0].strip(): int(line.split("count:")[1].split()[0]) for line in lines}


def busy(slurm: Slurm) -> float:
    times = psutil.Process(slurm._daemons["slurmctld"].pid).cpu_times()
    return times.user + times.system


def start(portal: Hand, count: int) -> float:
    """Have so many more leases of one GPU run, some at a time; return the seconds that it took."""
    begun, runner = time.monotonic(), portal.kit.runner
    for _ in range(count // TOGETHER):
        ask = WorkersAsk(project="demo", profile="gpu1", seconds=600, mailbox=MAILBOX, count=TOGETHER)
        portal.kit.keys += 1
        portal.kit.desk.ask_together(RESEARCHER, ask, f"key-{portal.kit.keys}")
        portal.until(lambda: {lease.state for lease in runner.board.leases.values()} == {State.RUNNING}, seconds=300)
    return time.monotonic() - begun


def end(portal: Hand) -> float:
    begun = time.monotonic()
    for lease_id in list(portal.kit.runner.board.leases):
        # Said at once, heard together.
        Runner.tell(portal.kit.runner, lease_id, End(EndReason.USER, portal.kit.clock.now()), "test")
    portal.until(lambda: not portal.kit.runner.board.leases, seconds=600)
    return time.monotonic() - begun


@pytest.mark.timeout(1800)
def test_the_load_of_many_leases_and_every_second_of_a_thousand(tmp_path: Path) -> None:
    with cluster(7) as slurm:
        portal = hand(slurm, tmp_path / "portal", told={"timeout": 60}, grace=120)
        # The capacity is counted once: a portal does so every minute.
        portal.kit.runner._sweep = 3600
        took = start(portal, LIVE)
        assert len(portal.kit.runner.board.leases) == LIVE
        print(f"{LIVE} leases, {TOGETHER} asked for at once, run after {took:.1f} s")
        time.sleep(3)
        before, used, turns = counts(slurm), busy(slurm), []
        begun = time.monotonic()
        for _ in range(TICKS):
            time.sleep(1)
            turned = time.perf_counter()
            portal.kit.step()
            turns.append(time.perf_counter() - turned)
        passed = time.monotonic() - begun
        after = counts(slurm)
        asked = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
        print(
            f"{LIVE} live leases, {TICKS} turns: the controller was asked {asked}; it used "
            f"{100 * (busy(slurm) - used) / passed:.1f} % of a core; a turn takes {1000 * statistics.median(turns):.0f} ms"
        )
        print(f"all of them ended and settled in {end(portal):.1f} s")
        for _ in range((LEASES - LIVE) // WAVE):
            print(f"{WAVE} more run after {start(portal, WAVE):.1f} s, are settled after {end(portal):.1f} s more")
        slurm.until(lambda: portal.exact() == [], "the accounting", patience=120)
        begun = time.monotonic()
        found = portal.differences()
        with portal.kit.store.reading() as unit:
            leases, total = unit.leases(state="ended", per_page=LEASES)
        charged = sum(lease.charged for lease in leases)
        print(
            f"{total} leases, {charged // 1000:,} GPU-seconds: differences to sacct {len(found)}, to the second "
            f"{len(portal.exact())}; reconciled in {time.monotonic() - begun:.1f} s"
        )
        assert (total, found, portal.exact()) == (LEASES, [], [])
        portal.kit.store.close()
