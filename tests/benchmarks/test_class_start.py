"""The start of a class of 200 through the real hub and portal, on servers that cost nothing.

1. Warming: the portal starts the servers of a roster, against a stock hub that is asked for the same by its REST API, as many
   at once; in turn, in the same run.
2. Joining: 200 people open the page with the code, log in, take a seat and wait until JupyterLab could be opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jupyterhub

from nvlhub.flow.request import Pool, Profile
from nvlhub.ports import free_port
from nvlhub.settings import Settings
from nvlhub.store import Store
from nvlhub.up import proxy_command
from nvlhub.wire import Span

SEATS = 200
TOGETHER = Settings.model_fields["spawns"].default
ROUNDS = 2
ARRIVE = 30.0
"""Seconds within which all open the page."""
USERS = [f"learner{number:03}" for number in range(SEATS)]
TOKEN = "f" * 40
CODE = "BENCH234"
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is encrypted here; each client would read the machine's certificates for itself, on the cores that are measured."""


class Anything(BaseHTTPRequestHandler):
    """Answers as a user's server does when the hub asks whether it is there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hub(data: Path, server_port: int, *, portal: bool) -> Iterator[str]:
    data.mkdir()
    told = {
        "port": free_port(), "hub_port": free_port(), "proxy_port": free_port(), "portal_port": free_port() if portal else 0,
        "data": str(data), "token": TOKEN, "proxy": proxy_command(), "users": USERS, "server_port": server_port,
    }  # fmt: skip
    (data / "portal.toml").write_text('simulate = 4\nengine = "local"\nrun_as = "portal"\n')
    command = [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("class_hub_config.py"))]
    url = f"http://127.0.0.1:{told['port']}"
    asked = [f"{url}/hub/api/", *([f"{url}/services/portal/api/v1/health"] if portal else [])]
    with (data / "log").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "CLASS": json.dumps(told)}, stdout=log, stderr=log, cwd=data
        )
    try:
        until = time.monotonic() + 120
        while asked and time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(asked[0], timeout=2).is_success:
                    asked.pop(0)
                    continue
            time.sleep(0.2)
        assert not asked, (data / "log").read_text()[-3000:]
        yield url
    finally:
        process.terminate()
        process.wait(60)


def teach(store: Store, code: str, *, roster: bool) -> int:
    """Make a run that begins in 20 minutes; one whose roster is known is warmed at once."""
    now = int(time.time())
    with store.writing() as unit:
        if not unit.taught_by("teacher"):
            unit.set_pool(Pool("main", "GB300", 1000, 72, 288))
            unit.add_institution("uni", "University")
            unit.add_programme("teaching", "Teaching")
            unit.add_project("school", "School", "teaching", institution="uni")
            unit.add_profile(Profile("gpu1", 0, "1 GPU", "main", 1, Span.DOMAIN, 3600, idle=600))
            unit.add_course(
                ["teacher"], slug="frames", project="school", title="Frames", profile="gpu1", made_by="t", made_at=now
            )
            for user in USERS:
                unit.know_user(user, now)
        run = unit.add_run(
            [f"Owl {number}" for number in range(SEATS)], course="frames", name=code, zone="UTC", starts=now + 1200,
            ends=now + 7200, seats=SEATS, gpus=1, warm=1800, flex=1800, grace=900, no_show=0, code=code, roster_only=False,
            state="approved" if roster else "draft", made_by="t", made_at=now,
        )  # fmt: skip
        if roster:
            unit.set_roster(run, [{"row": number, "user": user} for number, user in enumerate(USERS, start=1)])
    return run


def warmed(store: Store, run: int) -> float:
    """Wait until all servers of a run are ready; return servers per minute."""
    first = 0.0
    until = time.monotonic() + 200
    while time.monotonic() < until:
        with store.reading() as unit:
            seats = unit.seats(run)
        now = time.perf_counter()
        if not first and any(seat["warm_at"] for seat in seats):
            first = now
        if all(seat["ready_at"] for seat in seats):
            return SEATS / (now - first) * 60
        time.sleep(0.05)
    raise AssertionError(Counter(seat["failed"] for seat in seats))


async def stock(url: str, name: str) -> float:
    """Start all servers at a stock hub, as many at once; return servers per minute."""
    gate = asyncio.Semaphore(TOGETHER)
    async with httpx.AsyncClient(
        base_url=f"{url}/hub/api", headers={"Authorization": f"token {TOKEN}"}, timeout=60
    ) as http:

        async def started(user: str) -> None:
            async with gate:
                answer = await http.post(f"/users/{user}/servers/{name}")
                assert answer.status_code in {201, 202}, answer.text
                while answer.status_code == 202:
                    await asyncio.sleep(2)
                    if (await http.get(f"/users/{user}/servers/{name}")).json()["ready"]:
                        break

        begun = time.perf_counter()
        await asyncio.gather(*(started(user) for user in USERS))
        return SEATS / (time.perf_counter() - begun) * 60


@dataclass
class Seen:
    """What the 200 saw."""

    pages: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seated: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    seats: list[str] = field(default_factory=list)


async def learner(url: str, user: str, seen: Seen, begun: float, wait: float) -> None:
    """Open the page, log in, join, and wait for the link, as a browser without scripts does."""
    await asyncio.sleep(wait)

    async def counted(response: httpx.Response) -> None:
        seen.statuses[response.status_code] += 1

    hooks = {"response": [counted]}
    async with httpx.AsyncClient(
        base_url=url, timeout=60, event_hooks=hooks, follow_redirects=True, verify=TLS
    ) as http:

        async def timed(call: Any) -> httpx.Response:
            before = time.perf_counter()
            answer: httpx.Response = await call
            seen.pages.append(time.perf_counter() - before)
            return answer

        there = f"/services/portal/join?code={CODE}"
        login = await http.get(there)
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', login.text)
        assert xsrf is not None, login.text[:300]
        form = {"username": user, "password": TOKEN, "_xsrf": xsrf[1]}
        page = await http.post(f"/hub/login?next={there.replace('?', '%3F').replace('=', '%3D')}", data=form)
        if page.url.path != "/services/portal/join":
            page = await http.get(there)
        page = await timed(http.get(there))
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert csrf is not None, (str(page.url), page.text[:300])
        page = await timed(http.post("/services/portal/join", data={"code": CODE, "csrf": csrf[1]}))
        seat = re.search(r"Seat (\d+)", page.text)
        assert seat is not None, (page.status_code, page.text[:2000])
        seen.seats.append(seat[1])
        seen.seated[user] = time.perf_counter() - begun
        await http.post(f"{page.url.path.removesuffix('/seat')}/seat/{page.url.params['run']}/name",
                        data={"name": user, "csrf": csrf[1]})  # fmt: skip
        while "Open JupyterLab" not in page.text:
            page = await http.get(str(page.url))
            await asyncio.sleep(float(page.headers.get("Refresh", 1)) if "Open JupyterLab" not in page.text else 0)
        seen.ready[user] = time.perf_counter() - begun


async def joined(url: str) -> Seen:
    seen, begun = Seen(), time.perf_counter()
    await asyncio.gather(*(learner(url, user, seen, begun, ARRIVE * place / SEATS) for place, user in enumerate(USERS)))
    return seen


async def test_a_class_of_200_is_seated_within_a_minute(tmp_path: Path) -> None:
    servers = ThreadingHTTPServer(("127.0.0.1", 0), Anything)
    threading.Thread(target=servers.serve_forever, daemon=True).start()
    port = servers.server_address[1]
    rates: dict[str, list[float]] = {"ours": [], "stock": []}
    with (
        hub(tmp_path / "ours", port, portal=True) as url,
        hub(tmp_path / "stock", port, portal=False) as stock_url,
    ):
        store = Store(f"sqlite:///{tmp_path / 'ours' / 'portal.sqlite'}")
        try:
            for number in range(ROUNDS):
                run = teach(store, f"WARM{number}", roster=True)
                rates["ours"].append(await asyncio.to_thread(warmed, store, run))
                with store.writing() as unit:
                    # Its looks at servers that run are no part of the next round.
                    unit.change_run(run, state="draft")
                    for seat in range(1, SEATS + 1):
                        unit.change_seat(run, seat, warm_at=None)
                rates["stock"].append(await stock(stock_url, f"class-{number + 1}"))
            run = teach(store, CODE, roster=False)
            with store.writing() as unit:
                unit.change_run(run, state="approved")
            seen = await joined(url)
            with store.reading() as unit:
                users = [seat["user"] for seat in unit.seats(run)]
        finally:
            store.close()
    servers.shutdown()
    servers.server_close()
    assert sorted(users) == USERS
    assert sorted(map(int, seen.seats)) == list(range(1, SEATS + 1))
    assert not [status for status in seen.statuses if status >= 500], seen.statuses
    ours, theirs = (statistics.median(values) for values in rates.values())
    pages = sorted(seen.pages)
    p95 = pages[int(0.95 * len(pages))]
    print(
        f"\nwarming {SEATS} seats, {TOGETHER} at once, median of {ROUNDS}: {ours:.0f} servers/min, stock hub "
        f"{theirs:.0f}; ratio {ours / theirs:.2f} (aim >= 0.9); all {[round(rate) for rate in rates['ours']]} against "
        f"{[round(rate) for rate in rates['stock']]}"
        f"\njoining, {SEATS} people within {ARRIVE:.0f} s: all seated after {max(seen.seated.values()):.1f} s (aim <= 60), all "
        f"servers ready after {max(seen.ready.values()):.1f} s; join page and join: median {statistics.median(pages):.3f} s, "
        f"p95 {p95:.3f} s (aim <= 1), most {pages[-1]:.2f} s; answers {dict(sorted(seen.statuses.items()))}"
    )
