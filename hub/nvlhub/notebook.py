"""A user without a browser: starts a server through the hub, a kernel in it, and runs code there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from nvlhub.trust import trusted
from nvlhub.wire import API_PATH

STARTS = 120.0
"""Seconds that a server may take to start."""


class NotebookError(Exception):
    """Something that the user would see as an error."""


@dataclass
class Ran:
    """What a cell gave: its texts, how many pictures, and its error."""

    text: str = ""
    pictures: int = 0
    error: str = ""


@dataclass
class Session:
    """One user at a hub. `operator_token` may start servers and make tokens."""

    url: str
    user: str
    operator_token: str
    _http: httpx.AsyncClient = field(init=False)
    token: str = field(init=False, default="")
    _kernels: list[Kernel] = field(init=False, default_factory=list)

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(timeout=120, verify=trusted())
        hub = f"{self.url}/hub/api/users/{quote(self.user)}"
        operator = {"Authorization": f"token {self.operator_token}"}
        created = await self._http.post(hub, headers=operator)
        if created.status_code not in {201, 409}:
            raise NotebookError(created.text)
        body = {"note": "session without a browser", "expires_in": 3600}
        made = await self._http.post(f"{hub}/tokens", headers=operator, json=body)
        made.raise_for_status()
        self.token = made.json()["token"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kernel in self._kernels:
            await kernel.disconnect()
        await self._http.aclose()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    @property
    def server(self) -> str:
        """The address of the user's server."""
        return f"{self.url}/user/{quote(self.user)}"

    async def hub(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the hub's API as the user."""
        return await self._http.request(method, f"{self.url}/hub/api{path}", headers=self._headers, **more)

    async def portal(self, method: str, path: str, **more: Any) -> Any:
        """Call the portal's API as the user."""
        headers = self._headers | more.pop("headers", {})
        response = await self._http.request(method, self.url + API_PATH + path, headers=headers, **more)
        return response.json()

    async def start_server(self, options: dict[str, Any] | None = None) -> None:
        """Start the user's server and wait until it answers."""
        path = f"/users/{quote(self.user)}/server"
        body = {"user_options": options} if options else None
        until = time.monotonic() + STARTS
        response = await self.hub("POST", path, json=body)
        while response.status_code == 400 and "pending stop" in response.text and time.monotonic() < until:
            # The hub is still taking in the end of the last one.
            await asyncio.sleep(0.2)
            response = await self.hub("POST", path, json=body)
        if response.status_code not in {201, 202} and "already" not in response.text:
            raise NotebookError(response.text)
        while time.monotonic() < until:
            user = (await self.hub("GET", f"/users/{quote(self.user)}")).json()
            if user.get("servers", {}).get("", {}).get("ready"):
                return
            await asyncio.sleep(0.2)
        raise NotebookError("the server did not start")

    async def stop_server(self) -> None:
        """Stop the user's server and wait until it is gone."""
        await self.hub("DELETE", f"/users/{quote(self.user)}/server")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            user = (await self.hub("GET", f"/users/{quote(self.user)}")).json()
            if not user.get("servers", {}):
                return
            await asyncio.sleep(0.2)

    async def jupyter(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the API of the user's server."""
        return await self._http.request(method, f"{self.server}{path}", headers=self._headers, **more)

    async def start_kernel(self, name: str, path: str = "demo.ipynb") -> Kernel:
        """Start a kernel for a notebook. Raises `NotebookError` with the text of JupyterLab's dialog."""
        body = {"name": path, "path": path, "type": "notebook", "kernel": {"name": name}}
        response = await self.jupyter("POST", "/api/sessions", json=body)
        if response.status_code != 201:
            raise NotebookError(str(response.json().get("message")))
        kernel = Kernel(self, response.json()["kernel"]["id"], response.json()["id"])
        self._kernels.append(kernel)
        return kernel


@dataclass
class Kernel:
    """A kernel of a session."""

    session: Session
    id: str
    session_id: str
    _socket: WebSocketClientConnection | None = None

    async def connect(self) -> None:
        """Open the kernel's channels, anew if they were open."""
        await self.disconnect()
        address = self.session.server.replace("http", "ws", 1) + f"/api/kernels/{self.id}/channels"
        request = HTTPRequest(address, headers={"Authorization": f"token {self.session.token}"}, request_timeout=120)
        self._socket = await websocket_connect(request)

    async def disconnect(self) -> None:
        """Close the kernel's channels."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while await socket.read_message() is not None:
                        pass

    async def run(self, code: str, timeout: float = 120.0) -> Ran:  # noqa: ASYNC109
        """Run code and wait for its end. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            if self._socket is None:
                await self.connect()
            assert self._socket is not None  # noqa: S101
            message_id = uuid.uuid4().hex
            header = {
                "msg_id": message_id,
                "username": "",
                "session": uuid.uuid4().hex,
                "msg_type": "execute_request",
                "version": "5.4",
            }
            content = {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            }
            message = {
                "header": header,
                "parent_header": {},
                "metadata": {},
                "content": content,
                "channel": "shell",
                "buffers": [],
            }
            await self._socket.write_message(json.dumps(message, default=str))
            ran = Ran()
            while not await self._take(message_id, ran):
                pass
            return ran

    async def _take(self, message_id: str, ran: Ran) -> bool:
        """Read one message; return whether the cell is done."""
        assert self._socket is not None  # noqa: S101
        read = await self._socket.read_message()
        if read is None:
            raise NotebookError("the kernel's connection was closed")
        if isinstance(read, bytes):
            return False
        message = json.loads(read)
        if message.get("parent_header", {}).get("msg_id") != message_id:
            return False
        content = message["content"]
        match message["header"]["msg_type"]:
            case "stream":
                ran.text += content["text"]
            case "execute_result" | "display_data":
                ran.text += content["data"].get("text/plain", "") + "\n"
                ran.pictures += "image/png" in content["data"]
            case "error":
                ran.error = f"{content['ename']}: {content['evalue']}"
            case "status":
                return bool(content["execution_state"] == "idle")
            case _:
                pass
        return False

    async def shut_down(self) -> None:
        """Shut the kernel down, as a user does."""
        await self.disconnect()
        await self.session.jupyter("DELETE", f"/api/sessions/{self.session_id}")
