"""The provisioner's end of the line to a node agent: an encrypted ZeroMQ socket that the agent dials."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import time
from typing import Any

import zmq
import zmq.asyncio

from nvlhub.wire import Mailbox as Address


class Mailbox:
    """A ROUTER socket with CurveZMQ. Frames without the right token are dropped."""

    def __init__(self, host: str, *, advertise: str = "") -> None:
        public, secret = zmq.curve_keypair()
        self._token = secrets.token_urlsafe(32)
        self._socket: zmq.asyncio.Socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_secretkey, self._socket.curve_publickey = secret, public
        self._socket.linger = 200
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self.address = Address(
            address=f"tcp://{advertise or host}:{port}", public_key=public.decode(), token=self._token
        )
        self._agent: bytes | None = None
        self.heard_at: float | None = None
        """Monotonic time of the agent's last frame."""
        self.hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._run = 0
        self.task: asyncio.Future[dict[str, Any]] | None = None
        """The answer to the last start: ``started`` or ``exit``."""
        self.exited: dict[str, Any] | None = None
        """How the task ended; None while it runs."""
        self.ended = asyncio.Event()
        """Set when the task has ended or the agent has left."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            identity, *frames = await self._socket.recv_multipart()
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                message = json.loads(frames[-1])
                if hmac.compare_digest(str(message.get("token")).encode(), self._token.encode()):
                    # The reply address is that of the last good frame, so an agent that dials again is found.
                    self._agent = identity
                    self.heard_at = time.monotonic()
                    self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("kind"):
            case "hello":
                if not self.hello.done():
                    self.hello.set_result(message)
            case "hb":
                self.say("ack")
            case "started" if message.get("run") == self._run:
                self._answer(message)
            case "exit" if message.get("run") == self._run:
                self._ended(message)
            case "bye":
                self._ended({"rc": 0, "phase": "bye"})
            case _:
                # The end of a run before this one, or what a later version says.
                pass

    def _ended(self, message: dict[str, Any]) -> None:
        if self.exited is None:
            self.exited = message
        self._answer(message)
        self.ended.set()

    def _answer(self, message: dict[str, Any]) -> None:
        if self.task is not None and not self.task.done():
            self.task.set_result(message)

    def say(self, kind: str, **facts: object) -> None:
        """Send a message to the agent, if it was ever heard."""
        if self._agent is not None and not self._socket.closed:
            with contextlib.suppress(zmq.ZMQError):
                zmq.Socket.shadow(self._socket).send_multipart(
                    [self._agent, json.dumps({"kind": kind, **facts}).encode()], zmq.NOBLOCK
                )

    def start(self, **facts: object) -> asyncio.Future[dict[str, Any]]:
        """Have the agent start the task (again); return its answer to come."""
        self.exited = None
        self.ended.clear()
        self._run += 1
        self.task = asyncio.get_running_loop().create_future()
        self.say("start", run=self._run, **facts)
        return self.task

    def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        self.hello.cancel()
        self._socket.close()
