"""The node agent: starts one task where its GPUs are, and ends it when the lease is over.

    python -m nvlkernels.agent LEASE  < one line of JSON

The line, from the engine: ``address``, ``public_key`` and ``token`` of the mailbox, ``grace`` (seconds), ``bind`` (address that the
task listens on), ``directory`` (private), ``environment`` (laid over the task's). Nothing of it is ever in arguments or environment.

The agent dials the mailbox (ZeroMQ DEALER, CurveZMQ) and speaks JSON, every frame with the token:

    agent -> provisioner   hello {lease, pid, host} · started {run, pid, conn} · hb {alive} · exit {run, rc, phase, tail} · bye
    provisioner -> agent   start {run, argv, env, cwd, conn} · ack · signal {sig} · kill · exit

`run` counts the starts, so that the end of one is not taken for the end of the next.

It is in the path of every start: standard library and pyzmq, nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zmq

LOST = 75
"""Exit status when nobody was heard for the grace time (EX_TEMPFAIL)."""
BEAT = 1.0
"""Seconds between two signs of life."""
TERM_WAIT = 0.3
"""Seconds between SIGTERM and SIGKILL."""
TAIL = 2000
"""Characters of a failed start's output that are reported."""
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Agent:
    """One task and the mailbox it is steered from."""

    def __init__(self, lease: str, letter: dict[str, Any]) -> None:
        self._lease = lease
        self._token = letter["token"]
        self._grace = float(letter["grace"])
        self._bind = letter["bind"]
        self._directory = Path(letter["directory"])
        self._environment = {str(name): str(value) for name, value in letter["environment"].items()}
        self._task: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._reported = False
        self._run = 0
        self._over: int | None = None
        self._heard = time.monotonic()
        self._socket = _dial(letter["address"], letter["public_key"])
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def run(self, wakeup: socket.socket) -> int:
        """Serve until it is over; return the exit status."""
        self._poller.register(wakeup, zmq.POLLIN)
        self._say("hello", lease=self._lease, pid=os.getpid(), host=socket.gethostname())
        next_beat = time.monotonic() + BEAT
        while self._over is None:
            starting = self._task is not None and not self._reported
            wait = 0.01 if starting else max(0.0, next_beat - time.monotonic())
            ready = dict(self._poller.poll(int(wait * 1000)))
            if wakeup.fileno() in ready:
                self._over = 0
            while self._over is None and self._socket.poll(0):
                self._hear(json.loads(self._socket.recv()))
            self._watch()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT
                self._say("hb", alive=self._task is not None)
                if time.monotonic() - self._heard > self._grace:
                    self._over = LOST
        self._end_task()
        self._say("bye")
        self._socket.close(linger=200)
        return self._over

    def _say(self, kind: str, **facts: object) -> None:
        # A full queue means that nobody listens; the grace time deals with that.
        with contextlib.suppress(zmq.Again):
            self._socket.send(json.dumps({"kind": kind, "token": self._token, **facts}).encode(), zmq.NOBLOCK)

    def _hear(self, message: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        match message.get("kind"):
            case "start":
                self._start(message)
            case "signal":
                self._signal(int(message["sig"]))
            case "kill":
                self._signal(signal.SIGKILL)
            case "exit":
                self._over = 0
            case _:
                # An ack, or what a later version says.
                pass

    # --- the task ---------------------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self._directory / "connection.json"

    def _start(self, message: dict[str, Any]) -> None:
        self._end_task()
        self._run = message["run"]
        self._write(message["conn"] | {"ip": self._bind})
        argv = [part.replace("{connection_file}", str(self._file)) for part in message["argv"]]
        environment = {**message["env"], **self._environment, "JPY_PARENT_PID": str(os.getpid())}
        for name, value in _frames(environment).items():
            environment.setdefault(name, value)
        cwd = message.get("cwd")
        try:
            with (self._directory / "task.log").open("wb") as log:
                self._task = subprocess.Popen(
                    argv, env=environment, cwd=cwd if cwd and Path(cwd).is_dir() else None,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self._say("exit", run=self._run, rc=127, phase="start", tail=f"{argv[0]}: {error.strerror}")
            return
        self._reported = False
        self._pidfd = os.pidfd_open(self._task.pid)
        self._poller.register(self._pidfd, select.POLLIN)

    def _write(self, connection: dict[str, Any]) -> None:
        fresh = self._file.with_suffix(".new")
        # The umask of the agent keeps it from everybody else: the keys of the kernel are in it.
        fresh.write_text(json.dumps(connection), encoding="utf-8")
        fresh.replace(self._file)

    def _watch(self) -> None:
        """Report that the task listens, or that it ended."""
        if self._task is None:
            return
        rc = self._task.poll()
        if rc is not None:
            phase, self._task = ("run" if self._reported else "start"), None
            self._drop_pidfd()
            tail = (self._directory / "task.log").read_text(errors="replace")[-TAIL:] if phase == "start" else ""
            self._say("exit", run=self._run, rc=rc, phase=phase, tail=tail)
        elif not self._reported:
            connection = self._listening()
            if connection is not None:
                self._reported = True
                self._say("started", run=self._run, pid=self._task.pid, conn=connection)

    def _listening(self) -> dict[str, Any] | None:
        """Return the connection file once the kernel has written its ports into it."""
        try:
            connection = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return connection if all(connection.get(port) for port in PORTS) else None

    def _signal(self, number: int) -> None:
        if self._task is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._task.pid, number)

    def _end_task(self) -> None:
        if self._task is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._task.wait(TERM_WAIT)
        # Also when the leader is gone: what it started may be in its group still.
        self._signal(signal.SIGKILL)
        self._task.wait()
        self._task = None
        self._drop_pidfd()

    def _drop_pidfd(self) -> None:
        if self._pidfd is not None:
            self._poller.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def _dial(address: str, public_key: str) -> zmq.Socket[bytes]:
    dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    dealer.curve_serverkey = public_key.encode()
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    dealer.sndhwm = 100
    dealer.linger = 0
    dealer.connect(address)
    return dealer


def _frames(environment: dict[str, str]) -> dict[str, str]:
    """Choose the dataframe backend by what is here: cuDF on a real GPU, else pandas."""
    real = environment.get("NVLHUB_SIMULATED") == "0" and importlib.util.find_spec("cudf") is not None
    return {
        "DASK_DATAFRAME__BACKEND": "cudf" if real else "pandas",
        "DASK_ARRAY__BACKEND": "cupy" if real else "numpy",
    }


def main() -> int:
    """Read the letter and serve."""
    line = sys.stdin.readline()
    if not line:
        # The engine died before it could say what this was for.
        return 0
    letter = json.loads(line)
    sys.stdin.close()
    os.umask(0o077)
    wakeup, write_end = socket.socketpair()
    write_end.setblocking(False)
    signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    return Agent(sys.argv[1], letter).run(wakeup)


if __name__ == "__main__":
    sys.exit(main())
