"""Kernels in jobs of a real Slurm that outlive what they hang on: their notebook server, and a while of standing still."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from nvlhub.notebook import Session
from nvlhub.portal.spawner import LeaseSpawnerMixin
from nvlhub.ports import free_port
from nvlhub.trust import trusted
from nvlkernels import mailbox as mailbox_module
from nvlkernels import provisioner as provisioning
from tests.slurm.kit import ServedBySlurm, kernel
from tests.waiting import until

pytestmark = pytest.mark.slurm

TOKEN = "the-notebook-server-of-a-test"


class Plain:
    """Stands for the rest of a spawner."""

    def get_args(self) -> list[str]:
        return []


class Arguments(LeaseSpawnerMixin, Plain):
    """What the hub's spawner has a notebook server use."""


@dataclass
class Server(Session):
    """A notebook server of its own, without a hub before it."""

    home: Path = field(kw_only=True)
    process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(timeout=60)
        self.token = TOKEN
        return self

    @property
    def server(self) -> str:
        return self.url

    async def start_server(self, options: dict[str, Any] | None = None) -> None:
        self._start()
        await asyncio.to_thread(until, self._answers)

    def _start(self) -> None:
        told = {"HOME": str(self.home), "JUPYTER_DATA_DIR": str(self.home / "data"), "JUPYTER_TOKEN": TOKEN}
        port = self.url.rpartition(":")[2]
        words = [*Arguments().get_args(), f"--port={port}", "--ip=127.0.0.1", "--no-browser", "--allow-root"]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server", *words], cwd=self.home, env={**os.environ, **told},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/status?token={TOKEN}", timeout=5, verify=trusted()).is_success
        except httpx.HTTPError:
            return False

    async def end(self, by: signal.Signals) -> None:
        """End the server by a signal."""
        if self.process is not None:
            self.process.send_signal(by)
            await asyncio.to_thread(self.process.wait, 20)


@pytest.fixture
async def server(served: ServedBySlurm, tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "home").mkdir()
    async with Server(f"http://127.0.0.1:{free_port()}", "researcher", "", home=tmp_path / "home") as made:
        await made.start_server()
        yield made
        await made.end(signal.SIGINT)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
async def test_a_kernel_in_a_job_outlives_its_notebook_server(
    served: ServedBySlurm, server: Server, by: signal.Signals
) -> None:
    notebook = await server.start_kernel("nvlhub-demo.gpu2", "kept.ipynb")
    where = "import os; print(os.getpid(), os.environ['SLURM_JOB_ID'])"
    before = (await notebook.run(f"x = 41; {where}")).text
    held = served.jobs()
    assert len(held) == 1
    await server.end(by)
    await asyncio.sleep(1)
    assert served.jobs() == held
    assert [lease["state"] for lease in served.leases()] == ["running"]

    await server.start_server()
    [found] = (await server.jupyter("GET", "/api/sessions")).json()
    assert (found["path"], found["kernel"]["id"]) == ("kept.ipynb", notebook.id)
    await notebook.connect()
    assert (await notebook.run(f"print(x); {where}")).text == f"41\n{before}"
    await notebook.shut_down()
    [ended] = await asyncio.to_thread(served.settled)
    assert ended["end_reason"] == "user"


async def test_a_notebook_server_that_is_stopped_ends_its_kernel_and_its_job(
    served: ServedBySlurm, server: Server
) -> None:
    await (await server.start_kernel("nvlhub-demo.gpu2", "stopped.ipynb")).run("1")
    await server.end(signal.SIGINT)
    [ended] = await asyncio.to_thread(served.settled)
    assert ended["end_reason"] == "user"


async def test_a_job_that_is_suspended_for_less_than_the_grace_goes_on_where_it_was(
    served: ServedBySlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "SILENT", 1.0)
    monkeypatch.setattr(provisioning, "BEAT", 0.5)
    async with kernel() as notebook:
        before = await notebook.run("import os; x = 41; print(os.getpid())")
        [[job]] = served.jobs().values()
        await asyncio.to_thread(served.slurm.run, "scontrol", "suspend", str(job))
        try:
            await asyncio.to_thread(until, lambda: notebook.manager.provisioner.silence)
            began = time.monotonic()
            while time.monotonic() < began + 5:
                assert await notebook.manager.is_alive()
                await asyncio.sleep(0.2)
        finally:
            await asyncio.to_thread(served.slurm.run, "scontrol", "resume", str(job))
        await asyncio.to_thread(until, lambda: not notebook.manager.provisioner.silence)
        assert await notebook.run("print(os.getpid(), x)") == f"{before} 41"
        assert served.jobs() == {notebook.lease: [job]}
