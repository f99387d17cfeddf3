"""The portal's end of the line to the node agents of one lease: an encrypted ZeroMQ socket that they dial.

The notebook side has a mailbox of many lines for long-lived tasks; here one thread waits for one task. Both speak what
:mod:`nvlkernels.agent` says at its head.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Self

import zmq

from nvlhub.wire import Mailbox

LARGEST = 96 * 1024 * 1024
"""Bytes of a frame: whoever sends more is cut off."""


class Line:
    """One lease's agents; used by the thread that made it alone. Frames without the right token are dropped."""

    def __init__(self, host: str) -> None:
        """Listen on any port of an address of this machine. Raises `zmq.ZMQError`."""
        public, secret = zmq.curve_keypair()
        self._token = secrets.token_urlsafe(32)
        self._socket = _router(secret)
        try:
            port = self._socket.bind_to_random_port(f"tcp://{host}")
        except zmq.ZMQError:
            self._socket.close()
            raise
        self.mailbox = Mailbox(address=f"tcp://{host}:{port}", public_key=public.decode(), token=self._token)
        self._ways: dict[int, bytes] = {}
        """How to reach the agents, by their place."""
        self._heard_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def silent(self) -> float:
        """Seconds since anything was heard."""
        return time.monotonic() - self._heard_at

    def hear(self, seconds: float) -> dict[str, Any]:
        """Return what an agent says within a time; empty: nothing, or nothing that matters. Signs of life are answered."""
        if not self._socket.poll(int(seconds * 1000)):
            return {}
        way, *frames = self._socket.recv_multipart()
        message = _read(frames[-1], self._token)
        if not message:
            return {}
        self._heard_at = time.monotonic()
        if message.get("kind") == "hello":
            self._ways[int(message.get("place", 0))] = way
        elif message.get("kind") == "hb":
            # Not by its place: on a lease of several nodes each wants an answer.
            self._send(way, {"kind": "ack"})
        return message

    def say(self, kind: str, **facts: object) -> None:
        """Send a message to the agent of the first node."""
        self._send(self._ways[min(self._ways)], {"kind": kind, **facts})

    def _send(self, way: bytes, message: Mapping[str, object]) -> None:
        with contextlib.suppress(zmq.ZMQError):
            self._socket.send_multipart([way, json.dumps(message).encode()], zmq.NOBLOCK)


def _router(secret: bytes) -> zmq.Socket[bytes]:
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_secretkey = secret
    router.linger = 200
    router.maxmsgsize = LARGEST
    return router


def _read(frame: bytes, token: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        message = json.loads(frame)
        if isinstance(message, dict) and hmac.compare_digest(str(message.get("token")).encode(), token.encode()):
            return message
    return {}
