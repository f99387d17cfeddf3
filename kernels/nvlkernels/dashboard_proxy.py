"""Dask's dashboards under the address of the user's own server: ``nvlhub/dask/PORT/...``, after its login.

JupyterLab's Dask sidebar has a way of its own to the clusters that it made; it is given the same key.
"""

from __future__ import annotations

import contextlib
from typing import Any

from jupyter_server_proxy.handlers import ProxyHandler

from nvlkernels.dashboard_key import HEADER, dashboard_key

PATTERN = r"nvlhub/dask/(\d{1,5})(/.*)"


class DashboardHandler(ProxyHandler):
    """Passes on what its user may see: the login was checked before."""

    def get_request_headers_override(self) -> dict[str, str]:
        """Give the key along."""
        return {HEADER: dashboard_key(int(self.path_args[0]))}

    def _at(self, port: str) -> int:
        self.proxy_base = f"nvlhub/dask/{port}"
        return int(port)

    async def http_get(self, port: str, path: str) -> Any:
        """Pass on a page."""
        return await self.proxy("127.0.0.1", self._at(port), path)

    async def open(self, port: str, path: str) -> Any:
        """Pass on a websocket."""
        return await self.proxy_open("127.0.0.1", self._at(port), path)


def open_sidebar() -> None:
    """Have the sidebar's own way to its clusters' dashboards give the key along."""
    with contextlib.suppress(ImportError):
        from dask_labextension.dashboardhandler import DaskDashboardHandler  # noqa: PLC0415  # not everywhere

        def headers(handler: Any) -> dict[str, str]:
            _, port = handler._get_parsed(handler.path_kwargs["cluster_id"])  # noqa: SLF001
            return {HEADER: dashboard_key(port)}

        DaskDashboardHandler.get_request_headers_override = headers
