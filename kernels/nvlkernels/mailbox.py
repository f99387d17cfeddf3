"""The end of the line to node agents: an encrypted ZeroMQ socket that they dial.

mailbox   one socket: a kernel's provisioner has one, a cluster has one for all its workers
line      one lease: its agent, and whether it gives signs of life
run       one task at that agent: its last start, and how it ended
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import zmq
import zmq.asyncio
from pydantic import ValidationError

from nvlhub.wire import Beat, GpuSample, Sample
from nvlhub.wire import Mailbox as Address

SILENT = 15.0
"""Seconds without a frame of an agent after which it counts as gone."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What agents know a mailbox by: one that is made again with the same keys is the same one to them."""

    public: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    port: int


class Run:
    """One task of a line."""

    def __init__(self, line: Line, name: str) -> None:
        self._line = line
        self._name = name
        self._number = 0
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self.exited: dict[str, Any] | None = None
        """How the task ended; None while it runs."""
        self.ended = asyncio.Event()
        """Set when the task has ended or the agent has left."""

    def start(self, **facts: object) -> asyncio.Future[dict[str, Any]]:
        """Have the agent start the task (again); return its answer to come: ``started`` or ``exit``."""
        self.exited = None
        self.ended.clear()
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._line.say("start", task=self._name, run=self._number, **facts)
        return self._answer

    @property
    def number(self) -> int:
        """How often the task was started."""
        return self._number

    def resume(self, number: int, *, runs: bool) -> None:
        """Go on with a task that an earlier process started for the `number`-th time; `runs`: it has not ended since."""
        self._number = number
        if not runs:
            self.over({"rc": 1, "phase": "run"})

    def signal(self, number: int) -> None:
        """Send a signal to the task and to what it started."""
        self._line.say("signal", task=self._name, sig=number)

    def hear(self, message: dict[str, Any]) -> None:
        """Take what the agent says of this task; the end of an earlier start is no news."""
        if message.get("run") == self._number:
            if message["kind"] == "exit":
                self.over(message)
            else:
                self._reply(message)

    def over(self, message: dict[str, Any]) -> None:
        """Take the end of the task."""
        if self.exited is None:
            self.exited = message
        self._reply(message)
        self.ended.set()

    def _reply(self, message: dict[str, Any]) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


class Line:
    """The agent of one lease."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._agent: bytes | None = None
        self._runs: dict[str, Run] = {}
        self.heard_at: float | None = None
        """Monotonic time of the agent's last frame."""
        self.hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        """Done when the agent has dialled in: ``pid``, ``host``, ``devices``, and the ``runs`` of its tasks."""
        self._measured: tuple[float, dict[str, Any]] | None = None
        self._asks_who = False

    def resume(self) -> None:
        """Have the agent say hello again: it did so to an earlier process."""
        self._asks_who = True

    @property
    def speaks(self) -> bool:
        """Whether the agent gives signs of life, or was not to be heard yet."""
        return self.heard_at is None or time.monotonic() - self.heard_at < SILENT

    def beat(self, phase: Literal["starting", "running"], idle_seconds: int) -> Beat:
        """Return a sign of life of the lease, with what its agent has measured since the last one."""
        measured, self._measured = self._measured, None
        sample, busy = None, None
        if measured is not None and time.monotonic() - measured[0] < SILENT:
            sample, busy = _sample(measured[1])
        return Beat(phase=phase, idle_seconds=idle_seconds, gpu_busy=busy, sample=sample)

    def run(self, name: str = "") -> Run:
        """Return the task of that name; a kernel's has none."""
        return self._runs.setdefault(name, Run(self, name))

    def say(self, kind: str, **facts: object) -> None:
        """Send a message to the agent, if it was ever heard."""
        if self._agent is not None:
            self._mailbox.send(self._agent, {"kind": kind, **facts})

    def hear(self, agent: bytes, message: dict[str, Any]) -> None:
        """Take a frame of the agent."""
        # The reply address is that of the last good frame, so an agent that dials again is found.
        self._agent = agent
        self.heard_at = time.monotonic()
        match message.get("kind"):
            case "hello":
                if not self.hello.done():
                    self.hello.set_result(message)
            case "hb":
                if isinstance(message.get("sample"), dict):
                    self._measured = (time.monotonic(), message["sample"])
                self.say("who" if self._asks_who and not self.hello.done() else "ack")
            case "started" | "exit":
                self.run(str(message.get("task", ""))).hear(message)
            case "bye":
                for run in self._runs.values():
                    run.over({"rc": 0, "phase": "bye"})
            case _:
                # What a later version says.
                pass


def _sample(told: dict[str, Any]) -> tuple[Sample | None, bool | None]:
    """Return what an agent measured, and whether a real GPU worked; of what cannot be meant nothing."""
    try:
        gpus = tuple(
            GpuSample(busy=busy, memory=memory, memory_total=total) for busy, memory, total in told.get("gpus", ())
        )
        sample = Sample(real=told.get("real"), gpus=gpus)
    except (ValidationError, TypeError, ValueError):
        return None, None
    return sample, bool(told.get("busy")) if sample.real else None


class Mailbox:
    """A ROUTER socket with CurveZMQ. Frames without the right token are dropped."""

    def __init__(self, host: str, *, advertise: str = "", keys: Keys | None = None) -> None:
        """Listen on any port, or be the mailbox of `keys` again. Raises `zmq.ZMQError` where their port is taken."""
        if keys is None:
            public, secret = zmq.curve_keypair()
            keys = Keys(public.decode(), secret.decode(), secrets.token_urlsafe(32), 0)
        self._token = keys.token
        self._socket: zmq.asyncio.Socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_secretkey, self._socket.curve_publickey = keys.secret.encode(), keys.public.encode()
        self._socket.linger = 200
        port = self._bind(f"tcp://{host}", keys.port)
        self.keys = replace(keys, port=port)
        self.address = Address(address=f"tcp://{advertise or host}:{port}", public_key=keys.public, token=self._token)
        self._lines: dict[str, Line] = {}
        self._reading = asyncio.create_task(self._read())

    def _bind(self, where: str, port: int) -> int:
        if not port:
            return self._socket.bind_to_random_port(where)
        try:
            self._socket.bind(f"{where}:{port}")
        except zmq.ZMQError:
            self._socket.close()
            raise
        return port

    def line(self, lease: str) -> Line:
        """Return the line of a lease; its agent may have dialled before anybody asked."""
        if lease not in self._lines:
            self._lines[lease] = Line(self)
        return self._lines[lease]

    def drop(self, lease: str) -> None:
        """Forget a lease."""
        line = self._lines.pop(lease, None)
        if line is not None:
            line.hello.cancel()

    async def _read(self) -> None:
        while True:
            identity, *frames = await self._socket.recv_multipart()
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                message = json.loads(frames[-1])
                if hmac.compare_digest(str(message.get("token")).encode(), self._token.encode()):
                    lease = str(message.get("lease"))
                    # The first word of an agent makes its line; the last word after the line was dropped does not.
                    if lease in self._lines or message.get("kind") == "hello":
                        self.line(lease).hear(identity, message)

    def send(self, agent: bytes, message: dict[str, object]) -> None:
        """Send a message to an agent."""
        if not self._socket.closed:
            with contextlib.suppress(zmq.ZMQError):
                zmq.Socket.shadow(self._socket).send_multipart([agent, json.dumps(message).encode()], zmq.NOBLOCK)

    def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        for lease in list(self._lines):
            self.drop(lease)
        self._socket.close()
