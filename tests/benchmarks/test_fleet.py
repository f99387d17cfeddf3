"""What the picture of 10,008 GPUs costs a browser: against an empty Panel page of the same process, and per live update."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright

from nvlhub.ports import free_port
from tests.waiting import eventually

ROUNDS = 9
DRAWN = {"fleet": ".fleet[data-gpus='10008']", "empty": ".nothing"}
# Looks for a selector in all shadow roots, on every frame, and remembers when it was there.
WATCH = """(selector) => {
  const find = (root) => root.querySelector(selector)
    || Array.from(root.querySelectorAll("*")).some((part) => part.shadowRoot && find(part.shadowRoot));
  const look = () => { if (document.body && find(document)) window.drawnAt = performance.now(); else requestAnimationFrame(look); };
  look();
}"""


@pytest.fixture
def server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.fleet_pages", str(port)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not _answers(url):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/empty", timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        await started.close()


async def drawn(browser: Browser, url: str, name: str) -> float:
    """Return the seconds from opening a page until it shows what it is for; scripts come from the browser's memory."""
    page = await browser.contexts[0].new_page()
    await page.add_init_script(f"({WATCH})({DRAWN[name]!r})")
    await page.goto(f"{url}/{name}")
    await page.wait_for_function("window.drawnAt")
    at: float = await page.evaluate("window.drawnAt")
    await page.close()
    return at / 1000


async def test_the_fleet_is_drawn_nearly_as_soon_as_an_empty_page(server: str, browser: Browser) -> None:
    await browser.new_context(viewport={"width": 1280, "height": 900})
    times: dict[str, list[float]] = {"fleet": [], "empty": []}
    for name in times:
        await drawn(browser, server, name)
    for _ in range(ROUNDS):
        for name, spent in times.items():
            spent.append(await drawn(browser, server, name))
    fleet, empty = (statistics.median(times[name]) for name in ("fleet", "empty"))
    print(
        f"\nfirst picture of 10,008 GPUs {fleet:.2f} s, empty Panel page {empty:.2f} s; ratio {fleet / empty:.2f} (aim <= 1.5)"
    )


async def quiet(page: Page, frames: list[int]) -> None:
    """Wait until a second passes in which next to nothing comes."""
    before = -1
    while before != len(frames):
        before = len(frames)
        await page.evaluate("new Promise((done) => setTimeout(done, 1000))")


async def test_a_change_of_one_per_cent_is_small_on_the_wire(server: str, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    frames: list[int] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: frames.append(len(frame.encode() if isinstance(frame, str) else frame))),
    )  # fmt: skip
    await page.goto(f"{server}/fleet")
    await page.wait_for_selector(DRAWN["fleet"])
    await quiet(page, frames)
    sizes = []
    for _ in range(3):
        frames.clear()
        (await asyncio.to_thread(httpx.post, f"{server}/change", timeout=30)).raise_for_status()
        await eventually(lambda: sum(frames) > 10_000, 20)
        await quiet(page, frames)
        painted = await page.locator(".fleet").get_attribute("data-painted")
        assert painted == "100"
        sizes.append(sum(frames))
    print(
        f"\nlive update of 10,008 GPUs, 1 % changed: {statistics.median(sizes) / 1000:.1f} kB on the wire (aim <= 14)"
    )
    assert max(sizes) <= 14_000
