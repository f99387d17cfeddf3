"""Kernels that are not heard for a while: nothing of them is lost before the portal says that it has lasted too long."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from traitlets.config import Config

from nvlkernels import mailbox as mailbox_module
from nvlkernels import provisioner as provisioning
from nvlkernels.manager import LeaseKernelManager, StartRefusedError
from nvlkernels.notices import item
from nvlkernels.specs import OfferKernelSpecManager
from tests.kernels.conftest import GRACE, Served
from tests.waiting import until

SILENT = 1.0


@pytest.fixture
def grace() -> int:
    """A short one: it is waited for."""
    return GRACE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice silence soon, and give starts little time."""
    monkeypatch.setattr(mailbox_module, "SILENT", SILENT)
    monkeypatch.setattr(provisioning, "BEAT", 0.3)
    monkeypatch.setattr(provisioning, "LAUNCH", 3.0)


@dataclass
class Notebook:
    """The kernels of one notebook server, and the one that is tried."""

    manager: LeaseKernelManager
    id: str
    client: Any = None

    @property
    def km(self) -> Any:
        return self.manager.get_kernel(self.id)

    async def run(self, code: str) -> str:
        out: list[str] = []
        if self.client is None:
            self.client = self.km.client()
            self.client.start_channels()
            await self.client.wait_for_ready(timeout=30)
        await self.client.execute_interactive(
            code, timeout=20, output_hook=lambda message: out.append(message["content"].get("text", ""))
        )
        return "".join(out).strip()

    async def agent(self) -> psutil.Process:
        return psutil.Process(int(await self.run("import os; print(os.getppid())")))

    def listed(self) -> bool:
        return self.id in self.manager.list_kernel_ids()


@contextlib.contextmanager
def standing_still(*processes: psutil.Process) -> Any:
    """Stop processes for the length of the block, as a suspended job is."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


@pytest.fixture
async def notebook(served: Served, quick: None, tmp_path: Path) -> AsyncIterator[Notebook]:
    config = Config({"KernelRestarter": {"time_to_dead": 0.3}})
    manager = LeaseKernelManager(
        config=config, kernel_spec_manager=OfferKernelSpecManager(), connection_dir=str(tmp_path)
    )  # fmt: skip
    made = Notebook(manager, await manager.start_kernel(kernel_name="nvlhub-demo.gpu1"))
    await made.km.ready
    provisioner = made.km.provisioner
    yield made
    if made.client is not None:
        made.client.stop_channels()
    await manager.shutdown_all(now=True)
    # A notebook server keeps it for as long as it lives.
    await provisioner._portal._http.aclose()


async def test_a_kernel_that_stands_still_for_less_than_the_grace_goes_on_with_its_variables(
    served: Served, notebook: Notebook
) -> None:
    agent = await notebook.agent()
    pid = await notebook.run("x = 41; print(os.getpid())")
    [lease] = served.leases()
    with standing_still(agent, psutil.Process(int(pid))):
        held = provisioning.HELD[notebook.id]
        await asyncio.to_thread(until, lambda: held.silence)
        began = time.monotonic()
        while time.monotonic() < began + GRACE - 3 * SILENT:
            assert await notebook.km.is_alive()
            await asyncio.sleep(0.2)
        told = item(notebook.id, held, "en", waiting=False)["warning"]
        assert "has not been heard for" in told
        assert "It is kept for another" in told
        with pytest.raises(StartRefusedError, match="cannot be restarted before"):
            await notebook.manager.restart_kernel(notebook.id)
    await asyncio.to_thread(until, lambda: not held.silence)
    assert item(notebook.id, held, "en", waiting=False)["warning"] == ""
    assert await notebook.run("print(os.getpid(), x)") == f"{pid} 41"
    [same] = served.leases()
    assert (same["id"], same["state"]) == (lease["id"], "running")


async def test_a_kernel_that_is_silent_for_longer_than_the_grace_is_lost_and_not_listed_any_more(
    served: Served, notebook: Notebook
) -> None:
    agent = await notebook.agent()
    km = notebook.km
    with standing_still(agent, *agent.children()):
        await asyncio.to_thread(until, lambda: not served.leases(), GRACE + 15)
        await asyncio.to_thread(until, lambda: not notebook.listed())
    assert (km._activity_stream, km._control_socket) == (None, None)
    [ended] = served.settled()
    assert ended["end_reason"] == "lost"
    assert "longer than the grace time" in provisioning.ENDED[notebook.id][1]


async def test_a_restart_waits_for_an_agent_that_is_not_heard(served: Served, notebook: Notebook) -> None:
    agent = await notebook.agent()
    [lease] = served.leases()
    notebook.client.stop_channels()
    notebook.client = None
    with standing_still(agent):
        # As the restarter does it, which knows of no silence.
        restart = asyncio.ensure_future(notebook.km.restart_kernel(now=True))
        await asyncio.sleep(provisioning.LAUNCH + 1)
        assert not restart.done()
    await asyncio.wait_for(restart, 60)
    assert await notebook.run("import os; print(os.environ['NVLHUB_LEASE'])") == lease["id"]


async def test_a_restart_that_came_to_nothing_is_no_wish_of_the_user(served: Served, notebook: Notebook) -> None:
    agent = await notebook.agent()
    with standing_still(agent):
        restart = asyncio.ensure_future(notebook.km.restart_kernel(now=True))
        with pytest.raises(RuntimeError, match="longer than the grace time"):
            await asyncio.wait_for(restart, GRACE + 20)
        assert not notebook.listed()
    [ended] = served.settled()
    assert ended["end_reason"] == "lost"
