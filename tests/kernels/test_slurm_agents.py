"""Agents of one lease on two nodes of a real Slurm: their letter by a here-document, their GPUs from the job."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlkernels.mailbox import Line, Mailbox
from nvlkernels.scratch import scratch

pytestmark = pytest.mark.slurm

LEASE = "lease-of-two-nodes"
GRACE = 5
SCRIPT = """#!/bin/sh
#SBATCH --nodes={nodes} --ntasks-per-node=1 --gres=gpu:2 --time={minutes} --export=ALL --no-requeue --output={log}
export TMPDIR={scratch}
exec {command} <<'END'
{letter}
END
"""
SLEEP = "import time; time.sleep(300)"


class Job:
    """A job with the agents of one lease."""

    def __init__(self, slurm: Any, mailbox: Mailbox, scratch: Path) -> None:
        self._slurm, self._mailbox, self.scratch = slurm, mailbox, scratch
        self.line: Line = mailbox.line(LEASE)
        self.id = ""

    async def start(self, nodes: int) -> dict[str, Any]:
        """Submit it; return the hello of its agents."""
        letter = {
            **self._mailbox.address.model_dump(), "grace": GRACE, "bind": "auto", "directory": "", "given": "slurm",
            "environment": {"NVLHUB_LEASE": LEASE, "NVLHUB_SIMULATED": "1"},
        }  # fmt: skip
        agent = [sys.executable, "-m", "nvlkernels.agent", LEASE]
        step = ["srun", "--ntasks-per-node=1", "--export=ALL"] if nodes > 1 else []
        script = SCRIPT.format(
            nodes=nodes, minutes=1, log=self.scratch.with_suffix(".log"), scratch=self.scratch,
            command=shlex.join([*step, *agent]), letter=json.dumps(letter),
        )  # fmt: skip
        self.id = (await self.run("sbatch", "--parsable", text=script)).strip()
        return await asyncio.wait_for(self.line.hello, 60)

    async def run(self, *command: str, text: str | None = None) -> str:
        return str(await asyncio.to_thread(self._slurm.run, *command, text=text))

    async def until(self, true: Callable[[], Any], what: str) -> None:
        await asyncio.to_thread(self._slurm.until, true, what)

    async def gone(self) -> None:
        """Wait until Slurm has it no more and no process of it is left."""
        await self.until(lambda: not self._slurm.run("squeue", "-h", "-j", self.id), "the end of the job")
        await self.until(lambda: not left(), "the end of its processes")

    async def over(self) -> None:
        """Wait until nothing of it is left: no process, no file."""
        await self.gone()
        assert [*self.scratch.iterdir()] == []

    async def work(self, code: str = SLEEP) -> None:
        """Have a task on each GPU."""
        for number, device in enumerate(self.line.hello.result()["devices"]):
            run = self.line.run(f"w-{number}")
            await run.start(argv=[sys.executable, "-c", code], env={}, devices=[device])

    async def said(self, code: str, **more: Any) -> str:
        """Run a piece of Python as a task; return what it prints."""
        run = self.line.run("said")
        await run.start(argv=[sys.executable, "-c", code], env={"PATH": "/usr/bin:/bin"}, tell=True, **more)
        await asyncio.wait_for(run.ended.wait(), 60)
        assert run.exited is not None
        return str(run.exited["tail"]).strip()


def left() -> list[psutil.Process]:
    """Processes of the lease."""
    return [
        process
        for process in psutil.process_iter(["environ", "cmdline", "status"])
        if LEASE in (process.info["cmdline"] or []) or (process.info["environ"] or {}).get("NVLHUB_LEASE") == LEASE
    ]


@pytest.fixture
async def job(slurm: Any, tmp_path: Path) -> AsyncIterator[Job]:
    mailbox = Mailbox("127.0.0.1")
    (tmp_path / "scratch").mkdir()
    made = Job(slurm, mailbox, tmp_path / "scratch")
    yield made
    if made.id:
        await made.run("scancel", made.id)
        await made.over()
    mailbox.close()


async def test_each_agent_has_the_gpus_of_its_own_node_and_tasks_run_beside_them(job: Job) -> None:
    hello = await job.start(nodes=2)
    first, second = sorted({name.partition("/")[0] for name in hello["devices"]})
    assert hello["devices"] == [f"{first}/0", f"{first}/1", f"{second}/0", f"{second}/1"]
    assert (hello["node"], hello["bind"]) == (first, "127.0.0.1")
    told = "import os; print([os.environ[n] for n in ('SLURMD_NODENAME', 'NVLHUB_DEVICES', 'NVLHUB_NODES', 'NVLHUB_BIND')])"
    assert await job.said(told, devices=[f"{second}/1"]) == str(
        [second, f"{second}/1", f"{first},{second}", "127.0.0.1"]
    )


async def test_srun_from_a_cell_runs_on_all_nodes_of_the_job(job: Job) -> None:
    hello = await job.start(nodes=2)
    nodes = sorted({name.partition("/")[0] for name in hello["devices"]})
    srun = "import subprocess; print(sorted(subprocess.run(['srun', '--overlap', 'printenv', 'SLURMD_NODENAME'], capture_output=True, text=True, check=True).stdout.split()))"
    assert await job.said(srun) == str(nodes)


async def test_an_interrupt_reaches_a_task_on_the_second_node_at_once(job: Job) -> None:
    hello = await job.start(nodes=2)
    run = job.line.run("w")
    code = "import time\ntry: time.sleep(300)\nexcept KeyboardInterrupt: print('interrupted')"
    device = hello["devices"][-1]
    await run.start(argv=[sys.executable, "-c", code], env={}, devices=[device], tell=True)
    # It must have come as far as to be interrupted.
    await asyncio.sleep(0.5)
    begun = asyncio.get_running_loop().time()
    run.signal(2)
    await asyncio.wait_for(run.ended.wait(), 60)
    assert run.exited is not None
    assert run.exited["tail"].strip() == "interrupted"
    assert asyncio.get_running_loop().time() - begun < 1


@pytest.mark.parametrize("nodes", [1, 2])
async def test_scancel_leaves_nothing(job: Job, nodes: int) -> None:
    await job.start(nodes)
    await job.work()
    await job.run("scancel", job.id)
    await asyncio.wait_for(job.line.run("w-0").ended.wait(), 60)
    await job.over()


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("how", ["--signal=TERM", "--signal=KILL"])
async def test_a_signal_to_all_of_a_job_leaves_no_process_and_the_next_agent_there_tidies_up(
    job: Job, nodes: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm kills a step at once whose srun is told to end: its agents have no time."""
    await job.start(nodes)
    await job.work()
    await job.run("scancel", how, "--full", job.id)
    await job.gone()
    for killed in job.scratch.iterdir():
        os.utime(killed, (0, 0))
    monkeypatch.setattr("tempfile.tempdir", str(job.scratch))
    with scratch() as made:
        assert [str(path) for path in job.scratch.iterdir()] == [made]


async def test_signals_to_the_steps_of_a_job_reach_its_tasks_and_end_no_agent(job: Job) -> None:
    await job.start(nodes=2)
    await job.work("import signal; signal.pause()")
    await job.run("scancel", "--signal=USR1", job.id)
    for number in range(4):
        await asyncio.wait_for(job.line.run(f"w-{number}").ended.wait(), 60)
    assert await job.said("print('still here')") == "still here"


async def test_when_nobody_is_heard_the_job_ends_by_itself_with_a_status_of_its_own(job: Job, slurm: Any) -> None:
    await job.start(nodes=2)
    await job.line.run().start(argv=[sys.executable, "-c", SLEEP], env={})
    job._mailbox.close()
    await job.over()
    assert "ExitCode=75:0" in await job.run("scontrol", "show", "job", job.id)


async def test_when_the_node_of_one_agent_dies_the_whole_lease_ends(job: Job) -> None:
    hello = await job.start(nodes=2)
    agents = [process for process in left() if "nvlkernels.agent" in process.cmdline() and process.name() != "srun"]
    [second] = [
        agent for agent in agents if agent.environ()["SLURMD_NODENAME"] == hello["devices"][-1].partition("/")[0]
    ]
    second.terminate()
    await job.over()
