"""What our pages cost: JupyterHub's home page and spawn page, against a stock hub's in the same run."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.benchmarks.test_servers import TOKEN, stock_hub
from tests.stories.live import live_portal

COUNT = 150
FORM = """<label for="profile">Profile</label><select id="profile" name="profile">
<option value="gpu1">1 GPU</option><option value="gpu2">2 GPUs</option><option value="gpu4">4 GPUs</option>
<option value="gpu8">8 GPUs</option></select>"""


@contextlib.contextmanager
def visitor(url: str, password: str) -> Iterator[httpx.Client]:
    """Log in as a browser does."""
    with httpx.Client(base_url=url, timeout=30, headers={"Accept-Language": "en"}) as http:
        http.get("/hub/login")
        form = {"username": "researcher", "password": password, "_xsrf": http.cookies["_xsrf"]}
        answer = http.post("/hub/login", data=form, params={"next": "/hub/home"})
        assert answer.headers["location"] == "/hub/home"
        yield http


def load(http: httpx.Client, path: str, expected: str) -> float:
    begun = time.perf_counter()
    answer = http.get(path)
    spent = time.perf_counter() - begun
    assert answer.status_code == 200
    assert expected in answer.text
    return spent


def test_home_and_spawn_page_come_as_fast_as_those_of_a_stock_hub(tmp_path: Path) -> None:
    with (
        live_portal(tmp_path / "live") as live,
        stock_hub(tmp_path / "stock", form=FORM) as stock_url,
        visitor(live.url, live.password) as ours,
        visitor(stock_url, TOKEN) as stock,
    ):
        for path, words in (("/hub/home", ("data-live", "Start")), ("/hub/spawn", ("data-offer", "profile"))):
            first = load(ours, path, words[0])
            load(stock, path, words[1])
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(COUNT):
                times[0].append(load(ours, path, words[0]))
                times[1].append(load(stock, path, words[1]))
            mine, theirs = (statistics.median(values) * 1000 for values in times)
            print(
                f"\n{path}, median of {COUNT}: stock hub {theirs:.1f} ms, ours {mine:.1f} ms (the first time {first * 1000:.0f} ms); ratio {mine / theirs:.2f} (aim <= 1.2)"
            )
