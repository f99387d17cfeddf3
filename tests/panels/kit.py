"""The dashboards' service in the test's own loop: a stand-in for the hub, and one for the portal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import panel as pn
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError, RequestHandler

from nvlhub.ports import free_port
from nvlhub.visitor import ADMIN_SCOPE
from nvlhub.wire import API_PATH
from nvlwidgets.panels import answers
from nvlwidgets.panels.service import Panels
from tests.stories.visitor import PANELS, Socket, Visitor

SECRET = b"s" * 32


@dataclass
class Hub:
    """Knows everybody by a cookie; what it says is changed by hand."""

    scopes: dict[str, set[str]] = field(default_factory=dict)
    access_scopes: frozenset[str] = frozenset({"access"})
    cache: dict[str, Any] = field(default_factory=dict)
    away: bool = False

    def check_scopes(self, required: Any, model: Mapping[str, Any]) -> bool:
        return set(required) <= set(model["scopes"])

    def get_token(self, handler: RequestHandler) -> str:
        return f"token-of-{handler.get_cookie('who', '')}"

    async def get_user(self, handler: RequestHandler, *, sync: bool) -> dict[str, Any] | None:
        return await self.user_for_token(self.get_token(handler), sync=sync)

    async def user_for_token(self, token: str, *, sync: bool, use_cache: bool = True) -> dict[str, Any] | None:
        if self.away:
            raise HTTPError(500)
        name = token.removeprefix("token-of-")
        return {"name": name, "scopes": sorted(self.scopes[name])} if name in self.scopes else None

    def log_out(self, name: str) -> None:
        del self.scopes[name]


class PortalStandIn:
    """Answers as a portal does, or as one that is not well."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.officers: dict[str, list[str]] = {}
        self.mode = "well"
        self.engine_away = False
        self.leases: list[dict[str, Any]] = []

    def about(self, path: str, token: str) -> Any:
        name = token.removeprefix("token token-of-")
        match path.removeprefix(API_PATH):
            case "/me":
                return {"name": name, "projects": [], "officer_of": self.officers.get(name, [])}
            case "/health":
                return {"zone": "UTC", "engine_away": self.engine_away}
            case _:
                return {"items": self.leases, "total": len(self.leases), "page": 1, "per_page": 200}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        match self.mode:
            case "away":
                raise httpx.ConnectError("refused")
            case "half":
                raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
            case "cut":
                return httpx.Response(200, content=b'{"items": [{"id": "a", "st')
            case "html":
                return httpx.Response(200, html="<html>It works!</html>")
            case "other":
                return httpx.Response(200, json=["it", "works"])
            case "failed":
                return httpx.Response(502, html="<html>Bad gateway</html>")
            case "huge":
                return httpx.Response(200, stream=Endless())
            case "slow":
                await asyncio.sleep(20)
            case "drips":
                return httpx.Response(200, stream=Dripping())
        return httpx.Response(200, json=self.about(request.url.path, request.headers["Authorization"]))


class Endless(httpx.AsyncByteStream):
    """100 MB of an answer."""

    most = 0
    """Megabytes that were read of any."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(100):
            Endless.most = max(Endless.most, number)
            yield b" " * 1024 * 1024


class Dripping(httpx.AsyncByteStream):
    """An answer that never ends, a byte at a time."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.05)
            yield b" "


@dataclass
class Kit:
    """One service that runs."""

    url: str
    hub: Hub
    portal: PortalStandIn
    panels: Panels
    server: Any

    def guest(self, name: str) -> Guest:
        return Guest(self.url, name)

    @property
    def sessions(self) -> int:
        return sum(len(list(context.sessions)) for context in self.server._tornado.applications.values())


class Guest(Visitor):
    """A visitor whom the stand-in knows by name."""

    async def log_in(self) -> None:
        self.http.cookies.set("who", self.name, domain="127.0.0.1", path="/")
        self.http.follow_redirects = False


@asynccontextmanager
async def serving(**environment: str) -> AsyncIterator[Kit]:
    """Run the service for the length of the block."""
    hub, portal = Hub({"alice": {"access"}, "bob": {"access"}, "root": {"access", ADMIN_SCOPE}}), PortalStandIn()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    told = {"JUPYTERHUB_API_TOKEN": "own", "NVLHUB_PUBLIC_URL": url, "NVLHUB_PANELS_RECHECK": "0.2", **environment}
    async with httpx.AsyncClient(transport=httpx.MockTransport(portal)) as http:
        panels = Panels(told, hub, http)  # type: ignore[arg-type]
        server = panels.server("127.0.0.1", port, SECRET)
        server.start()
        try:
            yield Kit(url, hub, portal, panels, server)
        finally:
            server.stop()
            panels.sources.clear()
            pn.state.reset()


async def until_closed(socket: Socket) -> list[Any]:
    """Return what still comes over a socket until the server closes it."""
    found = []
    async with asyncio.timeout(6):
        while (message := await socket.message()) is not None:
            found.append(message)
    return found


__all__ = ["API_PATH", "PANELS", "HTTPClientError", "Kit", "answers", "json", "serving", "until_closed"]
