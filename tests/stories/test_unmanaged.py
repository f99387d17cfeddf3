"""Portal and dashboards that the hub does not start: run by hand, as a service manager would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from nvlhub.ports import free_port
from nvlhub.text import say
from nvlhub.trust import trusted
from nvlhub.up import proxy_command
from nvlhub.wire import API_PATH
from tests.stories.visitor import PANELS, Visitor
from tests.waiting import eventually

PASSWORD = "a-password-that-is-long-enough-for-all"
TOKENS = {"portal": "p" * 40, "panels": "d" * 40}
CONFIG = """
import json, os
from nvlhub.portal import configure
told = json.loads(os.environ["TOLD"])
c.JupyterHub.bind_url = told["url"]
c.JupyterHub.hub_bind_url = told["hub"]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = told["password"]
c.Authenticator.allowed_users = {"ann", "root"}
c.ConfigurableHTTPProxy.command = told["proxy"]
c.ConfigurableHTTPProxy.api_url = told["proxy_api"]
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.log_level = "WARN"
configure(c, managed=False, admins=("root",), portal_url=told["portal"], portal_token=told["tokens"]["portal"],
          panels_url=told["panels"], panels_token=told["tokens"]["panels"])
"""


@dataclass
class ByHand:
    """A hub, and what is started beside it."""

    data: Path
    addresses: dict[str, str] = field(
        default_factory=lambda: {
            name: f"http://127.0.0.1:{free_port()}" for name in ("url", "hub", "proxy_api", "portal", "panels")
        }
    )
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], **environment: str) -> None:
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "NVLHUB_"))}
        with (self.data / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env={**outer, **environment}, cwd=self.data, stdout=log, stderr=log
            )

    def hub(self) -> None:
        (self.data / "config.py").write_text(CONFIG)
        told = {**self.addresses, "tokens": TOKENS, "password": PASSWORD, "proxy": proxy_command()}
        self.start("hub", [sys.executable, "-m", "jupyterhub", "-f", "config.py"], TOLD=json.dumps(told))

    def service(self, name: str, module: str, **more: str) -> None:
        """Start a service with no more than what its documentation asks for."""
        told = {
            "JUPYTERHUB_API_URL": self.addresses["hub"] + "/hub/api", "JUPYTERHUB_API_TOKEN": TOKENS[name],
            "JUPYTERHUB_SERVICE_URL": self.addresses[name], "NVLHUB_DATA": str(self.data),
        }  # fmt: skip
        self.start(name, [sys.executable, "-m", module], **told, **more)

    def answers(self, path: str, status: int = 200) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.addresses["url"] + path, timeout=2, verify=trusted()).status_code == status
        return False

    def end(self) -> None:
        running = [process for process in self.processes.values() if process.poll() is None]
        families = [child for process in running for child in psutil.Process(process.pid).children(recursive=True)]
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)
        for child in families:
            # A hub that is told to end while it starts leaves its proxy.
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[ByHand]:
    made = ByHand(tmp_path)
    yield made
    made.end()


async def test_dashboards_run_by_hand_before_and_with_their_portal(by_hand: ByHand) -> None:
    by_hand.hub()
    by_hand.service("panels", "nvlwidgets.panels.service", NVLHUB_PORTAL_URL=by_hand.addresses["portal"])
    # The hub waits half a minute for a service that is not there.
    await eventually(lambda: by_hand.answers("/hub/api/") and by_hand.answers(f"{PANELS}/compute", 302))
    url = by_hand.addresses["url"]
    async with Visitor(url, "root", PASSWORD) as root, Visitor(url, "ann", PASSWORD) as ann:
        # No portal yet: the pages come, and say so.
        assert (await root.get("/fleet")).status_code == 200
        socket = await ann.socket("compute", await ann.token())
        async with socket:
            await socket.shows(say("panels-no-portal"))
            by_hand.service("portal", "nvlhub.portal.service", NVLHUB_ENGINE="scripted", NVLHUB_SIMULATE="1")
            await eventually(lambda: by_hand.answers(f"{API_PATH}/health"))
            await socket.shows(say("compute-leases-none"), 30)
        assert (await ann.get("/fleet")).status_code == 403
        assert by_hand.processes["panels"].poll() is None
