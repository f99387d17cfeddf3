"""``nvlhub up``: proxy, hub and portal on this machine, until it is told to end.

    up ─┬─ keeper ── a Slurm of its own, where the engine is slurm and its domains are simulated
        ├─ configurable-http-proxy   survives the hub
        └─ jupyterhub ─┬─ portal    started again when it dies
                       └─ panels    likewise

What must be the same after a restart (ports, tokens, the demo password) stands in ``up.json`` in the data directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nvlhub.demo_data import USERS
from nvlhub.engines.registry import ENGINES
from nvlhub.parent import follow_parent
from nvlhub.ports import free_port, taken
from nvlhub.trust import trusted
from nvlhub.up_slurm import PrivateSlurm, UpError, check_slurm, settings_of

__all__ = ["Options", "Up", "UpError", "running"]

READY = 120.0
"""Seconds that hub and portal have to answer."""
SLURM_CONF = "slurm-conf"
"""File in the data directory that names the slurm.conf of a Slurm of its own."""
STOP = 25.0
"""Seconds that a process has to end: more than the hub waits for what it started itself."""
TOGETHER = 20
"""Servers that are being stopped at once."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    data: Path
    port: int = 8000
    simulate: int | None = None
    """Simulated domains; 0: what is really there. Left out: 2, and 0 for the engine `slurm`."""
    engine: str = "local"
    cull_after: int = 3600
    subdomains: bool = False
    """Each user's servers have a host of their own below ``hub.localhost``, which browsers take for this machine."""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def domains(self) -> int:
        """Simulated domains."""
        return self.simulate if self.simulate is not None else 0 if self.engine == "slurm" else 2


def remembered(options: Options) -> dict[str, Any]:
    """Return what stands in ``up.json``, made where it is missing, with `options` laid over it."""
    file = options.data / "up.json"
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in ("hub_port", "proxy_port", "portal_port", "panels_port"):
        if name not in known or taken(known[name]):
            known[name] = free_port()
    for name in ("proxy_token", "hub_token", "operator_token"):
        known.setdefault(name, secrets.token_hex(32))
    known.setdefault("password", secrets.token_urlsafe(9))
    known.update(port=options.port, cull_after=options.cull_after, subdomains=options.subdomains)
    _private(file, json.dumps(known, indent=1))
    _private(options.data / "admin-token", known["operator_token"])
    return known


def _private(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def proxy_command() -> list[str]:
    """Return how the proxy is started. Raises `UpError` naming what is missing."""
    file = Path(sys.prefix) / "share" / "nvlhub" / "proxy" / "command.json"
    if file.exists():
        command: list[str] = json.loads(file.read_text(encoding="utf-8"))
        return command
    found = shutil.which("configurable-http-proxy")
    if found:
        return [found]
    raise UpError("configurable-http-proxy is missing: run `make up`, or install it with npm or conda")


def examples() -> Path:
    """Return the directory of the example notebooks."""
    own = Path(__file__).parents[2] / "examples"
    return own if own.is_dir() else Path(sys.prefix) / "share" / "nvlhub" / "examples"


def _copy_missing(source: Path, target: Path) -> None:
    """Copy what is not there yet: what a user changed stays."""
    for file in source.rglob("*"):
        copy = target / file.relative_to(source)
        if file.is_file() and not copy.exists() and "__pycache__" not in file.parts:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)


class Up:
    """The processes, from the first start to the last stop."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._known = remembered(options)
        self._log = (options.data / "up.log").open("ab")
        self._ended = False
        self._slurm: PrivateSlurm | None = None
        self._proxy: subprocess.Popen[bytes] | None = None
        self._hub: subprocess.Popen[bytes] | None = None

    @property
    def what(self) -> str:
        """What kernels run on, in words."""
        domains = self._options.domains
        if self._slurm is not None:
            return f"a Slurm of its own: {domains} simulated domains, {self._slurm.trays * domains * 4} simulated GPUs"
        if self._options.engine == "slurm":
            return "this machine's Slurm"
        return f"{domains} simulated domains, {domains * 72} simulated GPUs" if domains else "this machine's GPUs"

    @property
    def hints(self) -> list[str]:
        """What else is good to know."""
        return [] if self._slurm is None else self._slurm.hints

    @property
    def url(self) -> str:
        """The address of programs on this machine."""
        return f"http://127.0.0.1:{self._options.port}"

    @property
    def public_url(self) -> str:
        """The address to open in a browser."""
        return f"http://{'hub.localhost' if self._options.subdomains else '127.0.0.1'}:{self._options.port}"

    @property
    def password(self) -> str:
        """What the demo users log in with."""
        return str(self._known["password"])

    def _environment(self) -> dict[str, str]:
        own = {
            "NVLHUB_DATA": str(self._options.data), "NVLHUB_ENGINE": self._options.engine,
            "NVLHUB_SIMULATE": str(self._options.domains), "NVLHUB_DEMO": "true", "NVLHUB_PUBLIC_URL": self.public_url,
            "NVLHUB_RUN_AS": "portal",
            "CONFIGPROXY_AUTH_TOKEN": self._known["proxy_token"],
        }  # fmt: skip
        # The stop of one server is not to be seen as that of another hub's: nothing of an outer hub is passed on.
        outer = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTERHUB_")}
        slurm = {} if self._slurm is None else self._slurm.environment
        return {**outer, **own, **slurm, **dict(self._options.environment)}

    def start(self) -> None:
        """Start everything and wait until it answers. Raises `UpError`."""
        if taken(self._options.port):
            raise UpError(
                f"port {self._options.port} is in use: stop what listens there, or choose another with --port"
            )
        for user in USERS:
            home = self._options.data / "home" / user
            home.mkdir(parents=True, exist_ok=True)
            if examples().is_dir():
                _copy_missing(examples(), home / "examples")
        self._start_slurm()
        self._start_proxy()
        self._start_hub()
        self._wait()

    def _start_slurm(self) -> None:
        (self._options.data / SLURM_CONF).unlink(missing_ok=True)
        if self._options.engine != "slurm":
            return
        if self._options.domains:
            self._slurm = PrivateSlurm(self._options.data, self._options.domains, self._log)
            self._slurm.start()
            # Beside the address: commands that speak to both find both here.
            _private(self._options.data / SLURM_CONF, self._slurm.environment["SLURM_CONF"])
        else:
            check_slurm(self._options.data)

    def _start_proxy(self) -> None:
        self._proxy = self._popen(
            [*proxy_command(), "--log-level", "warn", "--ip", "127.0.0.1", "--port", str(self._options.port), "--api-ip", "127.0.0.1",
             "--api-port", str(self._known["proxy_port"]), "--error-target",
             f"http://127.0.0.1:{self._known['hub_port']}/hub/error", *(["--host-routing"] if self._options.subdomains else [])]
        )  # fmt: skip

    def _start_hub(self) -> None:
        config = Path(__file__).parent / "portal" / "embedded_config.py"
        self._hub = self._popen([sys.executable, "-m", "nvlhub.portal.hub", "-f", str(config)])

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env=self._environment(), cwd=self._options.data, stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log, start_new_session=True, preexec_fn=follow_parent,  # noqa: PLW1509
        )  # fmt: skip

    def _wait(self) -> None:
        until = time.monotonic() + READY
        waiting = [f"{self.url}/hub/api/", f"{self.url}/services/portal/api/v1/health"]
        while waiting and not self._ended:
            if self._hub is not None and self._hub.poll() is not None:
                raise UpError(f"the hub ended while it started; why stands in {self._options.data / 'up.log'}")
            if time.monotonic() > until:
                raise UpError(f"no answer within {READY:.0f} s; why stands in {self._options.data / 'up.log'}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(waiting[0], timeout=2, verify=trusted()).is_success:
                    waiting.pop(0)
                    continue
            time.sleep(0.2)

    def run(self) -> None:
        """Watch until :meth:`end` is called; start again what dies."""
        while not self._ended:
            time.sleep(0.5)
            if self._proxy is not None and self._proxy.poll() is not None and not self._ended:
                self._say("the proxy ended; starting it again")
                self._start_proxy()
            if self._hub is not None and self._hub.poll() is not None and not self._ended:
                self._say("the hub ended; starting it again (servers, kernels and leases go on)")
                time.sleep(1)
                self._start_hub()
            for told in self._slurm.told() if self._slurm is not None else ():
                self._say(told)
            if self._slurm is not None and self._slurm.ended() and not self._ended:
                self._say("the private Slurm ended; starting it again (its jobs are gone)")
                self._slurm.start()

    def end(self) -> None:
        """Have :meth:`run` return."""
        self._ended = True

    def stop(self) -> None:
        """Stop the users' servers, so that leases are given back, then hub and proxy."""
        if self._hub is not None and self._hub.poll() is None:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                self._stop_servers()
            with contextlib.suppress(httpx.HTTPError, subprocess.TimeoutExpired):
                self._end_hub(self._hub)
        for process in (self._hub, self._proxy):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self._slurm is not None:
            self._slurm.stop()
        self._log.close()

    @property
    def _operator(self) -> dict[str, str]:
        return {"Authorization": f"token {self._known['operator_token']}"}

    @property
    def _api(self) -> str:
        return f"http://127.0.0.1:{self._known['hub_port']}/hub/api"

    def _stop_servers(self) -> None:
        def users() -> list[dict[str, Any]]:
            told: list[dict[str, Any]] = (
                http.get(f"{self._api}/users", params={"state": "active"}).raise_for_status().json()
            )
            return told

        with (
            httpx.Client(headers=self._operator, timeout=30, verify=trusted()) as http,
            ThreadPoolExecutor(TOGETHER) as pool,
        ):
            servers = [
                f"{self._api}/users/{user['name']}/{f'servers/{name}' if name else 'server'}"
                for user in users() for name in user.get("servers", {})
            ]  # fmt: skip
            # The hub answers when a server has ended: a class of them is not waited for one by one.
            list(pool.map(http.delete, servers))
            until = time.monotonic() + STOP
            while time.monotonic() < until and _stopping(users()):
                time.sleep(0.3)

    def _end_hub(self, hub: subprocess.Popen[bytes]) -> None:
        """Have the hub end with what runs by now: the portal starts servers of a class again that were stopped."""
        told = {"servers": True, "proxy": False}
        httpx.post(
            f"{self._api}/shutdown", headers=self._operator, json=told, timeout=10, verify=trusted()
        ).raise_for_status()
        hub.wait(STOP)


def _stopping(users: list[dict[str, Any]]) -> bool:
    return any(server["pending"] == "stop" for user in users for server in user.get("servers", {}).values())


def _check(options: Options) -> None:
    """Raise `UpError` for what the portal would refuse: it ends then, and why is hard to find between the words of the hub."""
    if options.engine not in ENGINES:
        raise UpError(f"--engine {options.engine}: there is no such engine; there are {', '.join(ENGINES)}")
    settings_of(options.data)


@contextlib.contextmanager
def running(options: Options, say: Callable[[str], None]) -> Iterator[Up]:
    """Return a portal that runs for the length of the block. Raises `UpError`."""
    _check(options)
    options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (options.data / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UpError(f"another `nvlhub up` uses {options.data}: stop it, or choose another with --data") from None
        up = Up(options, say)
        _private(options.data / "url", up.url)
        try:
            up.start()
            yield up
        finally:
            up.stop()
