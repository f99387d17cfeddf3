"""What the portal costs at the start of a server: against a stock hub with the same spawner and options."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from nvlhub.notebook import Session
from nvlhub.ports import free_port
from nvlhub.up import proxy_command
from tests.stories.live import live_portal

COUNT = 8
TOKEN = "f" * 40


@contextlib.contextmanager
def stock_hub(data: Path, **more: str) -> Iterator[str]:
    data.mkdir()
    (data / "researcher").mkdir()
    told = {
        "port": free_port(),
        "hub_port": free_port(),
        "proxy_port": free_port(),
        "data": str(data),
        "token": TOKEN,
        "proxy": proxy_command(),
        **more,
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("stock_hub_config.py"))]
    with (data / "log").open("w") as log:
        hub = subprocess.Popen(command, env={**os.environ, "STOCK": json.dumps(told)}, stdout=log, stderr=log, cwd=data)
    url = f"http://127.0.0.1:{told['port']}"
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/hub/api/", timeout=2).is_success:
                    break
            time.sleep(0.2)
        yield url
    finally:
        hub.terminate()
        hub.wait(60)


async def start(session: Session) -> float:
    begun = time.perf_counter()
    await session.start_server()
    spent = time.perf_counter() - begun
    await session.stop_server()
    return spent


async def test_a_server_starts_as_fast_as_that_of_a_stock_hub(tmp_path: Path) -> None:
    with live_portal(tmp_path / "live") as live, stock_hub(tmp_path / "stock") as stock_url:
        async with live.session() as ours, Session(stock_url, "researcher", TOKEN) as stock:
            times: dict[str, list[float]] = {"ours": [], "stock": []}
            for session in (ours, stock):
                await start(session)
            for _ in range(COUNT):
                times["ours"].append(await start(ours))
                times["stock"].append(await start(stock))
    ours_median, stock_median = (statistics.median(values) for values in times.values())
    print(
        f"\nserver start, median of {COUNT}: stock hub {stock_median:.2f} s, with the portal {ours_median:.2f} s; ratio {ours_median / stock_median:.2f} (aim <= 1.05)"
    )
