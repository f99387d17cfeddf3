"""Servers' jobs in a real Slurm, without a hub: the way of the port, whose eyes a secret is for, and early deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from jupyterhub.spawner import SpawnException
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.portal.slurm_spawner import SlurmSpawner, log_name
from nvlhub.ports import free_port
from tests.conftest import missing

pytestmark = pytest.mark.slurm
TOKEN = "s3cret-of-the-server" * 2
SERVER = """
import http.server, os, urllib.parse
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
http.server.HTTPServer((url.hostname, url.port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
OTHERS = "daemon"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A small Slurm whose directory other accounts can reach."""
    if absent := lacking(accounting=False):
        missing(f"Slurm ({', '.join(absent)})")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-slurm-"))
    base.chmod(0o755)
    try:
        with private_slurm(base / "slurm", trays=1, cpu_nodes=1, accounting=False) as running:
            yield running
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def place(cluster: Slurm) -> Iterator[Path]:
    """A directory that any account can use, with an interpreter that any account can run."""
    base = Path(tempfile.mkdtemp(prefix="nvlhub-place-"))
    (base / "nvlkernels").mkdir()
    (base / "nvlkernels/__init__.py").touch()
    source = Path(__file__).parents[2] / "kernels/nvlkernels/server.py"
    shutil.copy(source, base / "nvlkernels/server.py")
    python = base / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={base} exec /usr/bin/python3 "$@"\n')
    for path in (base, base / "nvlkernels", python):
        path.chmod(0o755)
    (base / "home").mkdir()
    (base / "home").chmod(0o777)
    yield base
    shutil.rmtree(base)


@pytest.fixture
async def hub() -> AsyncIterator[Any]:
    """What listens as the hub; `answers` says how it takes a port."""
    told = SimpleNamespace(posts=[], spawner=None, status=0, port=free_port())

    class Port(RequestHandler):
        def post(self) -> None:
            told.posts.append((self.request.headers["Authorization"], self.request.body))
            port = int(self.request.body.decode().strip('{"port: }'))
            if not told.status and not told.spawner.take_port(port):
                told.status = 409
            self.set_status(told.status or 204)

    server = HTTPServer(Application([("/hub/nvlhub-server/port", Port)]))
    server.listen(told.port, "127.0.0.1")
    yield told
    server.stop()
    await server.close_all_connections()


def spawner(cluster: Slurm, place: Path, hub: Any, user: str, **traits: Any) -> SlurmSpawner:
    person = SimpleNamespace(name=user, escaped_name=quote(user), url=f"/user/{quote(user)}/", spawners={})
    api = SimpleNamespace(public_host="", api_url=f"http://127.0.0.1:{hub.port}/hub/api", base_url="/hub/")
    hub.spawner = SlurmSpawner(
        user=person, hub=api, orm_spawner=SimpleNamespace(name="", server=None, user_options={}),
        **{
            "api_token": TOKEN, "partition": "cpu", "slurm_conf": str(cluster.conf), "python": str(place / "python"),
            "directory": str(place / "home"), "cmd": ["/usr/bin/python3", "-c", SERVER], "run_as": "hub", **traits,
        },
    )  # fmt: skip
    return hub.spawner


def as_somebody_else(*command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", f"--reuid={OTHERS}", f"--regid={OTHERS}", "--clear-groups", *command],
        capture_output=True, text=True, timeout=30, check=False, cwd="/", **more,
    )  # fmt: skip


def mine(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(place / "home"):
                found.append(process)
    return found


async def test_a_server_is_its_users_and_its_secrets_are_for_nobody_else(cluster: Slurm, place: Path, hub: Any) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be several accounts")
    one = spawner(cluster, place, hub, "nobody", run_as="user")
    url = await asyncio.wait_for(one.start(), 60)
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).status_code == 200
    assert hub.posts == [(f"token {TOKEN}", b'{"port": %d}' % int(url.rpartition(":")[2]))]
    # Not the hour that the partition gives a job which asks for no time.
    assert cluster.run("squeue", "-h", "-j", one.job, "-o", "%l").strip() == "UNLIMITED"
    # One process, the server itself: what told the port is gone.
    [process] = mine(place)
    assert process.username() == "nobody"
    assert process.environ()["JUPYTERHUB_API_TOKEN"] == TOKEN
    assert not process.children()
    log = place / "home" / log_name("")
    assert (log.owner(), stat.S_IMODE(log.stat().st_mode)) == ("nobody", 0o600)

    # Nothing that others can read has it: processes, the job, its script, what daemons wrote.
    assert as_somebody_else("cat", f"/proc/{process.pid}/environ").returncode != 0
    everything = as_somebody_else("sh", "-c", "cat /proc/[0-9]*/cmdline; exit 0").stdout
    assert "nvlhub" in everything
    assert TOKEN not in everything
    shown = as_somebody_else("scontrol", "show", "job", "-d", one.job, env=cluster.environment)
    assert f"JobId={one.job}" in shown.stdout
    assert TOKEN not in shown.stdout
    written = as_somebody_else("scontrol", "write", "batch_script", one.job, "-", env=cluster.environment)
    assert TOKEN not in written.stdout
    files = as_somebody_else("grep", "-rsl", "--devices=skip", TOKEN, str(cluster.directory / "spool"), str(place))
    assert files.stdout == ""

    await asyncio.wait_for(one.stop(), 30)
    assert mine(place) == []
    assert cluster.run("squeue", "-h", "--name=nvlhub-server") == ""


async def test_a_hub_that_wants_no_port_of_a_job_has_it_end(cluster: Slurm, place: Path, hub: Any) -> None:
    one = spawner(cluster, place, hub, "ann")
    hub.status = 403
    with pytest.raises(SpawnException, match="ended before the server answered") as failed:
        await asyncio.wait_for(one.start(), 60)
    assert "does not want this server (403" in failed.value.message
    assert mine(place) == []


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"python": "/nowhere/python"}, "/nowhere/python"),
        ({"cmd": ["/nowhere/jupyterhub-singleuser"]}, "/nowhere/jupyterhub-singleuser cannot be started on this node"),
        ({"cmd": [sys.executable, "-c", "raise SystemExit('no such module')"]}, "no such module"),
    ],
)
async def test_a_server_that_dies_at_once_is_told_at_once(
    cluster: Slurm, place: Path, hub: Any, traits: dict[str, Any], words: str
) -> None:
    began = time.monotonic()
    with pytest.raises(SpawnException) as failed:
        await asyncio.wait_for(spawner(cluster, place, hub, "ann", **traits).start(), 60)
    assert words in failed.value.message
    assert "NonZeroExitCode" in failed.value.message
    assert time.monotonic() - began < 15
    assert hub.posts == []


async def test_what_slurm_does_not_take_is_told(cluster: Slurm, place: Path, hub: Any) -> None:
    with pytest.raises(SpawnException) as refused:
        await spawner(cluster, place, hub, "ann", partition="no-such-partition").start()
    assert refused.value.reason == "servers-refused"
    assert "partition" in refused.value.message


async def test_a_job_that_waits_says_why_and_can_be_stopped(cluster: Slurm, place: Path, hub: Any) -> None:
    one = spawner(cluster, place, hub, "ann", sbatch_options=["--hold"])
    start = asyncio.ensure_future(one.start())
    async with asyncio.timeout(60):
        async for event in one.progress():
            if "held in the cluster's queue" in event["message"]:
                break
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    assert await one.poll() is None
    await asyncio.wait_for(one.stop(), 60)
    assert await one.poll() == 1
