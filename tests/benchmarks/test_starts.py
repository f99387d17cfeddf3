"""What a lease costs at the start of a kernel: against the stock kernel of the same server."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from nvlhub.notebook import Session
from tests.stories.live import live_portal

COUNT = 20


async def start(session: Session, name: str) -> float:
    begun = time.perf_counter()
    kernel = await session.start_kernel(name, f"{time.monotonic_ns()}.ipynb")
    await kernel.run("1")
    spent = time.perf_counter() - begun
    await kernel.shut_down()
    return spent


async def test_a_kernel_with_a_lease_starts_as_fast_as_one_without(tmp_path: Path) -> None:
    with live_portal(tmp_path / "live") as live:
        async with live.session() as session:
            await session.start_server()
            await start(session, "python3")
            times: dict[str, list[float]] = {"python3": [], "nvlhub-demo.gpu1": []}
            for _ in range(COUNT):
                for name, values in times.items():
                    values.append(await start(session, name))
            await session.stop_server()
    stock, leased = (statistics.median(values) for values in times.values())
    print(
        f"\nkernel start, median of {COUNT}: stock {stock:.2f} s, with lease {leased:.2f} s; ratio {leased / stock:.2f} (aim <= 1.10)"
    )
