"""A visitor without a browser: logs in at the hub, opens pages of the dashboards, and their websockets by hand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import zlib
from html import unescape
from types import TracebackType
from typing import Any, Self

import httpx
from bokeh.protocol import Protocol
from bokeh.protocol.messages.patch_doc import patch_doc
from bokeh.protocol.receiver import Receiver
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

PANELS = "/services/panels"


class Visitor:
    """One person with one browser's cookies; without a password: nobody."""

    def __init__(self, url: str, name: str = "", password: str = "") -> None:
        self.url = url
        self.name = name
        self._password = password
        self.http = httpx.AsyncClient(base_url=url, follow_redirects=True, timeout=30)

    async def __aenter__(self) -> Self:
        if self.name:
            await self.log_in()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def log_in(self) -> None:
        """Log in at the hub, and by its OAuth at the dashboards."""
        form = await self.http.get("/hub/login")
        sent = {"username": self.name, "password": self._password, "_xsrf": form.cookies.get("_xsrf") or self._xsrf()}
        done = await self.http.post("/hub/login?next=/hub/home", data=sent)
        assert done.status_code == 200, done.text[:500]
        assert "/hub/home" in str(done.url), done.url
        entered = await self.get("/compute")
        assert entered.status_code == 200, entered.text[:500]

    def _xsrf(self) -> str:
        return next(cookie.value or "" for cookie in self.http.cookies.jar if cookie.name == "_xsrf")

    def cookies(self, path: str = PANELS + "/") -> str:
        """Return the header by which a browser would send the cookies for `path`."""
        kept = [cookie for cookie in self.http.cookies.jar if path.startswith(cookie.path)]
        kept.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in kept)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for something of the dashboards, as a navigating browser does."""
        return await self.http.get(PANELS + path, **more)

    async def token(self, screen: str = "compute", query: str = "") -> str:
        """Open a screen; return the session token of its page."""
        page = await self.get(f"/{screen}{query}")
        assert page.status_code == 200, page.status_code
        return token_in(page.text)

    async def socket(self, screen: str, token: str, origin: str | None = None, **headers: str) -> Socket:
        """Open the websocket of a screen with this visitor's cookies. Raises `HTTPClientError` where it is refused."""
        return await self.socket_at(f"{PANELS}/{screen}", token, origin, **headers)

    async def socket_at(self, path: str, token: str, origin: str | None = None, **headers: str) -> Socket:
        """Open the websocket of any page of a Bokeh server."""
        sent = {"Cookie": self.cookies(), "Origin": self.url if origin is None else origin, **headers}
        request = HTTPRequest(f"{self.url.replace('http', 'ws', 1)}{path}/ws", headers=sent, request_timeout=20)
        opened = Socket(await websocket_connect(request, subprotocols=["bokeh", token]))
        # The server's first word: it hears nothing before.
        await opened.message()
        return opened

    async def tried(self, screen: str, token: str, origin: str | None = None, **headers: str) -> int:
        """Return what a websocket is answered: 101 only where it also gives the document."""
        try:
            socket = await self.socket(screen, token, origin, **headers)
        except HTTPClientError as error:
            return error.code
        async with socket:
            return 101 if await socket.document() is not None else 0


class Socket:
    """An open websocket that speaks Bokeh's protocol."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._receiver = Receiver(Protocol())
        self.closed = False
        self.told = False
        """Whether the server knows that the page is shown."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while not self.closed:
                    await self.message()

    async def message(self) -> Any:
        """Return the next whole message; None when the server has closed the socket."""
        while True:
            part = None if self.closed else await self._connection.read_message()
            if part is None:
                self.closed = True
                return None
            if (message := await self._receiver.consume(part)) is not None:
                return message

    async def send(self, kind: str, *content: Any) -> None:
        """Send a message; nothing happens where the server has closed the socket."""
        await Protocol().create(kind, *content).send(_Sender(self._connection))

    async def send_patch(self, content: dict[str, Any]) -> None:
        """Change something of the document, as a browser does."""
        await patch_doc(patch_doc.create_header(), {}, content).send(_Sender(self._connection))

    async def document(self) -> dict[str, Any] | None:
        """Return the session's whole document, as a browser fetches it and says that it shows it; None where nothing comes."""
        await self.send("PULL-DOC-REQ")
        while (message := await self.message()) is not None:
            if message.msgtype == "PULL-DOC-REPLY":
                if not self.told:
                    self.told = True
                    ready = {"type": "event", "name": "document_ready", "values": {"type": "map"}}
                    event = {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": ready}
                    await self.send_patch({"events": [event]})
                found: dict[str, Any] = message.content["doc"]
                return found
        return None

    async def words(self) -> str:
        """Return all HTML that the tab shows now, as it is read. Raises `ConnectionError` when the server has closed the socket."""
        document = await self.document()
        if document is None:
            raise ConnectionError
        return unescape("\n".join(node["html"] for node in nodes(document) if isinstance(node.get("html"), str)))

    async def shows(self, sentence: str, seconds: float = 60) -> None:
        """Wait until the tab shows a sentence."""
        async with asyncio.timeout(seconds):
            while sentence not in await self.words():
                await asyncio.sleep(0.05)

    async def ask(self, **asked: str) -> None:
        """Say what a browser says when something with ``data-ask`` is pressed."""
        views = [node for node in nodes(await self.document()) if "html" in node.get("attributes", {})]
        new = {"type": "map", "entries": list(asked.items())}
        await self.send_patch(
            {"events": [{"kind": "ModelChanged", "model": {"id": views[0]["id"]}, "attr": "asked", "new": new}]}
        )


def nodes(json: Any) -> list[dict[str, Any]]:
    """Return all objects in some JSON."""
    if isinstance(json, dict):
        return [json, *(inner for value in json.values() for inner in nodes(value))]
    return [inner for value in json for inner in nodes(value)] if isinstance(json, list) else []


class _Sender:
    """What a message of Bokeh's writes itself to."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self.write_lock = self

    async def acquire(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def write_message(self, message: bytes | str, *, binary: bool = False, locked: bool = True) -> None:
        await self._connection.write_message(message, binary)


def token_in(page: str) -> str:
    """Return the session token that stands in a page or script."""
    found = re.search(r'"token":"([^"]+)"', page) or re.search(r'"token"\s*:\s*"([^"]+)"', page.replace("&quot;", '"'))
    assert found is not None, page[:500]
    return found[1]


def opened(token: str) -> dict[str, Any]:
    """Return what a session token carries, whoever signed it."""
    body = token.split(".", maxsplit=1)[0]
    told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if "__bk__zlib_" in told:
        packed = told.pop("__bk__zlib_")
        told |= json.loads(zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))))
    return told
