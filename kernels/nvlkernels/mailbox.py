"""The end of the line to node agents: an encrypted ZeroMQ socket that they dial.

mailbox   one socket: a kernel's provisioner has one, a cluster has one for all its workers
line      one lease: its agents, one on each of its nodes, and whether they give signs of life
member    one of these agents
run       one task at one of them: its last start, and how it ended
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

from nvlhub.wire import Beat
from nvlhub.wire import Mailbox as Address
from nvlkernels.samples import together

SILENT = 15.0
"""Seconds without a frame of an agent after which nobody says any more that it lives: the portal's grace runs from then on."""


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
        self._at: Member | None = None
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self.exited: dict[str, Any] | None = None
        """How the task ended; None while it runs."""
        self.ended = asyncio.Event()
        """Set when the task has ended or the agent has left."""

    def start(self, *, devices: list[str] | None = None, **facts: object) -> asyncio.Future[dict[str, Any]]:
        """Have the agent that has the `devices` start the task (again), without any the first node's.

        Returns its answer to come: ``started`` or ``exit``.
        """
        self.exited = None
        self.ended.clear()
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._at = self._line.having(devices or [])
        self._say("start", run=self._number, devices=devices, **facts)
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
        self._say("signal", sig=number)

    def _say(self, kind: str, **facts: object) -> None:
        # What an earlier process started without devices runs on the first node.
        at = self._at or self._line.having([])
        if at is not None:
            self._line.tell(at, kind, task=self._name, **facts)

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


@dataclass(slots=True)
class Member:
    """One agent of a line."""

    way: bytes
    """The reply address of its last good frame, so an agent that dials again is found."""
    heard_at: float
    """Monotonic time of that frame."""
    hello: dict[str, Any] = field(default_factory=dict)
    """What it said first: ``pid``, ``host``, ``node``, ``bind``, its ``place`` among how many (``of``), and its ``devices``."""
    measured: tuple[float, dict[str, Any]] | None = None

    @property
    def place(self) -> int:
        """Its place among the agents of the lease."""
        return int(self.hello.get("place", 0))

    @property
    def devices(self) -> list[str]:
        """The GPUs of its node that belong to the lease."""
        return [str(name) for name in self.hello.get("devices", ())]


class Line:
    """The agents of one lease.

    They stand and fall together: a line speaks while each of them is heard, and when one says good-bye the others are told
    to leave. The lease is paid for all its GPUs, a gang's workers wait for each other in every exchange of data, and what
    joins a collective cannot lose a member. Half a gang would be charged in full and hang, so a lost node is a lost lease:
    the portal ends it, refunds what is to be refunded, and the cluster asks for another one.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._members: dict[str, Member] = {}
        """By what they call themselves, in the order of their nodes."""
        self._runs: dict[str, Run] = {}
        self.hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        """Done when all agents have dialled in: what the first node's said, with the ``devices`` of all in order."""
        self._measured = False
        """Whether anything was measured since the last beat."""
        self._asks_who = False

    def resume(self) -> None:
        """Have the agents say hello again: they did so to an earlier process."""
        self._asks_who = True

    @property
    def _said_hello(self) -> list[Member]:
        """The agents that have said hello, in the order of their nodes."""
        return [member for member in self._members.values() if member.hello]

    @property
    def speaks(self) -> bool:
        """Whether all agents give signs of life that were ever to be heard."""
        now = time.monotonic()
        return all(now - member.heard_at < SILENT for member in self._members.values())

    @property
    def silence(self) -> float:
        """Seconds for which the agent was not heard that is silent the longest; 0: all give signs of life."""
        if self.speaks:
            return 0.0
        return time.monotonic() - min(member.heard_at for member in self._members.values())

    @property
    def first(self) -> list[str]:
        """The GPUs of the first node, where a task without devices of its own runs."""
        return next((member.devices for member in self._said_hello), [])

    def beat(self, phase: Literal["starting", "running"], idle_seconds: int) -> Beat:
        """Return a sign of life of the lease, with what its agents have measured since the last one."""
        since = time.monotonic() - SILENT
        told = [
            (len(member.devices), member.measured[1])
            for member in self._members.values()
            if member.measured and member.measured[0] > since
        ]
        sample, busy = None, None
        # Of some of the GPUs alone it could not be told which ones they are.
        if self._measured and len(told) == len(self._members):
            self._measured = False
            sample, busy = together(told)
        return Beat(phase=phase, idle_seconds=idle_seconds, gpu_busy=busy, sample=sample)

    def run(self, name: str = "") -> Run:
        """Return the task of that name; a kernel's has none."""
        return self._runs.setdefault(name, Run(self, name))

    def having(self, devices: list[str]) -> Member | None:
        """Return the agent that has these devices, of several the first; None before anyone has said hello."""
        members = self._said_hello
        having = [member for member in members if set(devices) & set(member.devices)]
        return next(iter(having or members), None)

    def say(self, kind: str, **facts: object) -> None:
        """Send a message to all agents that were ever heard."""
        for member in self._members.values():
            self.tell(member, kind, **facts)

    def tell(self, member: Member, kind: str, **facts: object) -> None:
        """Send a message to one agent."""
        self._mailbox.send(member.way, {"kind": kind, **facts})

    def hear(self, way: bytes, message: dict[str, Any]) -> None:
        """Take a frame of an agent."""
        # One that dials again has another way, and is known by what it calls itself.
        name = str(message.get("agent", ""))
        if name not in self._members and message.get("kind") == "bye":
            return
        member = self._members.setdefault(name, Member(way, 0.0))
        member.way, member.heard_at = way, time.monotonic()
        match message.get("kind"):
            case "hello":
                self._greet(name, message)
            case "hb":
                if isinstance(message.get("sample"), dict):
                    member.measured, self._measured = (member.heard_at, message["sample"]), True
                self.tell(member, "who" if self._asks_who and not member.hello else "ack")
            case "started" | "exit":
                self.run(str(message.get("task", ""))).hear(message)
            case "bye":
                for run in self._runs.values():
                    run.over({"rc": 0, "phase": "bye"})
                for other in self._members.values():
                    if other is not member:
                        self.tell(other, "exit")
            case _:
                # What a later version says.
                pass

    def _greet(self, name: str, hello: dict[str, Any]) -> None:
        greeter = self._members[name]
        greeter.hello = hello
        # Where an engine had to start twice, the first agent in that place is gone.
        stay = {
            known: member
            for known, member in self._members.items()
            if member is greeter or not member.hello or member.place != greeter.place
        }
        self._members = dict(sorted(stay.items(), key=lambda item: item[1].place))
        members = self._said_hello
        if len(members) >= int(hello.get("of", 1)) and not self.hello.done():
            devices = [device for member in members for device in member.devices]
            self.hello.set_result({**members[0].hello, "devices": devices})


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
