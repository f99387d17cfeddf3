"""The node agent and its mailbox: several tasks of one lease, and who may speak."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from nvlkernels.mailbox import Keys, Line, Mailbox

LEASE = "lease-1"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    made = Mailbox("127.0.0.1")
    yield made
    made.close()


@pytest.fixture
async def line(mailbox: Mailbox, tmp_path: Path) -> AsyncIterator[Line]:
    letter = {
        **mailbox.address.model_dump(),
        "grace": 5,
        "bind": "127.0.0.1",
        "directory": str(tmp_path),
        "environment": {
            "NVLHUB_DEVICES": "GPU-a,GPU-b",
            "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
            "NVLHUB_SIMULATED": "0",
        },
    }
    command = (sys.executable, "-m", "nvlkernels.agent", LEASE)
    agent = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
    assert agent.stdin is not None
    agent.stdin.write((json.dumps(letter) + "\n").encode())
    agent.stdin.close()
    found = mailbox.line(LEASE)
    hello = await asyncio.wait_for(found.hello, 60)
    assert hello["devices"] == ["GPU-a", "GPU-b"]
    yield found
    found.say("exit")
    await asyncio.wait_for(agent.wait(), 60)


def python(code: str) -> dict[str, Any]:
    return {"argv": [sys.executable, "-c", code], "env": dict(os.environ), "conn": None}


async def test_tasks_of_one_lease_have_their_own_devices_directory_and_end(line: Line, tmp_path: Path) -> None:
    code = "import os,sys; open(sys.argv[1]+'/out','w').write(os.environ['CUDA_VISIBLE_DEVICES']+open(sys.argv[1]+'/k.pem').read())"
    for name, device in (("w-0", "GPU-a"), ("w-1", "GPU-b")):
        told = python(code)
        told["argv"].append("{directory}")
        said = await line.run(name).start(**told, files={"k.pem": f" secret of {name}"}, devices=[device])
        assert said["kind"] == "started"
        await asyncio.wait_for(line.run(name).ended.wait(), 60)
        assert line.run(name).exited["rc"] == 0  # type: ignore[index]
        assert (tmp_path / name / "out").read_text() == f"{device} secret of {name}"
        assert stat.S_IMODE((tmp_path / name / "k.pem").stat().st_mode) == 0o600


async def test_a_task_gets_no_device_that_is_not_the_leases(line: Line) -> None:
    run = line.run("w")
    await run.start(**python("import os; raise SystemExit(os.environ['CUDA_VISIBLE_DEVICES'])"), devices=["GPU-z"])
    await asyncio.wait_for(run.ended.wait(), 60)
    assert "GPU-" not in run.exited["tail"]  # type: ignore[index]


async def test_a_file_name_leads_nowhere_else(line: Line, tmp_path: Path) -> None:
    run = line.run("w")
    await run.start(**python("pass"), files={"../../escaped": "x"})
    await asyncio.wait_for(run.ended.wait(), 60)
    assert (tmp_path / "w" / "escaped").exists()
    assert not (tmp_path.parent / "escaped").exists()


async def test_a_result_comes_with_the_end_of_its_task_and_only_where_it_is_asked_for(line: Line) -> None:
    code = "import sys; open(sys.argv[1] + '/report.json', 'w').write('r' * 3_000_000)"
    for asked, found in (({"result": "report.json"}, "r" * 3_000_000), ({"result": "absent"}, None), ({}, None)):
        told = python(code)
        told["argv"].append("{directory}")
        run = line.run("attempt")
        await run.start(**told, **asked)
        await asyncio.wait_for(run.ended.wait(), 60)
        assert (run.exited["rc"], run.exited.get("result")) == (0, found)  # type: ignore[index,union-attr]


async def test_the_last_words_of_a_failed_task_are_reported_and_it_can_start_again(line: Line) -> None:
    run = line.run("w")
    await run.start(**python("raise SystemExit('out of luck')"))
    await asyncio.wait_for(run.ended.wait(), 60)
    assert (run.exited["rc"], run.exited["tail"].strip()) == (1, "out of luck")  # type: ignore[index]
    said = await run.start(argv=["/nowhere/python"], env={}, conn=None)
    assert (said["rc"], said["phase"]) == (127, "start")
    said = await run.start(**python("import time; time.sleep(60)"))
    assert said["kind"] == "started"
    run.signal(9)
    await asyncio.wait_for(run.ended.wait(), 60)
    assert run.exited["rc"] == -9  # type: ignore[index]


async def test_a_mailbox_that_is_made_again_finds_the_agent_with_the_tasks_that_run(
    line: Line, mailbox: Mailbox, tmp_path: Path
) -> None:
    await line.run("ends").start(**python("pass"))
    await asyncio.wait_for(line.run("ends").ended.wait(), 60)
    await line.run("stays").start(**python("pass"))
    await asyncio.wait_for(line.run("stays").ended.wait(), 60)
    await line.run("stays").start(**python("import time; time.sleep(60)"))
    keys = mailbox.keys
    assert keys.secret not in repr(keys)
    mailbox.close()
    for strange in (replace(keys, secret=zmq.curve_keypair()[1].decode()), replace(keys, token="another" * 8)):
        other = await made_again(strange)
        unheard = other.line(LEASE)
        unheard.resume()
        await asyncio.sleep(1.5)
        assert unheard.having([]) is None
        other.close()
    again = await made_again(keys)
    found = again.line(LEASE)
    found.resume()
    said = await asyncio.wait_for(asyncio.shield(found.hello), 60)
    assert said["runs"] == {"stays": 2}
    run = found.run("stays")
    run.resume(2, runs=True)
    found.say("files", files={"../token": "new"})
    run.signal(9)
    await asyncio.wait_for(run.ended.wait(), 60)
    assert (run.number, run.exited["rc"]) == (2, -9)  # type: ignore[index]
    assert (tmp_path / "token").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    with pytest.raises(zmq.ZMQError):
        Mailbox("127.0.0.1", keys=keys)
    found.say("exit")
    await asyncio.sleep(0.2)
    again.close()


async def made_again(keys: Keys) -> Mailbox:
    """A socket of ours is closed by a thread of ZeroMQ, soon."""
    for _ in range(100):
        with contextlib.suppress(zmq.ZMQError):
            return Mailbox("127.0.0.1", keys=keys)
        await asyncio.sleep(0.05)
    raise AssertionError("the port is not given back")


async def test_a_stranger_without_the_token_is_not_heard(mailbox: Mailbox) -> None:
    stranger = zmq.asyncio.Context.instance().socket(zmq.DEALER)
    stranger.curve_serverkey = mailbox.address.public_key.encode()
    stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
    stranger.connect(mailbox.address.address)
    for frame in (
        b"{}",
        b"not json",
        json.dumps({"kind": "hello", "lease": LEASE, "token": "guess"}).encode(),
        json.dumps({"kind": "hello", "lease": LEASE}).encode(),
    ):
        await stranger.send(frame)
    await asyncio.sleep(0.3)
    assert mailbox._lines == {}
    good = {"kind": "hb", "lease": "dropped", "token": mailbox.address.token}
    await stranger.send(json.dumps(good).encode())
    await asyncio.sleep(0.3)
    assert mailbox._lines == {}
    stranger.close(0)
