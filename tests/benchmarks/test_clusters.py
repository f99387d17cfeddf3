"""A new cluster until its first result, one more worker, and a hundred steps: against Dask's own LocalCluster in the same kernel,
and against dask-gateway where it is installed."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from nvlhub.notebook import Kernel
from tests.stories.live import live_portal

COUNT = 7

PREPARE = """
import json, os, time, logging
from nvlkernels import Cluster
from distributed import Client, LocalCluster
logging.disable(logging.WARNING)

def first_result(make):
    begun = time.perf_counter()
    with make() as cluster, Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        return time.perf_counter() - begun

def one_more(cluster, client, n):
    begun = time.perf_counter()
    cluster.scale(n)
    client.wait_for_workers(n)
    return time.perf_counter() - begun

ours = lambda n=1: Cluster(n, quiet=True)
local = lambda n=1: LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0")
for make in (ours, local): first_result(make)
"""

NEW = f"""
times = {{"ours": [], "local": []}}
for _ in range({COUNT}):
    times["ours"].append(first_result(ours)); times["local"].append(first_result(local))
print(json.dumps(times))
"""

MORE = f"""
times = {{"ours": [], "local": []}}
for name, make in (("ours", ours), ("local", local)):
    with make() as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        for n in range(2, 2 + {COUNT}):
            times[name].append(one_more(cluster, client, 2))
            cluster.scale(1)
            while len(cluster.scheduler_info["workers"]) > 1: time.sleep(0.02)
print(json.dumps(times))
"""

STEPS = """
import psutil
me = psutil.Process()
seen = []
with ours(0) as cluster, Client(cluster) as client:
    for step in range(100):
        cluster.scale(1); client.wait_for_workers(1)
        cluster.scale(0)
        while cluster.scheduler_info["workers"]: time.sleep(0.01)
        if step % 10 == 9: seen.append((me.memory_info().rss, me.num_fds(), me.num_threads()))
print(json.dumps(seen))
"""

GATEWAY = """
import json, sys, time
from dask_gateway import Gateway
gateway = Gateway(sys.argv[1])
begun = time.perf_counter()
cluster = gateway.new_cluster(); client = cluster.get_client(); cluster.scale(1)
assert client.submit(sum, [1, 2]).result() == 3
print(time.perf_counter() - begun, flush=True)
import os; os._exit(0)
"""


async def measured(kernel: Kernel, code: str) -> list[float]:
    ran = await kernel.run(code, timeout=500)
    assert not ran.error, ran.error
    found: list[float] = json.loads(ran.text.strip().splitlines()[-1])
    return found


def gatewayed(address: str) -> float:
    command = [sys.executable, "-c", GATEWAY, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return float(done.stdout.split()[-1])


def told(what: str, ours: list[float], peer: list[float], name: str, aim: str) -> None:
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"\n{what}: ours {mine:.2f} s, {name} {theirs:.2f} s; ratio {mine / theirs:.2f} ({aim})")


@pytest.mark.timeout(900)
async def test_a_cluster_of_leases_is_as_quick_as_one_without(tmp_path: Path) -> None:
    with live_portal(tmp_path / "live") as live:
        async with live.session() as session:
            await session.start_server()
            kernel = await session.start_kernel("nvlhub-demo.gpu1")
            await kernel.run(PREPARE)
            new: dict[str, list[float]] = await measured(kernel, NEW)  # type: ignore[assignment]
            told("new cluster until its first result", new["ours"], new["local"], "LocalCluster", "aim <= 1.0")
            more: dict[str, list[float]] = await measured(kernel, MORE)  # type: ignore[assignment]
            told("one more worker", more["ours"], more["local"], "LocalCluster", "no aim")
            steps: list[list[int]] = await measured(kernel, STEPS)  # type: ignore[assignment]
            (memory, files, threads), (last_memory, last_files, last_threads) = steps[0], steps[-1]
            print(
                f"\n100 steps up and down: memory {memory / 1e6:.0f} -> {last_memory / 1e6:.0f} MB, "
                f"open files {files} -> {last_files}, threads {threads} -> {last_threads} (from step 10 to step 100)"
            )
            if find_spec("dask_gateway") and find_spec("dask_gateway_server"):
                from tests.benchmarks.gateway import running_gateway  # noqa: PLC0415  # only where it is installed

                with running_gateway(tmp_path / "gateway") as address:
                    # A process each, because a second cluster of one process sometimes never gets its result.
                    gateway = [await asyncio.to_thread(gatewayed, address) for _ in range(4)][1:]
                told("new cluster until its first result", new["ours"], gateway, "dask-gateway", "aim <= 0.4")
            await kernel.shut_down()
            await live.settled()
