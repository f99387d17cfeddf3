"""A real hub with portal, proxy and user servers, for tests that tell a whole story."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from nvlhub.engines.processes import of_lease
from nvlhub.notebook import Session
from nvlhub.ports import free_port
from nvlhub.trust import trusted
from nvlhub.wire import API_PATH
from tests.waiting import eventually

GRACE = 30
"""Seconds for which a silent lease is kept, unless a story says otherwise: a server takes some to stop on a busy machine."""
GPUS = 8
"""One simulated domain of two trays: small enough to fill."""


@dataclass
class Live:
    """One running ``nvlhub up``."""

    url: str
    data: Path
    process: subprocess.Popen[str]
    password: str

    @property
    def operator(self) -> str:
        return (self.data / "admin-token").read_text()

    def session(self, user: str = "researcher") -> Session:
        return Session(self.url, user, self.operator)

    def api(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"token {self.operator}"}
        return httpx.request(
            method, self.url + API_PATH + path, headers=headers, timeout=30, verify=trusted(), **more
        ).json()

    def cli(self, *words: str, fails: bool = False, **environment: str) -> str:
        command = [Path(sys.executable).with_name("nvlhub"), *words]
        environment = {**os.environ, "NVLHUB_DATA": str(self.data), **environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def processes(self, word: str) -> list[psutil.Process]:
        """What runs below `up` with `word` in its command line."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill(self, word: str) -> None:
        """``kill -9`` of exactly one process."""
        [process] = self.processes(word)
        process.kill()

    def told(self) -> str:
        """Return what there is to know of it after a failure: its latest leases, and the end of its log."""
        try:
            leases = [self.api("GET", f"/leases?state={state}&per_page=5")["items"] for state in ("active", "ended")]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            leases = [[repr(error)]]
        kept = [json.dumps(lease) for page in leases for lease in page]
        return "\n".join([*kept, (self.data / "up.log").read_text(errors="replace")[-6000:]])

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (
                httpx.get(f"{self.url}{API_PATH}/health", timeout=2, verify=trusted()).is_success
                and httpx.get(f"{self.url}/hub/api/", timeout=2, verify=trusted()).is_success
            )
        return False

    async def settled(self, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until nothing is active; prove the ledger; return the ended leases, the newest first."""
        await eventually(lambda: self.answers() and self.api("GET", "/leases")["total"] == 0, seconds)
        assert self.api("GET", "/ledger/verify")["broken"] == []
        assert [row["free"] for row in self.api("GET", "/pools")["items"]] == [GPUS]
        ended: list[dict[str, Any]] = self.api("GET", "/leases?state=ended")["items"]
        for lease in ended[:3]:
            assert of_lease(lease["id"]) == []
        return ended


@contextlib.contextmanager
def live_portal(data: Path, *words: str, **environment: str) -> Iterator[Live]:
    """Run ``nvlhub up`` for the length of the block."""
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("nvlhub")),
        "up",
        "--simulate",
        "1",
        "--port",
        str(port),
        "--data",
        str(data),
        *words,
    ]
    environment = {"NVLHUB_TRAYS": "2", "NVLHUB_TICK": "0.3", "NVLHUB_GRACE": str(GRACE), **environment}
    told = {name: value for name, value in os.environ.items() if not name.startswith(("NVLHUB_", "JUPYTER"))}
    process = subprocess.Popen(
        command,
        env={**told, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Ctrl+C" in line:
                break
        else:
            log = data / "up.log"
            raise AssertionError("".join(lines) + (log.read_text()[-3000:] if log.exists() else ""))
        [login] = [line for line in lines if "password: " in line]
        yield Live(f"http://127.0.0.1:{port}", data, process, login.split("password: ")[1].strip())
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        left = [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        known = {child.pid: child.name() for child in left}
        psutil.wait_procs(left, timeout=30)
        left = [child for child in left if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        for child in left:
            child.kill()
        assert not left, f"left behind: {[(child.pid, known[child.pid]) for child in left]}"


def as_json(text: str) -> Any:
    """Read the JSON that a command printed."""
    return json.loads(text)
