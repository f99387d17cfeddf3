"""Dask's dashboards under the address of the user's own server: ``nvlhub/dask/PORT/...``, after its login.

``nvlhub/dask/LEASE/PORT/...`` is one of a kernel on another machine: where that is, its provisioner knows, and nobody else is asked.
JupyterLab's Dask sidebar has a way of its own to the clusters that it made; it is given the same key. What listens on a port may
belong to anybody: it has to prove that it is a dashboard of this user before anything is passed on, and never gets the visitor's
cookies or tokens.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import ssl
from dataclasses import dataclass
from typing import Any

from jupyter_server_proxy.handlers import ProxyHandler
from jupyter_server_proxy.websocket import pingable_ws_connect
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from nvlhub.text import say
from nvlkernels.client import spoken
from nvlkernels.dashboard_key import HEADER, LOOPBACK, PROOF, SIGNED, dashboard_key, proof
from nvlkernels.provisioner import HELD

PATTERN = r"nvlhub/dask/(?:([0-9a-f-]{36})/)?(\d{1,5})(/.*)"
PRIVATE = ("Cookie", "Authorization", "X-XSRFToken")
"""Headers that are for the server alone."""


@dataclass(frozen=True, slots=True)
class Door:
    """A dashboard that has proven to be this user's."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    """What speaks to it, and to nobody else, where it is on another machine."""


async def proven(port: int, host: str = LOOPBACK) -> Door | None:
    """Return the dashboard of this user's clusters that listens on a port; None where there is none."""
    nonce, far = secrets.token_urlsafe(32), host != LOOPBACK
    with contextlib.suppress(Exception):
        answer = await AsyncHTTPClient().fetch(
            f"{'https' if far else 'http'}://{host}:{port}{PROOF}{nonce}",
            request_timeout=5,
            follow_redirects=False,
            # Who it is stands in the answer.
            validate_cert=False,
        )
        signed, certificate = answer.body[:SIGNED], answer.body[SIGNED:].decode()
        if hmac.compare_digest(signed, proof(port, nonce, certificate).encode()) and far == bool(certificate):
            return Door(host, port, _only(certificate) if far else None)
    return None


def _only(certificate: str) -> ssl.SSLContext:
    """Return what trusts one certificate, whatever name stands in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    return context


def _machine_of(lease: str) -> str:
    """Return where a kernel of this server runs; empty for a lease that none of them has."""
    return next((held.address for held in HELD.values() if held.lease and held.lease.id == lease), "")


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
        return _passed_on(self, int(self.path_args[1]))

    def proxy_request_options(self) -> Any:
        """Speak to the dashboard that has proven itself, and to nobody else."""
        return {**super().proxy_request_options(), "ssl_options": self._door.context}

    def get_client_uri(self, protocol: str, host: str, port: int, proxied_path: str) -> Any:
        """Return where a request goes."""
        return super().get_client_uri(protocol + "s" * bool(self._door.context), host, port, proxied_path)

    async def _find(self, lease: str | None, port: str) -> Door:
        host = _machine_of(lease) if lease else LOOPBACK
        found = await proven(int(port), host) if host and 0 < int(port) < 65_536 else None
        if found is None:
            raise web.HTTPError(404, say("dashboard-gone", spoken()))
        self.proxy_base = f"nvlhub/dask/{lease}/{port}" if lease else f"nvlhub/dask/{port}"
        self.host_allowlist = [found.host]
        self._door = found
        return found

    async def http_get(self, lease: str | None, port: str, path: str) -> Any:
        """Pass on a page."""
        door = await self._find(lease, port)
        return await self.proxy(door.host, door.port, path)

    async def open(self, lease: str | None, port: str, path: str) -> Any:
        """Pass on a websocket."""
        door = await self._find(lease, port)
        if door.context is None:
            return await self.proxy_open(door.host, door.port, path)
        request = HTTPRequest(
            self.get_client_uri("ws", door.host, door.port, path),
            headers=self.proxy_request_headers(),
            ssl_options=door.context,
        )
        self.ws = await pingable_ws_connect(
            request=request, on_message_callback=self._pass_back, on_ping_callback=self.ping,
            subprotocols=self._requested_subprotocols,
        )  # fmt: skip
        return None

    def _pass_back(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
        else:
            self.write_message(message, binary=isinstance(message, bytes))


def open_sidebar() -> None:
    """Have the sidebar's own way to its clusters' dashboards give the key along, and no more than that."""
    with contextlib.suppress(ImportError):
        from dask_labextension.dashboardhandler import DaskDashboardHandler  # noqa: PLC0415  # not everywhere

        def headers(handler: Any) -> Any:
            _, port = handler._get_parsed(handler.path_kwargs["cluster_id"])  # noqa: SLF001
            return _passed_on(handler, port)

        DaskDashboardHandler.proxy_request_headers = headers
