"""Several agents of one lease, each on a node of its job: who gets which task, and how they stand and fall together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nvlkernels import mailbox as module
from nvlkernels.agent import LOST
from nvlkernels.mailbox import Line, Mailbox
from nvlkernels.scratch import PREFIX, scratch

LEASE = "lease-1"


def environ(node: int, of: int = 2, gpus: str = "0,1") -> dict[str, str]:
    """What Slurm tells a step on one of its nodes."""
    return {
        "SLURM_JOB_ID": "7", "SLURMD_NODENAME": f"n{node + 1}", "SLURM_NODEID": str(node), "SLURM_STEP_NUM_NODES": str(of),
        "SLURM_STEP_GPUS": gpus, "CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_NODELIST": f"n[1-{of}]",
    }  # fmt: skip


async def start(mailbox: Mailbox, scratch: Path, variables: dict[str, str], **letter: Any) -> Process:
    told = {
        **mailbox.address.model_dump(), "grace": 5, "bind": "auto", "directory": "", "given": "slurm",
        "environment": {"NVLHUB_LEASE": LEASE, "NVLHUB_SIMULATED": "0"}, **letter,
    }  # fmt: skip
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nvlkernels.agent", LEASE, stdin=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(scratch), **variables},
    )  # fmt: skip
    assert agent.stdin is not None
    agent.stdin.write((json.dumps(told) + "\n").encode())
    agent.stdin.close()
    return agent


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    made = Mailbox("127.0.0.1")
    yield made
    made.close()


@pytest.fixture
async def agents(mailbox: Mailbox, tmp_path: Path) -> AsyncIterator[tuple[Process, Process]]:
    """Two agents; the second node's is heard first."""
    second = await start(mailbox, tmp_path, environ(1, gpus="2,3"))
    line = mailbox.line(LEASE)
    while not line._members:
        await asyncio.sleep(0.01)
    assert not line.hello.done()
    first = await start(mailbox, tmp_path, environ(0))
    await asyncio.wait_for(line.hello, 60)
    yield first, second
    line.say("exit")
    for agent in (first, second):
        assert await asyncio.wait_for(agent.wait(), 60) == 0
    assert modes(tmp_path) == []


def modes(where: Path) -> list[int]:
    """Return the modes of what is in a directory, and of what is in there."""
    return sorted(path.stat().st_mode & 0o777 for path in where.rglob("*"))


async def said(line: Line, name: str, code: str, **more: Any) -> str:
    """Run a piece of Python and return what it prints."""
    run = line.run(name)
    await run.start(argv=[sys.executable, "-c", code], env={"SLURM_JOB_ID": "1"}, conn=None, tell=True, **more)
    await asyncio.wait_for(run.ended.wait(), 60)
    assert run.exited is not None
    return str(run.exited["tail"]).strip()


ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"
SLEEP = "import time; time.sleep(60)"


async def test_a_lease_is_there_when_all_its_agents_are(mailbox: Mailbox, agents: tuple[Process, Process]) -> None:
    line = mailbox.line(LEASE)
    hello = line.hello.result()
    assert hello["devices"] == ["n1/0", "n1/1", "n2/2", "n2/3"]
    assert (hello["node"], hello["pid"], hello["bind"]) == ("n1", agents[0].pid, "127.0.0.1")
    assert line.first == ["n1/0", "n1/1"]


async def test_a_task_runs_on_the_node_that_has_its_gpu_and_a_kernel_on_the_first(
    mailbox: Mailbox, agents: tuple[Process, Process]
) -> None:
    line = mailbox.line(LEASE)
    for device, node, visible in (("n1/1", "n1", "1"), ("n2/3", "n2", "1"), ("n2/2", "n2", "0")):
        told = json.loads(await said(line, f"w-{device[-1]}", ENVIRONMENT, devices=[device]))
        assert (told["NVLHUB_NODE"], told["NVLHUB_DEVICES"], told["CUDA_VISIBLE_DEVICES"]) == (node, device, visible)
        assert (told["NVLHUB_BIND"], told["SLURM_JOB_ID"]) == ("127.0.0.1", "7")
    kernel = json.loads(await said(line, "", ENVIRONMENT))
    assert (kernel["NVLHUB_NODE"], kernel["NVLHUB_DEVICES"]) == ("n1", "n1/0,n1/1")


async def test_a_signal_reaches_the_node_of_the_task(mailbox: Mailbox, agents: tuple[Process, Process]) -> None:
    line = mailbox.line(LEASE)
    runs = [line.run(name) for name in ("w-0", "w-1")]
    for run, device in zip(runs, ("n1/0", "n2/2"), strict=True):
        assert (await run.start(argv=[sys.executable, "-c", SLEEP], env={}, devices=[device]))["kind"] == "started"
    runs[1].signal(signal.SIGKILL)
    await asyncio.wait_for(runs[1].ended.wait(), 60)
    assert (runs[0].exited, runs[1].exited["rc"]) == (None, -9)  # type: ignore[index]


async def test_when_one_leaves_all_leave(mailbox: Mailbox, agents: tuple[Process, Process]) -> None:
    line = mailbox.line(LEASE)
    run = line.run("w-0")
    await run.start(argv=[sys.executable, "-c", SLEEP], env={}, devices=["n1/0"])
    agents[1].send_signal(signal.SIGTERM)
    await asyncio.wait_for(run.ended.wait(), 60)
    assert run.exited is not None
    assert run.exited["phase"] == "bye"
    for agent in agents:
        assert await asyncio.wait_for(agent.wait(), 60) == 0


async def test_signals_for_the_tasks_of_a_job_end_no_agent(mailbox: Mailbox, agents: tuple[Process, Process]) -> None:
    line = mailbox.line(LEASE)
    agents[0].send_signal(signal.SIGUSR1)
    agents[0].send_signal(signal.SIGUSR2)
    assert await said(line, "", "print('still here')") == "still here"


async def test_an_agent_removes_its_directory_when_it_is_told_to_end_or_nobody_is_heard(tmp_path: Path) -> None:
    for grace, end, status in ((60.0, "term", 0), (0.5, "silence", LOST)):
        mailbox = Mailbox("127.0.0.1")
        agent = await start(mailbox, tmp_path, environ(0, of=1), grace=grace)
        line = mailbox.line(LEASE)
        await asyncio.wait_for(line.hello, 60)
        await line.run().start(argv=[sys.executable, "-c", SLEEP], env={}, files={"key.pem": "secret"})
        # The lock, the key and the output of the task in the directory.
        assert modes(tmp_path) == [0o600, 0o600, 0o600, 0o700]
        if end == "term":
            agent.send_signal(signal.SIGTERM)
        mailbox.close()
        assert await asyncio.wait_for(agent.wait(), 60) == status
        assert modes(tmp_path) == []


async def test_an_agent_that_stood_still_itself_was_left_by_nobody(mailbox: Mailbox, tmp_path: Path) -> None:
    agent = await start(mailbox, tmp_path, environ(0, of=1), grace=2.0)
    line = mailbox.line(LEASE)
    await asyncio.wait_for(line.hello, 60)
    agent.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3.5)
    agent.send_signal(signal.SIGCONT)
    assert await said(line, "", "print('still here')") == "still here"
    await asyncio.sleep(1.5)
    assert agent.returncode is None
    line.say("exit")
    assert await asyncio.wait_for(agent.wait(), 60) == 0


def test_what_killed_agents_left_goes_and_what_others_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("killed", "killed-early", "fresh"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
    (tmp_path / f"{PREFIX}killed" / "lock").touch()
    (tmp_path / "somebody-elses").mkdir()
    with scratch() as lives:
        for old in tmp_path.iterdir():
            if not old.name.endswith("fresh"):
                os.utime(old, (0, 0))
        with scratch() as second:
            assert {path.name for path in tmp_path.iterdir()} == {
                Path(lives).name, Path(second).name, f"{PREFIX}fresh", "somebody-elses"
            }  # fmt: skip


# --- the line alone ---------------------------------------------------------------------------------------------------


class Outbox:
    """What a line sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []

    def send(self, way: bytes, message: dict[str, Any]) -> None:
        self.sent.append((way, message["kind"]))


def hello(place: int, agent: str, of: int = 2) -> dict[str, Any]:
    return {"kind": "hello", "agent": agent, "place": place, "of": of, "devices": [f"n{place}/0"]}


async def pair() -> tuple[Line, Outbox]:
    outbox = Outbox()
    line = Line(outbox)  # type: ignore[arg-type]
    line.hear(b"way-1", hello(1, "b"))
    line.hear(b"way-0", hello(0, "a"))
    return line, outbox


async def test_an_agent_that_dials_again_is_the_same_and_is_found() -> None:
    line, outbox = await pair()
    line.hear(b"new way", {"kind": "hb", "agent": "b"})
    line.say("exit")
    assert sorted(outbox.sent) == [(b"new way", "ack"), (b"new way", "exit"), (b"way-0", "exit")]


async def test_an_agent_that_was_started_anew_takes_the_place_of_the_first_and_its_last_word_is_no_news() -> None:
    line, outbox = await pair()
    line.run().start(devices=["n1/0"])
    line.hear(b"way-2", hello(1, "c"))
    line.hear(b"way-1", {"kind": "bye", "agent": "b"})
    assert line.run().exited is None
    line.say("exit")
    assert outbox.sent == [(b"way-1", "start"), (b"way-0", "exit"), (b"way-2", "exit")]


async def test_a_line_speaks_while_every_agent_that_was_heard_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(Outbox())  # type: ignore[arg-type]
    assert line.speaks
    line.hear(b"way-0", hello(0, "a"))
    assert line.speaks
    line.hear(b"way-1", hello(1, "b"))
    monkeypatch.setattr(module, "SILENT", 0.05)
    await asyncio.sleep(0.06)
    line.hear(b"way-0", {"kind": "hb", "agent": "a"})
    assert not line.speaks
    line.hear(b"way-1", {"kind": "hb", "agent": "b"})
    assert line.speaks


def measured(agent: str, *gpus: list[int], real: bool = True, busy: bool = False) -> dict[str, Any]:
    return {"kind": "hb", "agent": agent, "sample": {"real": real, "busy": busy, "gpus": list(gpus)}}


async def test_what_agents_measure_goes_together_in_the_order_of_their_nodes() -> None:
    line, _ = await pair()
    line.hear(b"way-1", measured("b", [60, 6, 10], [70, 7, 10], busy=True))
    assert line.beat("running", 0).sample is None
    line.hear(b"way-0", measured("a", [10, 1, 10], [20, 2, 10]))
    beat = line.beat("running", 0)
    assert beat.sample is not None
    assert ([gpu.busy for gpu in beat.sample.gpus], beat.gpu_busy) == ([10, 20, 60, 70], True)
    assert line.beat("running", 0).sample is None
    # The one that is a little late counts with what it measured before.
    line.hear(b"way-0", measured("a", [11, 1, 10], [21, 2, 10]))
    again = line.beat("running", 0).sample
    assert again is not None
    assert [gpu.busy for gpu in again.gpus] == [11, 21, 60, 70]


async def test_of_simulated_gpus_on_several_nodes_there_is_one_figure() -> None:
    line, _ = await pair()
    line.hear(b"way-0", measured("a", [10, 1, 10], real=False))
    line.hear(b"way-1", measured("b", [30, 2, 10], real=False))
    sample = line.beat("running", 0).sample
    assert sample is not None
    assert (sample.real, [(gpu.busy, gpu.memory, gpu.memory_total) for gpu in sample.gpus]) == (False, [(20, 3, 20)])


async def test_more_gpus_than_a_sample_holds_are_cut_off_and_what_does_not_fit_together_is_dropped() -> None:
    line, _ = await pair()
    for agent in ("a", "b"):
        line.hear(agent.encode(), measured(agent, *([[1, 1, 1]] * 40)))
    sample = line.beat("running", 0).sample
    assert sample is not None
    assert len(sample.gpus) == 72
    line.hear(b"way-0", measured("a", [1, 1, 1], real=False))
    assert line.beat("running", 0).sample is None
