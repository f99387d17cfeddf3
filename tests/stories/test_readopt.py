"""A notebook server that is killed without a word, and what the next one takes back."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlhub.notebook import Kernel, Session
from nvlhub.trust import trusted
from tests.stories.live import Live, live_portal
from tests.waiting import eventually

GRACE = 60
"""Long enough for a server to start on a machine that is busy, and to try for a port that another has."""
PAID = 15
"""Seconds of silence that a lost lease pays for at most, or half of what was longer than the time it was heard."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    data: Path = tmp_path_factory.mktemp("readopt")
    with live_portal(data, NVLHUB_GRACE=str(GRACE)) as portal:
        yield portal


async def killed(live: Live, by: signal.Signals = signal.SIGKILL) -> float:
    """End the researcher's server as the kernel does when memory is short, or a machine that is shut down; return when."""
    servers = [process for process in psutil.process_iter(["cmdline"]) if _is_server(process, live)]
    at = time.time()
    for server in servers:
        server.send_signal(by)
    # Until the hub has noticed, which it does every few seconds.
    await eventually(lambda: not any(map(psutil.pid_exists, [server.pid for server in servers])))
    return at


def _is_server(process: psutil.Process, live: Live) -> bool:
    try:
        return "nvlkernels.singleuser" in process.cmdline() and process.environ().get("HOME") == str(
            live.data / "home" / "researcher"
        )
    except psutil.Error:
        return False


def files(live: Live) -> list[Path]:
    return sorted((live.data / "home" / "researcher").glob(".local/share/jupyter/nvlhub/*/*.json"))


def lease_of(live: Live) -> dict[str, Any]:
    [lease] = [lease for lease in live.api("GET", "/leases")["items"] if not lease["parent"]]
    return dict(lease)


async def taken_back(session: Session, kernel: Kernel) -> None:
    """Start the server again; find the kernel by its notebook."""
    await session.start_server()
    [found] = (await session.jupyter("GET", "/api/sessions")).json()
    assert (found["id"], found["kernel"]["id"], found["path"]) == (kernel.session_id, kernel.id, "kept.ipynb")
    await kernel.connect()


async def running(session: Session) -> Kernel:
    await session.start_server()
    kernel = await session.start_kernel("nvlhub-demo.gpu2", "kept.ipynb")
    ran = await kernel.run("import os, nvlkernels; x = 41; print(os.getpid())")
    assert not ran.error
    return kernel


async def test_a_killed_server_takes_its_kernel_back_with_its_variables_and_its_lease(live: Live) -> None:
    async with live.session() as session:
        kernel = await running(session)
        pid = int((await kernel.run("print(os.getpid())")).text)
        lease = lease_of(live)
        [file] = files(live)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o700
        for crash, by in enumerate((signal.SIGKILL, signal.SIGTERM), 1):
            await killed(live, by)
            await taken_back(session, kernel)
            assert (await kernel.run("x += 1; print(x, os.getpid())")).text == f"{41 + crash} {pid}\n"
            # The token of the server that died is gone; the kernel speaks with that of the next one.
            asked = await kernel.run("print(nvlkernels.lease().id)")
            assert (asked.error, asked.text.strip()) == ("", lease["id"])
        assert lease_of(live)["id"] == lease["id"]

        sleeping = asyncio.create_task(kernel.run("import time; time.sleep(60)"))
        await eventually(lambda: _state(live, session, kernel) == "busy")
        await session.jupyter("POST", f"/api/kernels/{kernel.id}/interrupt")
        assert "KeyboardInterrupt" in (await asyncio.wait_for(sleeping, 60)).error

        assert (await session.jupyter("POST", f"/api/kernels/{kernel.id}/restart")).status_code == 200
        await kernel.connect()
        again = (
            await kernel.run("import os; print('x' in dir(), os.environ['NVLHUB_LEASE'], os.getpid())")
        ).text.split()
        assert again[:2] == ["False", lease["id"]]
        assert int(again[2]) != pid

        await killed(live)
        await taken_back(session, kernel)
        assert (await kernel.run("print(os.getpid())")).text == f"{again[2]}\n"
        await kernel.shut_down()
        [ended, *_] = await live.settled()
        assert (ended["id"], ended["end_reason"]) == (lease["id"], "user")
        assert ended["charged"] == 2 * (ended["ended_at"] - ended["started_at"]) * 1000
        assert files(live) == []


def _state(live: Live, session: Session, kernel: Kernel) -> str:
    import httpx  # noqa: PLC0415

    headers = {"Authorization": f"token {session.token}"}
    return str(
        httpx.get(f"{session.server}/api/kernels/{kernel.id}", headers=headers, verify=trusted()).json()[
            "execution_state"
        ]
    )


async def test_a_cell_that_runs_on_while_the_server_is_away_is_not_taken_for_idle(live: Live) -> None:
    async with live.session() as session:
        kernel = await running(session)
        code = "import time\nfor _ in range(250): time.sleep(0.1)\ndone = True"
        cell = asyncio.create_task(kernel.run(code))
        await eventually(lambda: _state(live, session, kernel) == "busy")
        await killed(live)
        cell.cancel()
        await session.start_server()
        await eventually(lambda: _state(live, session, kernel) == "busy")
        await eventually(lambda: _state(live, session, kernel) == "idle", 40)
        await kernel.connect()
        assert (await kernel.run("print(done)")).text == "True\n"
        await session.stop_server()
        [ended, *_] = await live.settled()
        assert ended["end_reason"] == "user"
        assert files(live) == []


async def test_workers_of_a_kernel_that_is_taken_back_go_on(live: Live) -> None:
    async with live.session() as session:
        kernel = await running(session)
        made = await kernel.run(
            "from nvlkernels import Cluster; cluster = Cluster(1); client = cluster.get_client(); client.wait_for_workers(1)"
        )
        assert not made.error
        before = {lease["id"] for lease in live.api("GET", "/leases")["items"]}
        assert len(before) == 2
        at = await killed(live)
        await taken_back(session, kernel)
        summed = await kernel.run("print(client.submit(sum, [1, 2, 3]).result())")
        assert (summed.error, summed.text) == ("", "6\n")
        await eventually(lambda: all(lease["beat_at"] > at + 10 for lease in live.api("GET", "/leases")["items"]), 40)
        assert {lease["id"] for lease in live.api("GET", "/leases")["items"]} == before
        # A restart is the end of the cluster, and of what it held.
        assert (await session.jupyter("POST", f"/api/kernels/{kernel.id}/restart")).status_code == 200
        await eventually(lambda: live.api("GET", "/leases")["total"] == 1)
        await kernel.shut_down()
        await live.settled()


async def test_after_the_grace_everything_is_gone_and_settled_and_the_next_server_says_so(live: Live) -> None:
    async with live.session() as session:
        kernel = await running(session)
        pid = int((await kernel.run("print(os.getpid())")).text)
        at = await killed(live)
        await eventually(lambda: not psutil.pid_exists(pid), GRACE + 15)
        [ended, *_] = await live.settled()
        assert ended["end_reason"] == "lost"
        heard = at - ended["started_at"]
        assert ended["charged"] <= 2 * (heard + max(PAID, (GRACE - heard) / 2) + 1) * 1000
        assert len(files(live)) == 1
        await session.start_server()

        async def told() -> list[str]:
            ended = (await session.jupyter("GET", "/nvlhub/leases")).json()["ended"]
            return [item["text"] for item in ended if item["kernel"] == kernel.id]

        await eventually(lambda: files(live) == [])
        assert "longer than the grace time" in "".join(await told())
        for _ in range(50):
            if not (await session.jupyter("GET", "/api/sessions")).json():
                break
            await asyncio.sleep(0.1)
        assert (await session.jupyter("GET", "/api/kernels")).json() == []
        assert (await session.jupyter("GET", "/api/sessions")).json() == []


async def test_an_edited_file_does_no_harm(live: Live) -> None:
    async with live.session("instructor") as other, live.session() as session:
        await other.start_server()
        theirs = await other.start_kernel("nvlhub-demo.gpu1", "theirs.ipynb")
        await theirs.run("1")
        lease = lease_of(live)
        kernel = await running(session)
        [file] = files(live)
        await killed(live)
        kept = json.loads(file.read_text())
        other_kernel = f"{kernel.id[:-1]}{'0' if kernel.id[-1] != '0' else '1'}"
        file.with_name(f"{other_kernel}.json").write_text(
            json.dumps(
                kept
                | {
                    "kernel": other_kernel,
                    "sessions": [],
                    "lease": {**kept["lease"], "id": lease["id"], "label": other_kernel},
                }
            )
        )
        file.with_name(f"{other_kernel}.json").chmod(0o600)
        file.with_name("rubbish.json").write_text("{")
        await taken_back(session, kernel)
        await eventually(lambda: [found.stem for found in files(live)] == [kernel.id])
        await kernel.connect()
        assert (await kernel.run("print(x)")).text == "41\n"
        assert (await theirs.run("print('untouched')")).text == "untouched\n"
        await theirs.shut_down()
        await kernel.shut_down()
        await live.settled()


async def test_a_kernel_whose_way_back_is_taken_is_given_back_in_words(live: Live) -> None:
    async with live.session() as session:
        kernel = await running(session)
        [file] = files(live)
        await killed(live)
        port = json.loads(file.read_text())["port"]
        taker = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        async with taker:
            await session.start_server()
            ended = await live.settled(60)
            async with asyncio.timeout(60):
                while not await _told(session, kernel, "could not be taken back"):
                    await asyncio.sleep(0.2)
        assert ended[0]["end_reason"] == "user"
        assert files(live) == []


async def _told(session: Session, kernel: Kernel, words: str) -> bool:
    """Tell whether the notebook side says this of a kernel that is over."""
    ended = (await session.jupyter("GET", "/nvlhub/leases")).json()["ended"]
    return any(words in item["text"] for item in ended if item["kernel"] == kernel.id)
