"""Dashboards of kernels on other machines: their user's server reaches them, and nobody reads along or takes their place."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import DictLoader, Environment
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import netutil, web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.websocket import WebSocketHandler, websocket_connect

from nvlkernels import dashboard_key as dashboard_key_module
from nvlkernels import dashboard_proxy
from nvlkernels.cluster import Cluster
from nvlkernels.dashboard import GuardedScheduler
from nvlkernels.dashboard_key import HEADER, LOOPBACK, dashboard_key
from nvlkernels.dashboard_proxy import PATTERN, DashboardHandler, proven
from nvlkernels.sidebar import SidebarCluster

LEASE = "8f12e9a6-3250-4c11-9a55-0123456789ab"
FAR = "127.0.0.2"
"""An address of this machine that stands for another machine's."""


class Echo(WebSocketHandler):
    """What a dashboard's own websocket does."""

    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


@asynccontextmanager
async def scheduler_at(address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GuardedScheduler]:
    """A scheduler whose dashboard listens on `address`."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the server's token")
    async with GuardedScheduler(
        host="127.0.0.1", port=0, protocol="tcp://", dashboard=True, dashboard_address=f"{address}:0"
    ) as scheduler:
        scheduler.http_application.add_handlers(".*", [("/echo", Echo)])
        yield scheduler


@pytest.fixture
async def near(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A scheduler on the machine of the server."""
    async with scheduler_at(LOOPBACK, monkeypatch) as scheduler:
        yield scheduler


@pytest.fixture
async def far(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A scheduler whose dashboard listens on the address of another machine."""
    async with scheduler_at(FAR, monkeypatch) as scheduler:
        yield scheduler


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A notebook server whose one kernel runs on the other machine; its user is logged in."""
    held = SimpleNamespace(address=FAR, lease=SimpleNamespace(id=LEASE))
    monkeypatch.setitem(dashboard_proxy.HELD, "kernel", held)  # type: ignore[misc]  # only what is asked of it
    provider = IdentityProvider()
    monkeypatch.setattr(provider, "get_user", lambda _handler: User("researcher"))
    application = web.Application(
        [(f"/{PATTERN}", DashboardHandler)], base_url="/", identity_provider=provider, cookie_secret="x" * 32,
        allow_origin="*", disable_check_xsrf=True, jinja2_env=Environment(autoescape=True, loader=DictLoader({"error.html": ""})),
    )  # fmt: skip
    [socket] = netutil.bind_sockets(0, LOOPBACK)
    listening = HTTPServer(application)
    listening.add_socket(socket)
    yield f"http://{LOOPBACK}:{socket.getsockname()[1]}"
    listening.stop()
    await listening.close_all_connections()


async def fetch(url: str, **more: Any) -> int:
    answer = await AsyncHTTPClient().fetch(url, raise_error=False, validate_cert=False, **more)
    return answer.code


async def test_the_server_shows_the_dashboard_of_its_kernel_on_another_machine(far: Any, server: str) -> None:
    port = far.http_server.port
    assert await fetch(f"{server}/nvlhub/dask/{LEASE}/{port}/health") == 200
    answer = await AsyncHTTPClient().fetch(f"{server}/nvlhub/dask/{LEASE}/{port}/json/identity.json")
    assert far.id in answer.body.decode()


async def test_a_websocket_of_the_dashboard_goes_through(far: Any, server: str) -> None:
    socket = server.replace("http", "ws") + f"/nvlhub/dask/{LEASE}/{far.http_server.port}/echo"
    connection = await websocket_connect(socket)
    for message in ("words", b"\x00bytes"):
        await connection.write_message(message, binary=isinstance(message, bytes))
        assert await asyncio.wait_for(connection.read_message(), 60) == message
    connection.close()


async def test_on_its_own_machine_the_server_goes_the_short_way(near: Any, server: str) -> None:
    port = near.http_server.port
    assert await fetch(f"{server}/nvlhub/dask/{port}/health") == 200
    assert await fetch(f"http://{LOOPBACK}:{port}/health") == 403
    connection = await websocket_connect(server.replace("http", "ws") + f"/nvlhub/dask/{port}/echo")
    await connection.write_message("words")
    assert await asyncio.wait_for(connection.read_message(), 60) == "words"
    connection.close()


async def test_nobody_else_sees_it_and_it_speaks_to_nobody_in_the_clear(far: Any) -> None:
    port = far.http_server.port
    assert await fetch(f"https://{FAR}:{port}/health") == 403
    assert await fetch(f"https://{FAR}:{port}/health", headers={HEADER: dashboard_key(port)}) == 200
    with pytest.raises((HTTPClientError, OSError)):
        await AsyncHTTPClient().fetch(f"http://{FAR}:{port}/health", request_timeout=5)
    with pytest.raises(ConnectionRefusedError):
        await AsyncHTTPClient().fetch(f"http://{LOOPBACK}:{port}/health", request_timeout=5)


async def test_the_address_comes_from_the_kernel_and_never_from_the_request(far: Any, server: str) -> None:
    port = far.http_server.port
    for path in (
        f"{port}/health",
        f"{LEASE.replace('8', '9')}/{port}/health",
        f"{FAR}/{port}/health",
        f"{FAR}:{port}/health",
        f"{LEASE}/1/health",
        f"{LEASE}/0/health",
    ):
        assert await fetch(f"{server}/nvlhub/dask/{path}") == 404


async def test_who_passes_on_the_proof_of_a_dashboard_gets_neither_key_nor_traffic(
    far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener in between asks the true dashboard for its proof. Its own certificate is not the one that was vouched for."""
    port = far.http_server.port
    heard: list[str] = []

    class Between(web.RequestHandler):
        async def get(self) -> None:
            heard.append(self.request.headers.get(HEADER, ""))
            answer = await AsyncHTTPClient().fetch(f"https://{FAR}:{port}{self.request.path}", validate_cert=False)
            self.write(answer.body)

    from nvlkernels.dashboard import _certified  # noqa: PLC0415  # what the one in between has, too

    _, context = _certified()
    listening = HTTPServer(web.Application([(".*", Between)]), ssl_options=context)
    listening.listen(port, "127.0.0.3")
    door = await proven(port, "127.0.0.3")
    assert door is not None
    assert door.context is not None
    request = HTTPRequest(f"https://127.0.0.3:{port}/status", headers={HEADER: "key"}, ssl_options=door.context)
    with pytest.raises(ssl.SSLError):
        await AsyncHTTPClient().fetch(request)
    assert heard == [""]
    listening.stop()
    await listening.close_all_connections()


async def test_without_the_token_of_the_server_nothing_is_proven(far: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = far.http_server.port
    assert await proven(port, FAR)
    assert await proven(port) is None
    other = partial(dashboard_key_module.proof, environment={"JUPYTERHUB_API_TOKEN": "somebody else's"})
    monkeypatch.setattr(dashboard_proxy, "proof", other)
    assert await proven(port, FAR) is None


@pytest.mark.parametrize(
    ("bind", "host", "link"),
    [
        ("", LOOPBACK, "/user/u/nvlhub/dask/41/status"),
        (LOOPBACK, LOOPBACK, "/user/u/nvlhub/dask/41/status"),
        (FAR, FAR, f"/user/u/nvlhub/dask/{LEASE}/41/status"),
    ],
)
def test_the_link_names_the_lease_of_a_kernel_on_another_machine(
    bind: str, host: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVLHUB_BIND", bind)
    monkeypatch.setenv("NVLHUB_LEASE", LEASE)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/u/")
    monkeypatch.setattr(Cluster, "scheduler_info", {"services": {"dashboard": 41}}, raising=False)
    cluster = Cluster.__new__(Cluster)
    assert (cluster._dashboard_host, cluster.dashboard_link) == (host, link)
    assert SidebarCluster.__new__(SidebarCluster)._dashboard_host == LOOPBACK
