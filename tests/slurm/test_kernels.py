"""Kernels, workers and gangs as jobs of a real Slurm: from the lease to the last second that is charged."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from nvlhub.flow.request import Profile
from nvlhub.wire import Span
from nvlkernels import Cluster
from nvlkernels import provisioner as provisioning
from tests.slurm.kit import ServedBySlurm, kernel
from tests.waiting import until

pytestmark = pytest.mark.slurm

WHERE = "import os; print(os.environ['SLURM_JOB_ID'], os.environ['NVLHUB_DEVICES'], os.environ['SLURMD_NODENAME'])"


async def test_a_kernel_runs_in_a_job_and_is_charged_for_its_seconds(served: ServedBySlurm) -> None:
    async with kernel("nvlhub-demo.gpu2") as notebook:
        job, devices, node = (await notebook.run(WHERE)).split()
        assert served.jobs() == {notebook.lease: [int(job)]}
        assert devices == f"{node}/0,{node}/1"
        shown = served.api("GET", f"/leases/{notebook.lease}")
        assert shown["devices"] == devices.split(",")
        assert await notebook.run("import nvlkernels; print(nvlkernels.lease().gpus)") == "2"
    [ended] = await asyncio.to_thread(served.settled)
    assert ended["end_reason"] == "user"
    assert ended["charged"] == 2 * (ended["ended_at"] - ended["started_at"]) * 1000


async def test_an_interrupt_takes_less_than_a_second_and_a_restart_stays_in_the_job(served: ServedBySlurm) -> None:
    async with kernel() as notebook:
        await notebook.run("x = 41")
        sleeping = asyncio.create_task(notebook.run("print('begun', flush=True)\nimport time; time.sleep(60)"))
        await asyncio.sleep(0.5)
        asked = time.monotonic()
        await notebook.manager.interrupt_kernel()
        assert await sleeping == "KeyboardInterrupt"
        assert time.monotonic() - asked < 1
        assert await notebook.run("print(x + 1)") == "42"
        before = (await notebook.run(WHERE)).split(), dict(notebook.manager.get_connection_info())
        await notebook.manager.restart_kernel()
        await notebook.connect()
        assert (await notebook.run(WHERE)).split() == before[0]
        assert dict(notebook.manager.get_connection_info()) == before[1]
        assert await notebook.run("print(x)") == "NameError"


async def test_a_lease_that_ends_by_idleness_or_by_hand_takes_its_job_along(
    served: ServedBySlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "BEAT", 0.5)
    with served.portal.store.writing() as unit:
        unit.publish(
            "lazy", unit.add_profile(Profile("lazy", 0, "lazy", served.settings().pool, 1, Span.DOMAIN, 600, idle=2))
        )
    async with kernel("nvlhub-demo.lazy") as lazy, kernel() as other:
        reasons = {lazy.lease: "idle", other.lease: "admin"}
        lazy.manager.execution_state = "idle"
        lazy.manager.last_activity = datetime.now(UTC) - timedelta(hours=1)
        served.api("DELETE", f"/leases/{other.lease}")
        ended = await asyncio.to_thread(until, lambda: len(found := served.leases(state="ended")) == 2 and found)
        assert {lease["id"]: lease["end_reason"] for lease in ended} == reasons
        for notebook in (lazy, other):
            # Nobody asks the portal why: the agent says that it leaves.
            while await notebook.manager.is_alive():
                await asyncio.sleep(0.05)


async def test_a_deadline_ends_the_job_and_charges_what_slurm_counted(served: ServedBySlurm) -> None:
    async with kernel("nvlhub-demo.gpu1.1m") as notebook:
        job = (await notebook.run(WHERE)).split()[0]
        served.portal.clock._offset += 60
        [ended] = await asyncio.to_thread(until, lambda: served.leases(state="ended"))
    assert ended["end_reason"] == "deadline"
    [ran] = served.slurm.run("sacct", "-X", "-n", "-P", "-j", job, "-o", "ElapsedRaw").split()
    assert ended["charged"] == 1000 * int(ran)


def test_workers_are_jobs_and_a_gang_is_one_job_over_its_nodes(served: ServedBySlurm) -> None:
    with Cluster(2, project="demo", quiet=True) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, timeout=60)
        assert client.gather(client.map(abs, range(-3, 0))) == [3, 2, 1]
        assert len(served.jobs()) == 2
    with Cluster(8, project="demo", profile="gpu8", gang=True, quiet=True) as gang, gang.get_client() as client:
        client.wait_for_workers(8, timeout=60)
        [[job]] = served.jobs().values()
        assert served.slurm.run("squeue", "-h", "-j", str(job), "-o", "%D").strip() == "2"
        told = client.run(lambda: __import__("os").environ["NVLHUB_DEVICES"])
        [lease] = served.leases()
        assert sorted(told.values()) == sorted(lease["devices"])
    assert {lease["end_reason"] for lease in served.settled()} == {"user"}
