"""Kernels, workers and gangs as jobs of a real Slurm: from the lease to the last second that is charged."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.slurm.kit import ServedBySlurm, jobs, kernel, until

pytestmark = pytest.mark.slurm

WHERE = "import os; print(os.environ['SLURM_JOB_ID'], os.environ['NVLHUB_DEVICES'], os.environ['SLURMD_NODENAME'])"


async def test_a_kernel_runs_in_a_job_and_is_charged_for_its_seconds(served: ServedBySlurm) -> None:
    async with kernel("nvlhub-demo.gpu2") as notebook:
        job, devices, node = (await notebook.run(WHERE)).split()
        assert jobs(served.slurm) == {notebook.lease: [int(job)]}
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
