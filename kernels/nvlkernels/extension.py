"""Jupyter Server extension: what this server's kernels hold or wait for, Dask's dashboards, and a clean end.

``GET /nvlhub/leases`` lists them; ``DELETE /nvlhub/leases/KERNEL`` cancels a start that waits. ``/nvlhub/dask/PORT/...`` is the
dashboard of a cluster of this server's kernels.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from nvlhub.text import say
from nvlkernels.client import settings
from nvlkernels.dashboard_proxy import PATTERN, DashboardHandler, open_sidebar
from nvlkernels.provisioner import ENDED, HELD, TOLD, WAITING


class LeasesHandler(APIHandler):
    """The leases of this server."""

    @web.authenticated
    def get(self) -> None:
        """List kernels with their leases."""
        lang = settings()[1]["Accept-Language"]
        items = []
        for kernel_id, provisioner in HELD.items():
            lease = provisioner.lease
            if lease is None:
                continue
            waiting = kernel_id in WAITING
            item = {
                "kernel": kernel_id,
                "waiting": waiting,
                "warning": provisioner.warning,
                **lease.model_dump(mode="json"),
            }
            if waiting and lease.position is not None:
                wait = None if lease.expected_start is None else max(0, lease.expected_start - lease.now)
                start = (
                    say("queued-unknown", lang) if wait is None else say("queued-in", lang, minutes=str(-(-wait // 60)))
                )
                item["text"] = say(
                    "queued",
                    lang,
                    gpus=str(lease.gpus),
                    project=lease.project,
                    position=str(lease.position),
                    start=start,
                )
                item["cancel"] = say("queued-cancel", lang)
            items.append(item)
        now = time.monotonic()
        for kernel_id in [known for known, (at, _) in ENDED.items() if now - at > TOLD]:
            del ENDED[kernel_id]
        ended = [{"kernel": kernel_id, "text": text} for kernel_id, (_, text) in ENDED.items()]
        self.finish(json.dumps({"items": items, "ended": ended}))


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


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "nvlkernels.extension"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    base = serverapp.web_app.settings["base_url"]
    leases = url_path_join(base, "nvlhub", "leases")
    serverapp.web_app.add_handlers(
        ".*$",
        [
            (leases, LeasesHandler),
            (url_path_join(leases, "([0-9a-f-]{36})"), LeaseHandler),
            (url_path_join(base, PATTERN), DashboardHandler),
        ],
    )
    open_sidebar()
    if threading.current_thread() is threading.main_thread():
        # The hub stops a server with SIGINT. Without a terminal Jupyter Server would leave at once and its kernels'
        # leases with it; this way they are given back first.
        signal.signal(signal.SIGINT, serverapp._signal_stop)  # noqa: SLF001


load_jupyter_server_extension = _load_jupyter_server_extension
