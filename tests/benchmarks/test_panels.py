"""What viewers of the dashboards cost: memory that stays flat, CPU for each session against an empty Panel page.

``NVLHUB_MINUTES=10`` for the real run; left out: one minute.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from nvlhub.ports import free_port
from nvlwidgets.panels.screens import SCREENS
from tests.stories.live import Live, live_portal
from tests.stories.visitor import Socket, Visitor, token_in
from tests.waiting import eventually

VIEWERS = 10
MINUTES = float(os.environ.get("NVLHUB_MINUTES", "1"))
SESSIONS = 20
"""Pages that are opened for the CPU of a session."""
SOME = 200
"""KiB a minute that count as flat: sampling and allocator noise of a short run."""
EMPTY = """
import sys
import panel as pn
pn.serve({"/empty": lambda: pn.pane.HTML("<p>nothing</p>")}, port=int(sys.argv[1]), address="127.0.0.1", show=False,
         websocket_origin=["*"])
"""


def mib(process: psutil.Process) -> float:
    """Return what a process holds alone, in MiB: what the kernel shares between processes is not counted."""
    return float(process.memory_full_info().uss) / 2**20


def slope(samples: list[tuple[float, float]]) -> float:
    """Return KiB a minute of samples of (seconds, MiB), by least squares over the second half: the first warms up."""
    late = samples[len(samples) // 2 :]
    return statistics.linear_regression([at for at, _ in late], [value * 1024 for _, value in late]).slope * 60


def cpu(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_portal(tmp_path_factory.mktemp("panels")) as portal:
        yield portal


def panels_process(live: Live) -> psutil.Process:
    """Return the dashboards' process."""
    [process] = live.processes("nvlwidgets.panels.service")
    return process


async def watch(socket: Socket, seen: list[int]) -> None:
    """Look at a tab as a browser does: read whatever comes."""
    assert await socket.document() is not None
    while await socket.message() is not None:
        seen[0] += 1


@pytest.mark.timeout(int(MINUTES * 60) + 300)
async def test_ten_viewers_hold_the_memory_flat(live: Live) -> None:
    """Ten tabs, each on another screen; every five seconds one of them is loaded again."""
    process = panels_process(live)
    slugs = [SCREENS[number % len(SCREENS)].slug for number in range(VIEWERS)]
    seen = [0]
    async with Visitor(live.url, "admin", live.password) as admin:
        before = mib(process)

        async def open_tab(slug: str) -> tuple[Socket, asyncio.Task[None]]:
            socket = await admin.socket(slug, await admin.token(slug))
            return socket, asyncio.create_task(watch(socket, seen))

        tabs = [await open_tab(slug) for slug in slugs]
        begun, samples, loaded, used = time.monotonic(), [], 0, cpu(process)
        while (spent := time.monotonic() - begun) < MINUTES * 60:
            samples.append((spent, mib(process)))
            if loaded * 5 < spent:
                place = loaded % VIEWERS
                socket, task = tabs[place]
                async with socket:
                    task.cancel()
                tabs[place] = await open_tab(slugs[place])
                loaded += 1
            await asyncio.sleep(0.5)
        used = cpu(process) - used
        for socket, task in tabs:
            async with socket:
                task.cancel()
    grows = slope(samples)
    print(
        f"\n{VIEWERS} viewers for {MINUTES:g} min, {loaded} pages loaded again: {before:.0f} MiB before, {samples[0][1]:.0f} MiB with all tabs, "
        f"{samples[-1][1]:.0f} MiB at the end; slope {grows:+.0f} KiB/min; {seen[0] / MINUTES:.0f} messages/min, {100 * used / (MINUTES * 60):.1f} % of a core"
    )
    if MINUTES >= 5:
        assert grows < SOME


@contextmanager
def empty_page() -> Iterator[tuple[str, psutil.Process]]:
    """Run a Panel page with nothing on it and nothing before it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", EMPTY, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


async def spent_on(process: psutil.Process, visitor: Visitor, path: str) -> tuple[float, float, float]:
    """Open pages with their sockets, one after the other; return sessions a second, CPU seconds and MiB of each."""

    async def one() -> None:
        page = await visitor.http.get(path)
        assert page.status_code == 200
        async with await visitor.socket_at(path, token_in(page.text)) as socket:
            assert await socket.document() is not None

    for _ in range(5):
        await one()
    used, held, begun = cpu(process), mib(process), time.monotonic()
    for _ in range(SESSIONS):
        await one()
    spent = time.monotonic() - begun
    return SESSIONS / spent, (cpu(process) - used) / SESSIONS, (mib(process) - held) / SESSIONS


async def test_a_session_costs_little_more_than_an_empty_page(live: Live, tmp_path: Path) -> None:
    """Each session is a login that is checked, a page, a socket, and its document."""
    with empty_page() as (url, process):

        def up() -> bool:
            try:
                return httpx.get(f"{url}/empty").is_success
            except httpx.HTTPError:
                return False

        await eventually(up, 60)
        async with Visitor(url) as nobody:
            rate, empty, size = await spent_on(process, nobody, "/empty")
    print(f"\nempty Panel page: {rate:.1f} sessions/s, {1000 * empty:.0f} ms CPU and {1024 * size:.0f} KiB each")
    async with Visitor(live.url, "admin", live.password) as admin:
        for screen in SCREENS:
            rate, each, size = await spent_on(panels_process(live), admin, f"/services/panels/{screen.slug}")
            print(
                f"{screen.slug:>14}: {rate:5.1f} sessions/s, {1000 * each:4.0f} ms CPU and {1024 * size:5.0f} KiB each; "
                f"CPU {each / empty:.2f} × an empty page"
            )
