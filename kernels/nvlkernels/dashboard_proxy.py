"""Dask's dashboards under the address of the user's own server: ``nvlhub/dask/PORT/...``, after its login.

JupyterLab's Dask sidebar has a way of its own to the clusters that it made; it is given the same key. What listens on a port may
belong to anybody: it has to prove that it is a dashboard of this user before anything is passed on, and never gets the visitor's
cookies or tokens.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from typing import Any

from jupyter_server_proxy.handlers import ProxyHandler
from tornado import web
from tornado.httpclient import AsyncHTTPClient

from nvlhub.text import say
from nvlkernels.client import settings
from nvlkernels.dashboard_key import HEADER, PROOF, dashboard_key, proof

PATTERN = r"nvlhub/dask/(\d{1,5})(/.*)"
PRIVATE = ("Cookie", "Authorization", "X-XSRFToken")
"""Headers that are for the server alone."""


async def proven(port: int) -> bool:
    """Tell whether a dashboard of this user's clusters listens on a port."""
    nonce = secrets.token_urlsafe(32)
    with contextlib.suppress(Exception):
        address = f"http://127.0.0.1:{port}{PROOF}{nonce}"
        answer = await AsyncHTTPClient().fetch(address, request_timeout=5, follow_redirects=False)
        return hmac.compare_digest(answer.body, proof(port, nonce).encode())
    return False


def _passed_on(handler: ProxyHandler, port: int) -> Any:
    """Return the headers that a dashboard gets: the key, and nothing that is the visitor's alone."""
    headers = ProxyHandler.proxy_request_headers(handler)
    for private in PRIVATE:
        headers.pop(private, None)
    headers[HEADER] = dashboard_key(port)
    return headers


class DashboardHandler(ProxyHandler):
    """Passes on what its user may see: the login was checked before."""

    def proxy_request_headers(self) -> Any:
        """Give the key along, and nothing that is the visitor's alone."""
        return _passed_on(self, int(self.path_args[0]))

    async def _at(self, port: str) -> int:
        if not 0 < int(port) < 65_536 or not await proven(int(port)):
            raise web.HTTPError(404, say("dashboard-gone", settings()[1]["Accept-Language"]))
        self.proxy_base = f"nvlhub/dask/{port}"
        return int(port)

    async def http_get(self, port: str, path: str) -> Any:
        """Pass on a page."""
        return await self.proxy("127.0.0.1", await self._at(port), path)

    async def open(self, port: str, path: str) -> Any:
        """Pass on a websocket."""
        return await self.proxy_open("127.0.0.1", await self._at(port), path)


def open_sidebar() -> None:
    """Have the sidebar's own way to its clusters' dashboards give the key along, and no more than that."""
    with contextlib.suppress(ImportError):
        from dask_labextension.dashboardhandler import DaskDashboardHandler  # noqa: PLC0415  # not everywhere

        def headers(handler: Any) -> Any:
            _, port = handler._get_parsed(handler.path_kwargs["cluster_id"])  # noqa: SLF001
            return _passed_on(handler, port)

        DaskDashboardHandler.proxy_request_headers = headers
