"""The kernels of one notebook server: starts that may wait, can be cancelled, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado import web
from traitlets import Bool, Float

from nvlkernels.kept import Kept
from nvlkernels.provisioner import HELD, LEFT, WAITING, LeaseProvisioner, silent_text
from nvlkernels.specs import parts_of

DECIDED = 20.0
"""Seconds to wait for the portal's word on a start before it is left pending."""


def _admitted(kernel_id: str) -> bool:
    provisioner = HELD.get(kernel_id)
    return provisioner is not None and provisioner.lease is not None


class StartRefusedError(web.HTTPError):
    """A start that may not be. Its text is the same wherever it is read: Jupyter shows `str` of it, or its message."""

    def __init__(self, text: str) -> None:
        super().__init__(409, text)
        self._text = text

    def __str__(self) -> str:
        return self._text


class LeaseKernelManager(AsyncMappingKernelManager):
    """Keeps a queued start pending: JupyterLab keeps the cells that are run meanwhile."""

    use_pending_kernels = Bool(True, config=True, help="Answer at once; the kernel connects when it has its lease.")
    remembered = Float(1.0, config=True, help="Seconds for which a kernel that failed to start can still be asked why.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._looking: dict[str, asyncio.Task[None]] = {}
        self.leaves = False
        """Whether kernels with a lease stay, for the next server to take back, when this one ends."""

    async def _async_start_kernel(self, **kwargs: Any) -> str:
        """Start a kernel; return once it is known whether it may, waits for room, or was refused.

        A refusal is raised here, so that whoever asked reads it, and leaves no kernel behind.
        """
        kernel_id: str = await super()._async_start_kernel(**kwargs)
        km: Any = self._kernels.get(kernel_id)
        if km is None or parts_of(km.kernel_name) is None:
            return kernel_id
        until = time.monotonic() + DECIDED
        while time.monotonic() < until and not km.ready.done() and not _admitted(kernel_id):
            await asyncio.sleep(0.01)
        if km.ready.done() and km.ready.exception() is not None:
            self._forget(kernel_id)
            raise StartRefusedError(str(km.ready.exception()))
        return kernel_id

    start_kernel = _async_start_kernel

    async def take_back(self, kept: Kept, env: dict[str, str]) -> None:
        """Have a kernel that an earlier server left, under its own id.

        It is listed at once; should it not be there any more it is removed again, and :data:`~nvlkernels.provisioner.ENDED` tells why.
        """
        LEFT[kept.kernel] = kept
        cwd = {"cwd": kept.cwd} if kept.cwd else {}
        await super()._async_start_kernel(kernel_id=kept.kernel, kernel_name=kept.kernel_name, env=env, **cwd)
        self._looking[kept.kernel] = asyncio.create_task(self._look(kept.kernel, self._kernels[kept.kernel]))

    async def _look(self, kernel_id: str, km: Any) -> None:
        """Find out whether a kernel that was taken back works: nobody heard when it began to, or ended."""
        with contextlib.suppress(Exception):
            await asyncio.shield(asyncio.wrap_future(km.ready) if isinstance(km.ready, Future) else km.ready)
            # Until it answers, so that it is not taken for idle.
            km.execution_state = "busy"
            shell = km.connect_shell()

            def heard(_message: Any) -> None:
                shell.close()
                km.execution_state = "idle" if km.execution_state == "busy" else km.execution_state

            shell.on_recv(heard)
            km.session.send(shell, "kernel_info_request")
        self._looking.pop(kernel_id, None)

    async def _add_kernel_when_ready(self, kernel_id: str, km: Any, kernel_awaitable: Awaitable[Any]) -> None:
        await super()._add_kernel_when_ready(kernel_id, km, kernel_awaitable)
        if km.ready.done() and not km.ready.cancelled() and km.ready.exception() is not None:
            asyncio.get_running_loop().call_later(self.remembered, self._forget, kernel_id)

    def _forget(self, kernel_id: str) -> None:
        """Remove a kernel that never started: nothing else would."""
        self._pending_kernels.pop(kernel_id, None)
        if kernel_id in self._kernels:
            self.remove_kernel(kernel_id)

    async def _async_shutdown_kernel(self, kernel_id: str, now: bool = False, restart: bool = False) -> None:
        waiting = WAITING.get(kernel_id)
        if waiting is not None:
            waiting.cancel()
        await super()._async_shutdown_kernel(kernel_id, now=now, restart=restart)

    shutdown_kernel = _async_shutdown_kernel

    async def _async_restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        """Restart a kernel; not one that is not heard: it would lose what it has in memory, and could not start again."""
        held = HELD.get(kernel_id)
        if held is not None and (why := silent_text(held)):
            raise StartRefusedError(why)
        await super()._async_restart_kernel(kernel_id, now=now)

    restart_kernel = _async_restart_kernel

    async def _async_shutdown_all(self, now: bool = False) -> None:
        """Shut all kernels down, but those that stay."""
        for kernel_id, provisioner in list(HELD.items()) if self.leaves else ():
            km: Any = self._kernels.get(kernel_id)
            if km is not None and provisioner.leave():
                km.stop_restarter()
                self._kernels.pop(kernel_id)
                self.log.warning("kernel %s is left for the next server of this name", kernel_id)
        await super()._async_shutdown_all(now=now)

    shutdown_all = _async_shutdown_all

    def remove_kernel(self, kernel_id: str) -> Any:
        """Remove a kernel; one that was given up after too many deaths has nobody else to end its lease and close its sockets."""
        km: Any = self._kernels.get(kernel_id)
        if km is not None:
            self.stop_watching_activity(kernel_id)
            # Of a tab that was closed before.
            self.stop_buffering(kernel_id)
            self._kernel_connections.pop(kernel_id, None)
            self._kernel_ports.pop(kernel_id, None)
            km._close_control_socket()  # noqa: SLF001  # all else that closes it shuts the kernel down, too
        removed = super().remove_kernel(kernel_id)
        provisioner = HELD.get(kernel_id)
        if isinstance(provisioner, LeaseProvisioner):
            with contextlib.suppress(RuntimeError):
                self._giving_back = asyncio.get_running_loop().create_task(provisioner.abandon())
        return removed
