"""The node agent: starts the tasks of one lease where its GPUs are, and ends them when the lease is over.

    python -m nvlkernels.agent LEASE  < one line of JSON

The line, from the engine: ``address``, ``public_key`` and ``token`` of the mailbox, ``grace`` (seconds), ``bind`` (address that
tasks listen on; ``auto``: the one by which this node reaches the mailbox), ``directory`` (private; empty: the agent makes one and
removes it), ``environment`` (laid over the tasks'), and ``given: slurm`` where the GPUs are those of the job that this runs in
(:mod:`nvlkernels.given`). Nothing of it is ever in arguments or environment.

The agent dials the mailbox (ZeroMQ DEALER, CurveZMQ) and speaks JSON, every frame with the token, the lease and which agent it is:

    agent -> mailbox   hello {pid, host, node, bind, place, of, devices, runs} · started {task, run, pid, conn} · hb {sample?} ·
                       exit {task, run, rc, phase, tail, result?} · bye
    mailbox -> agent   start {task, run, argv, env, cwd, conn, files, devices, tell, result} · ack · who · files {files} ·
                       signal {task, sig} · exit

A lease over several nodes has an agent on each: `of` so many, this one in that `place`, with the `devices` of its node.

A kernel is one task with ``conn``: it has started when it listens. A worker has ``files`` (name: text, for its eyes only) and
``devices`` (its share of the lease's); several can run beside each other. With ``tell`` the end of what it wrote comes with its
exit also when all went well. An attempt has ``result``: the file in its directory that comes with its exit. `run` counts the starts of a task, so that the end of
one is not taken for the end of the next.

A mailbox that was made again after its process died asks ``who``: the agent says hello once more, with the tasks that run. A kernel
finds a newer token of its server in the file that ``NVLHUB_TOKEN_FILE`` names, once ``files`` has brought one.

What the GPUs do (``sample``) is measured by :mod:`nvlkernels.meter`, in a thread that begins with the first sign of life.

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
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nvlkernels.meter import Meter

LOST = 75
"""Exit status when nobody was heard for the grace time (EX_TEMPFAIL)."""
BEAT = 1.0
"""Seconds between two signs of life."""
TERM_WAIT = 0.3
"""Seconds between SIGTERM and SIGKILL."""
TAIL = 2000
"""Characters of a failed task's output that are reported."""
RESULT = 64 * 1024 * 1024
"""Bytes of a task's result that are brought, at most."""
AUTO = "auto"
PASSED = frozenset({signal.SIGUSR1, signal.SIGUSR2})
"""Signals that a job's owner sends to what runs in it (``scancel --signal``): they reach the tasks, too, and end no agent."""
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Task:
    """One run of one task: a process group, and what it was told."""

    def __init__(self, directory: Path, message: dict[str, Any], environment: dict[str, str]) -> None:
        """Start it. Raises `OSError`."""
        self.run = message["run"]
        self.told = bool(message.get("tell"))
        self._result = Path(message.get("result") or "").name
        self.reported = False
        self._directory = directory
        self._connection = directory / "connection.json" if message.get("conn") else None
        directory.mkdir(mode=0o700, exist_ok=True)
        for name, text in message.get("files", {}).items():
            _write(directory / Path(name).name, text)
        if self._connection:
            _write(self._connection, json.dumps(message["conn"]))
        told = {
            "{connection_file}": str(self._connection),
            "{directory}": str(directory),
            "{bind}": environment["NVLHUB_BIND"],
        }
        argv = [_filled(part, told) for part in message["argv"]]
        cwd = message.get("cwd")
        with (directory / "task.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, env=environment, cwd=cwd if cwd and Path(cwd).is_dir() else None,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pidfd = os.pidfd_open(self.process.pid)

    def listening(self) -> dict[str, Any] | None:
        """Return what to report once the task is up: a kernel's ports, nothing for others; None while it is not."""
        if self._connection is None:
            return {}
        try:
            connection = json.loads(self._connection.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return connection if all(connection.get(port) for port in PORTS) else None

    def tail(self) -> str:
        """Return the end of what it wrote."""
        return (self._directory / "task.log").read_text(errors="replace")[-TAIL:]

    def result(self) -> dict[str, str]:
        """Return what it was asked to leave; nothing where it was not, or did not."""
        if not self._result:
            return {}
        with (
            contextlib.suppress(OSError),
            (self._directory / self._result).open(encoding="utf-8", errors="replace") as file,
        ):
            return {"result": file.read(RESULT)}
        return {}

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Agent:
    """The tasks of one lease and the mailbox they are steered from."""

    def __init__(self, lease: str, letter: dict[str, Any]) -> None:
        self._lease = lease
        self._token = letter["token"]
        self._grace = float(letter["grace"])
        self._bind = _reaching(letter["address"]) if letter["bind"] == AUTO else letter["bind"]
        self._directory = Path(letter["directory"])
        said = {str(name): str(value) for name, value in letter["environment"].items()}
        self._place = (0, 1)
        self._own: Callable[[dict[str, str]], dict[str, str]] = dict
        if letter.get("given") == "slurm":
            from nvlkernels import given  # noqa: PLC0415  # only in a job

            said = given.given(os.environ, said)
            self._place, self._own = given.place(os.environ), given.own
        self._environment = {**said, "NVLHUB_BIND": self._bind}
        self._devices = [name for name in self._environment.get("NVLHUB_DEVICES", "").split(",") if name]
        self._node = self._environment.get("NVLHUB_NODE") or socket.gethostname()
        # A mailbox that was away knows it again by this, whatever way its frames come.
        self._name = os.urandom(8).hex()
        self._tasks: dict[str, Task] = {}
        self._over: int | None = None
        self._meter: Meter | None = None
        self._unheard = 0
        """Signs of life since anybody was heard. Time that passed would count what this stood still for, too, and nobody
        was silent then: a machine that was paused would end everything on it."""
        self._socket = _dial(letter["address"], letter["public_key"])
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def run(self, wakeup: socket.socket) -> int:
        """Serve until it is over; return the exit status."""
        self._poller.register(wakeup, zmq.POLLIN)
        self._hello()
        _adopt()
        next_beat = time.monotonic() + BEAT
        while self._over is None:
            starting = any(not task.reported for task in self._tasks.values())
            wait = 0.01 if starting else max(0.0, next_beat - time.monotonic())
            ready = dict(self._poller.poll(int(wait * 1000)))
            if wakeup.fileno() in ready and not PASSED.issuperset(wakeup.recv(16)):
                self._over = 0
            while self._over is None and self._socket.poll(0):
                self._hear(json.loads(self._socket.recv()))
            for name, task in list(self._tasks.items()):
                self._watch(name, task)
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT
                if self._unheard * BEAT >= self._grace:
                    self._over = LOST
                self._beat()
                _reap(self._pids())
        self._end(list(self._tasks))
        # What left its process group came back to us as an orphan.
        while _reap(set()):
            for orphan in _children():
                with contextlib.suppress(OSError):
                    os.kill(orphan, signal.SIGKILL)
            time.sleep(0.005)
        self._say("bye")
        self._socket.close(linger=200)
        return self._over

    def _hello(self) -> None:
        place, of = self._place
        runs = {name: task.run for name, task in self._tasks.items()}
        self._say(
            "hello", pid=os.getpid(), host=socket.gethostname(), node=self._node, bind=self._bind, place=place, of=of,
            devices=self._devices, runs=runs,
        )  # fmt: skip

    def _say(self, kind: str, **facts: object) -> None:
        # A full queue means that nobody listens; the grace time deals with that.
        frame = {"kind": kind, "lease": self._lease, "token": self._token, "agent": self._name, **facts}
        with contextlib.suppress(zmq.Again):
            self._socket.send(json.dumps(frame).encode(), zmq.NOBLOCK)

    def _beat(self) -> None:
        if self._meter is None:
            from nvlkernels.meter import Meter  # noqa: PLC0415  # after the start, which is waited for

            self._meter = Meter(self._environment)
            self._meter.start()
        sample = self._meter.take()
        self._unheard += 1
        self._say("hb", **({"sample": sample} if sample is not None else {}))

    def _hear(self, message: dict[str, Any]) -> None:
        self._unheard = 0
        match message.get("kind"):
            case "start":
                self._start(message.get("task", ""), message)
            case "who":
                self._hello()
            case "files":
                for name, text in message["files"].items():
                    _write(self._directory / Path(name).name, text)
            case "signal" if (task := self._tasks.get(message.get("task", ""))) is not None:
                task.signal(int(message["sig"]))
            case "exit":
                self._over = 0
            case _:
                # An ack, or what a later version says.
                pass

    # --- tasks ------------------------------------------------------------------------------------------------

    def _start(self, name: str, message: dict[str, Any]) -> None:
        self._end([name])
        directory = self._directory / name if name else self._directory
        if message.get("conn"):
            message["conn"] |= {"ip": self._bind}
        try:
            task = Task(directory, message, self._told(message))
        except (OSError, TypeError, ValueError) as error:
            tail = f"{message['argv'][0]}: {getattr(error, 'strerror', None) or error}"
            self._say("exit", task=name, run=message["run"], rc=127, phase="start", tail=tail)
            return
        self._tasks[name] = task
        self._poller.register(task.pidfd, select.POLLIN)
        self._watch(name, task)

    def _told(self, message: dict[str, Any]) -> dict[str, str]:
        """Return the environment of a task: its own, and over it what the engine says of the lease."""
        environment = {**self._own(message["env"]), **self._environment, "JPY_PARENT_PID": str(os.getpid())}
        if message.get("conn"):
            environment["NVLHUB_TOKEN_FILE"] = str(self._directory / "token")
        if message.get("devices") is not None:
            share = [name for name in message["devices"] if name in self._devices]
            environment["NVLHUB_DEVICES"] = ",".join(share)
            if visible := environment.get("CUDA_VISIBLE_DEVICES"):
                # The process sees a GPU by what stands in the place of its name.
                seen = dict(zip(self._devices, visible.split(","), strict=True))
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(seen[name] for name in share)
        for variable, value in _frames(environment).items():
            environment.setdefault(variable, value)
        return environment

    def _watch(self, name: str, task: Task) -> None:
        """Report that a task is up, or that it ended."""
        rc = task.process.poll()
        if rc is not None:
            self._forget(name)
            phase = "run" if task.reported else "start"
            tail = task.tail() if rc or task.told else ""
            self._say("exit", task=name, run=task.run, rc=rc, phase=phase, tail=tail, **task.result())
        elif not task.reported:
            connection = task.listening()
            if connection is not None:
                task.reported = True
                self._say("started", task=name, run=task.run, pid=task.process.pid, conn=connection)

    def _end(self, names: list[str]) -> None:
        """End tasks and everything in their process groups."""
        tasks = [self._forget(name) for name in names if name in self._tasks]
        for task in tasks:
            task.signal(signal.SIGTERM)
        until = time.monotonic() + TERM_WAIT
        for task in tasks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                task.process.wait(max(0.0, until - time.monotonic()))
            # Also when the leader is gone: what it started may be in its group still.
            task.signal(signal.SIGKILL)
            task.process.wait()

    def _pids(self) -> set[int]:
        return {task.process.pid for task in self._tasks.values()}

    def _forget(self, name: str) -> Task:
        task = self._tasks.pop(name)
        self._poller.unregister(task.pidfd)
        os.close(task.pidfd)
        return task


def _write(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    # The umask of the agent keeps it from everybody else: keys are in it.
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def _adopt() -> None:
    """Have orphans among our descendants become our children (Linux: PR_SET_CHILD_SUBREAPER), so that none escapes."""
    import ctypes  # noqa: PLC0415  # after the start, which is waited for

    ctypes.CDLL(None).prctl(36, 1)


def _children() -> list[int]:
    own = os.getpid()
    try:
        text = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def _reap(tasks: set[int]) -> bool:
    """Wait for ended orphans; return whether any child is left besides `tasks`."""
    left = False
    for pid in _children():
        if pid not in tasks:
            with contextlib.suppress(ChildProcessError):
                left = os.waitpid(pid, os.WNOHANG) == (0, 0) or left
    return left


def _filled(part: str, told: dict[str, str]) -> str:
    for mark, value in told.items():
        part = part.replace(mark, value)
    return part


def _reaching(mailbox: str) -> str:
    """Return the address by which this node reaches the mailbox ``tcp://host:port``. Raises `OSError`."""
    host, _, port = mailbox.removeprefix("tcp://").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: the kernel only chooses the way.
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])


def _dial(address: str, public_key: str) -> zmq.Socket[bytes]:
    dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    dealer.curve_serverkey = public_key.encode()
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    # While nobody listens what is said waits here; of an end that was missed the mailbox asks.
    dealer.sndhwm = 100
    dealer.linger = 0
    # Where packets are dropped and not refused, a server that is back would else be found a minute late.
    dealer.connect_timeout = 5000
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
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *PASSED):
        signal.signal(number, lambda _number, _frame: None)
    with _private(letter) as directory:
        return Agent(sys.argv[1], {**letter, "directory": directory}).run(wakeup)


@contextlib.contextmanager
def _private(letter: dict[str, Any]) -> Iterator[str]:
    """Yield the directory of the letter, or one of our own that is gone afterwards."""
    if letter["directory"]:
        yield letter["directory"]
        return
    from nvlkernels.scratch import scratch  # noqa: PLC0415  # only in a job

    with scratch() as made:
        yield made


if __name__ == "__main__":
    sys.exit(main())
