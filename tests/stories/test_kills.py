"""What dies without a word. Afterwards every lease is settled once, every GPU is free, the ledger holds, and nothing
was charged beyond the grace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlhub.notebook import Kernel, Session
from nvlhub.trust import trusted
from tests.stories.live import GRACE, Live, live_portal
from tests.waiting import eventually


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    data: Path = tmp_path_factory.mktemp("kills")
    with live_portal(data) as portal:
        yield portal


@pytest.fixture
async def kernel(live: Live) -> AsyncIterator[Kernel]:
    """A running kernel on 2 GPUs, with a process that it started itself."""
    async with live.session() as session:
        await session.start_server()
        started = await session.start_kernel("nvlhub-demo.gpu2", f"{time.monotonic_ns()}.ipynb")
        ran = await started.run(
            "import subprocess, os; child = subprocess.Popen(['sleep', '1000'], start_new_session=True); print(os.getpid(), os.getppid(), child.pid)"
        )
        assert not ran.error
        yield started


def lease_of(live: Live) -> dict[str, Any]:
    [lease] = live.api("GET", "/leases")["items"]
    return dict(lease)


async def pids(kernel: Kernel) -> tuple[int, int, int]:
    kernel_pid, agent_pid, child_pid = map(
        int, (await kernel.run("print(os.getpid(), os.getppid(), child.pid)")).text.split()
    )
    return kernel_pid, agent_pid, child_pid


def within_grace(lease: dict[str, Any], killed_at: float) -> bool:
    """Not a second is charged beyond the grace after the kill (one more for whole seconds)."""
    seconds = lease["charged"] / (lease["gpus"] * 1000)
    return bool(seconds <= killed_at - lease["started_at"] + GRACE + 1)


async def test_a_killed_kernel_comes_back_inside_its_lease(live: Live, kernel: Kernel) -> None:
    lease = lease_of(live)
    kernel_pid, _, _ = await pids(kernel)
    psutil.Process(kernel_pid).kill()
    await asyncio.sleep(6)
    await kernel.connect()
    assert (await kernel.run("import os; print(os.environ['NVLHUB_LEASE'])")).text.strip() == lease["id"]
    await kernel.shut_down()
    assert (await live.settled())[0]["end_reason"] == "user"


async def test_a_killed_agent_takes_everything_with_it(live: Live, kernel: Kernel) -> None:
    kernel_pid, agent_pid, child_pid = await pids(kernel)
    killed_at = time.time()
    psutil.Process(agent_pid).kill()
    ended = await live.settled()
    assert ended[0]["end_reason"] == "lost"
    assert within_grace(ended[0], killed_at)
    await eventually(lambda: _gone(kernel_pid) and _gone(child_pid))


async def test_a_killed_server_loses_its_leases_within_the_grace(live: Live, kernel: Kernel) -> None:
    kernel_pid, _, child_pid = await pids(kernel)
    killed_at = time.time()
    [server] = [process for process in psutil.process_iter(["cmdline"]) if _is_server(process, live)]
    server.kill()
    ended = await live.settled(60)
    assert within_grace(ended[0], killed_at)
    await eventually(lambda: _gone(kernel_pid) and _gone(child_pid))
    await eventually(lambda: not _ready(live))


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _is_server(process: psutil.Process, live: Live) -> bool:
    try:
        return (
            "nvlkernels.singleuser" in process.cmdline()
            and str(live.data) in process.environ().get("HOME", "") + process.cwd()
        )
    except psutil.Error:
        return False


def _ready(live: Live) -> bool:
    import httpx  # noqa: PLC0415

    headers = {"Authorization": f"token {live.operator}"}
    user = httpx.get(f"{live.url}/hub/api/users/researcher", headers=headers, timeout=10, verify=trusted()).json()
    return bool(user.get("servers"))


async def test_stopping_the_server_gives_leases_back_at_once(live: Live, kernel: Kernel) -> None:
    begun = time.time()
    await kernel.session.stop_server()
    ended = await live.settled()
    assert ended[0]["end_reason"] == "user"
    assert ended[0]["ended_at"] - begun < 8


async def test_a_killed_portal_comes_back_and_goes_on(live: Live, kernel: Kernel) -> None:
    lease = lease_of(live)
    live.kill("nvlhub.portal.service")
    assert (await kernel.run("print('still here')")).text == "still here\n"
    await eventually(live.answers)
    await asyncio.sleep(GRACE + 5)
    assert lease_of(live)["id"] == lease["id"]
    assert (await kernel.run("print('still here')")).text == "still here\n"
    await kernel.shut_down()
    [ended, *_] = await live.settled()
    assert (ended["id"], ended["end_reason"]) == (lease["id"], "user")
    assert ended["charged"] == 2 * (ended["ended_at"] - ended["started_at"]) * 1000


async def test_while_the_portal_is_down_gpu_starts_are_refused_and_cpu_kernels_work(live: Live) -> None:
    from nvlhub.notebook import NotebookError  # noqa: PLC0415

    async with live.session() as session:
        await session.start_server()
        live.kill("nvlhub.portal.service")
        with pytest.raises(NotebookError, match="does not answer"):
            await session.start_kernel("nvlhub-demo.gpu1", "down.ipynb")
        cpu = await session.start_kernel("python3", "cpu.ipynb")
        assert (await cpu.run("print(1 + 1)")).text == "2\n"
        assert "python3" in (await session.jupyter("GET", "/api/kernelspecs")).json()["kernelspecs"]
        await cpu.shut_down()
        await eventually(live.answers)
        await live.settled()


async def test_a_killed_hub_and_portal_find_servers_kernels_and_leases_again(live: Live, kernel: Kernel) -> None:
    lease = lease_of(live)
    live.kill("embedded_config.py")
    for portal in live.processes("nvlhub.portal.service"):
        portal.kill()
    assert (await kernel.run("print('still here')")).text == "still here\n"
    await eventually(live.answers)
    assert (await kernel.run("print('still here')")).text == "still here\n"
    assert lease_of(live)["id"] == lease["id"]
    await _server_answers(kernel.session)
    await kernel.session.stop_server()
    [ended, *_] = await live.settled()
    assert ended["id"] == lease["id"]


async def _server_answers(session: Session) -> None:
    for _ in range(100):
        if (await session.jupyter("GET", "/api/status")).status_code == 200:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the server is not reachable after the hub's restart")
