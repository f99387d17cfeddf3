"""Servers as jobs of a real Slurm, through a real hub."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.notebook import Session
from nvlwidgets.panels.screens.compute import back_to
from tests.conftest import missing
from tests.stories.live import Live, live_portal
from tests.stories.visitor import Visitor
from tests.waiting import eventually

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A small Slurm; without accounting, as some sites have it."""
    if absent := lacking(accounting=False):
        missing(f"Slurm ({', '.join(absent)})")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-slurm-"))
    try:
        with private_slurm(base / "slurm", trays=1, cpu_nodes=2, accounting=False) as running:
            yield running
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def live(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data: Path = tmp_path_factory.mktemp("servers")
    with live_portal(
        data, NVLHUB_SERVER_PARTITION="cpu", NVLHUB_SLURM__CONF=str(cluster.conf), NVLHUB_GRACE="60"
    ) as portal:
        yield portal


def jobs(cluster: Slurm) -> dict[str, str]:
    """Return the jobs that run or wait: their server by their number."""
    lines = cluster.run("squeue", "--noheader", "--name=nvlhub-server", "--format=%i %k").splitlines()
    return {line.split()[1].removeprefix("nvlhub-server:"): line.split()[0] for line in lines}


def process_of(live: Live, user: str) -> psutil.Process:
    """Return the server of a user; it is no child of the hub's."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if "nvlkernels.singleuser" in process.cmdline() and environment.get("JUPYTERHUB_USER") == user:
                found += [process] if str(live.data) in environment["HOME"] else []
    [only] = found
    return only


async def post(live: Live, token: str, body: Any) -> int:
    async with httpx.AsyncClient() as http:
        headers = {"Authorization": f"token {token}"}
        return (await http.post(f"{live.url}/hub/nvlhub-server/port", headers=headers, json=body)).status_code


async def servers(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = (await session.hub("GET", f"/users/{session.user}")).json().get("servers", {})
    return found


async def test_servers_are_jobs_from_their_start_to_their_end(live: Live, cluster: Slurm) -> None:
    async with live.session("researcher") as ann, live.session("instructor") as bob:
        await asyncio.gather(ann.start_server(), bob.start_server())
        running = jobs(cluster)
        assert set(running) == {"researcher/", "instructor/"}
        # JupyterLab answers through the proxy, in the user's directory, with our kernels.
        assert (await ann.jupyter("GET", "/api/status")).json()["kernels"] == 0
        assert (await ann.jupyter("GET", "/lab")).status_code == 200
        names = {entry["name"] for entry in (await ann.jupyter("GET", "/api/contents")).json()["content"]}
        assert "examples" in names
        async with asyncio.timeout(60):
            # Offers come from the portal, shortly after the server has started.
            while "nvlhub-demo.gpu1" not in (await ann.jupyter("GET", "/api/kernelspecs")).json()["kernelspecs"]:
                await asyncio.sleep(0.2)

        # What is said to the hub after the start counts no more, whoever says it.
        process = process_of(live, "researcher")
        own = process.environ()["JUPYTERHUB_API_TOKEN"]
        assert not [name for name in process.environ() if name.startswith("SLURM") and name != "SLURM_CONF"]
        assert process.environ()["NVLHUB_MAILBOX_BIND"] == "127.0.0.1"
        assert await post(live, own, {"port": 5000}) == 409
        assert await post(live, own, {"port": 5000, "ip": "10.0.0.1"}) == 400
        assert await post(live, own, {"as_user": ["touch", "x"]}) == 400
        assert await post(live, ann.token, {"port": 5000}) == 403
        assert await post(live, "nothing", {"port": 5000}) == 403

        # The hub is killed; what runs goes on and is known again.
        live.kill("embedded_config.py")
        await eventually(lambda: not live.answers())
        await eventually(live.answers)
        async with asyncio.timeout(60):
            while not (await servers(ann)).get("", {}).get("ready"):
                await asyncio.sleep(0.2)
        assert process_of(live, "researcher") == process
        assert (await ann.jupyter("GET", "/api/status")).status_code == 200

        # Ended by hand: the hub sees it by itself. Ended by its user: no job is left.
        cluster.run("scancel", running["instructor/"])
        await ann.stop_server()
        assert "researcher/" not in jobs(cluster)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        async with asyncio.timeout(60):
            while await servers(bob):
                await asyncio.sleep(0.2)
        assert jobs(cluster) == {}


async def test_options_of_a_user_start_nothing(live: Live, cluster: Slurm) -> None:
    async with live.session("researcher") as ann:
        body = {"cmd": ["touch", "x"], "sbatch_options": ["--partition=gpu"]}
        response = await ann.hub("POST", "/users/researcher/server", json=body)
        assert response.status_code == 400
        assert jobs(cluster) == {}


async def test_a_server_that_slurm_ends_leaves_its_kernel_and_says_why_and_one_that_is_stopped_does_not(
    live: Live, cluster: Slurm
) -> None:
    async with live.session("researcher") as ann:
        await ann.start_server()
        kernel = await ann.start_kernel("nvlhub-demo.gpu1", "kept.ipynb")
        pid = (await kernel.run("import os; x = 41; print(os.getpid())")).text
        node = cluster.run("squeue", "-h", "--name=nvlhub-server", "-o", "%N")
        cluster.run("scancel", jobs(cluster)["researcher/"])
        await eventually(lambda: jobs(cluster) == {})
        async with asyncio.timeout(60):
            while await servers(ann):
                await asyncio.sleep(0.2)
        [lease] = live.api("GET", "/leases")["items"]
        assert (lease["state"], lease["label"]) == ("running", kernel.id)
        async with Visitor(live.url, "researcher", live.password) as browser:
            for page in ("/hub/home", "/hub/spawn"):
                shown = (await browser.http.get(page)).text
                assert "by itself: its job was cancelled in the cluster." in shown, shown
            # The way back in needs no second click.
            assert "spawn-pending" in str((await browser.http.get(back_to(lease["server"]))).url)

        await ann.start_server()
        job = jobs(cluster)["researcher/"]
        assert f"ReqNodeList={node.strip()} " in cluster.run("scontrol", "show", "job", job)
        await kernel.connect()
        assert (await kernel.run("print(os.getpid(), x)")).text == f"{pid.strip()} 41\n"
        await ann.stop_server()
        [ended, *_] = await live.settled()
        assert (ended["id"], ended["end_reason"]) == (lease["id"], "user")
        # It ended its kernel itself: there is nothing that the next one would look for.
        assert not list(live.data.glob("home/researcher/.local/share/jupyter/nvlhub/*/*.json"))
