"""Jupyter Server extension: what this server's kernels hold or wait for, Dask's dashboards, kernels taken back, a clean end.

``GET /nvlhub/leases`` lists them, with the words that JupyterLab shows; ``DELETE /nvlhub/leases/KERNEL`` cancels a start that
waits; ``POST /nvlhub/leases/KERNEL/extend`` pays for more time. ``/nvlhub/dask/PORT/...`` is the dashboard of a cluster of this
server's kernels, ``/nvlhub/dask/LEASE/PORT/...`` that of one on another machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import signal
import sys
import threading
import time
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.application import ExtensionApp
from pydantic import ValidationError
from tornado import web

from nvlhub.text import say
from nvlhub.wire import Extend
from nvlkernels.client import PortalDownError, PortalError, spoken
from nvlkernels.dashboard_proxy import PATTERN, DashboardHandler, open_sidebar
from nvlkernels.manager import LeaseKernelManager
from nvlkernels.notices import Announcements, item, words
from nvlkernels.provisioner import ENDED, HELD, TOLD, WAITING
from nvlkernels.sessions import take_back

ANNOUNCED = Announcements()
"""One for the server, whoever looks."""
CLOSING = 6.0
"""Seconds for which a server that stops waits for its clusters to close; a hub waits for 10 before it sends the next signal."""


class LeasesHandler(APIHandler):
    """The leases of this server."""

    @web.authenticated
    async def get(self) -> None:
        """List kernels with their leases."""
        lang = spoken()
        items = [
            item(kernel_id, provisioner, lang, waiting=kernel_id in WAITING)
            for kernel_id, provisioner in HELD.items()
            if provisioner.lease is not None
        ]
        now = time.monotonic()
        for kernel_id in [known for known, (at, _) in ENDED.items() if now - at > TOLD]:
            del ENDED[kernel_id]
        ended = [{"kernel": kernel_id, "text": text} for kernel_id, (_, text) in ENDED.items()]
        told = {"items": items, "ended": ended, "words": words(lang), "announcements": ANNOUNCED.now()}
        self.finish(json.dumps(told))


class LeaseHandler(APIHandler):
    """One start that waits."""

    @web.authenticated
    def delete(self, kernel_id: str) -> None:
        """Cancel it."""
        waiting = WAITING.get(kernel_id)
        if waiting is None:
            raise web.HTTPError(404)
        waiting.cancel()
        self.set_status(204)
        self.finish()


class ExtendHandler(APIHandler):
    """More time for the lease of one kernel."""

    @web.authenticated
    async def post(self, kernel_id: str) -> None:
        """Pay for `seconds` more; the answer says in `text` what came of it."""
        lang = spoken()
        try:
            more = Extend.model_validate_json(self.request.body)
        except ValidationError:
            self._say(
                400, say("seconds-out-of-range", lang, given="?", profile=kernel_id, least="60", most=str(30 * 86_400))
            )
            return
        held = HELD.get(kernel_id)
        if held is None or held.lease is None:
            self._say(404, say("status-gone", lang))
            return
        try:
            await held.extend(more)
        except PortalError as error:
            self._say(409, str(error))
        except PortalDownError:
            self._say(502, say("widget-unsure", lang))
        else:
            self._say(200, say("status-extended", lang, minutes=str(more.seconds // 60)))

    def _say(self, status: int, text: str) -> None:
        self.set_status(status)
        self.finish(json.dumps({"text": text}))


class LeaseExtension(ExtensionApp):
    """What this package adds to a Jupyter server."""

    name = "nvlhub"

    def initialize_handlers(self) -> None:
        """Add the handlers."""
        self.handlers.extend(
            [
                ("nvlhub/leases", LeasesHandler),
                ("nvlhub/leases/([0-9a-f-]{36})", LeaseHandler),
                ("nvlhub/leases/([0-9a-f-]{36})/extend", ExtendHandler),
                (PATTERN, DashboardHandler),
            ]
        )

    def initialize(self) -> None:
        """Add the handlers, and to what others bring what our users need of it."""
        super().initialize()
        open_sidebar()
        with contextlib.suppress(ImportError):
            # Where a site has left nbgitpuller out, courses have no material of their own.
            importlib.import_module("nvlkernels.material").pull_commits()
        if threading.current_thread() is threading.main_thread():
            _hear_signals(self.serverapp)

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        if isinstance(serverapp.kernel_manager, LeaseKernelManager):
            await take_back(serverapp.kernel_manager, serverapp.session_manager)

    async def stop_extension(self) -> None:
        """Close the sidebar's clusters: they live here, and Dask would wait at the exit for a loop that has ended."""
        sidebar = sys.modules.get("dask_labextension.manager")
        if sidebar is None:
            # Who made no cluster does not wait for an import of Dask.
            return
        with contextlib.suppress(TimeoutError):
            closing = (sidebar.manager.close_cluster(model["id"]) for model in sidebar.manager.list_clusters())
            # A portal that does not hear it hears the silence of the leases instead.
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), CLOSING)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "nvlkernels.extension", "app": LeaseExtension}]


def _hear_signals(serverapp: Any) -> None:
    """Have kernels with a lease end with a server that is stopped, and stay for the next one where it is only ended.

    SIGINT is the hub's way to stop a server for somebody, and a person's in a terminal. SIGTERM says no more than that the
    machine, or the batch system, ends this process: its time is up, its node is cleared, its job was cancelled. If the hub
    had that done for somebody, it tells the portal so, and the leases end by the portal's word.
    """
    stop = serverapp._signal_stop  # noqa: SLF001

    def terminated(number: int, frame: object) -> None:
        manager = serverapp.kernel_manager
        # The first signal decides: a hub that was not patient enough sends this one after the other.
        if isinstance(manager, LeaseKernelManager) and not serverapp._stopping:  # noqa: SLF001
            manager.leaves = True
        stop(number, frame)

    # Without a terminal Jupyter Server would leave at once, and its kernels' leases with it.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, terminated)
