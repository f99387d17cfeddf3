"""What becomes a notebook server on a node: its port, its environment, its word to the hub."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlkernels import server
from nvlkernels.server import NotWantedError, listened_on, report, reserve, route_to, told

LETTER = {"env": {"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ann/", "A": "1"}, "argv": ["x"], "bind": ""}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0"])  # noqa: S104  # as a site may set it
def test_a_reserved_port_is_seen_when_its_account_listens(address: str) -> None:
    with reserve(address) as holder, socket.socket(holder.family) as listener, socket.socket(holder.family) as thief:
        assert not listened_on(holder, os.getuid())
        # The server binds it beside us, as Tornado does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(holder.getsockname())
        assert not listened_on(holder, os.getuid())
        listener.listen()
        assert listened_on(holder, os.getuid())
        # Had somebody else been there first, it would not count.
        assert not listened_on(holder, os.getuid() + 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(holder.getsockname())


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    with reserve("127.0.0.1") as first:
        others = [reserve("127.0.0.1") for _ in range(200)]
        assert first.getsockname() not in [other.getsockname() for other in others]
        for other in others:
            other.close()


def test_the_way_to_the_hub_tells_the_address() -> None:
    assert route_to("127.0.0.1", 8081) == "127.0.0.1"
    assert route_to("localhost", 8081) in {"127.0.0.1", "::1"}


def test_a_server_has_its_own_environment_and_not_that_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "cpu001")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("A", "0")
    monkeypatch.delenv("SHELL", raising=False)
    environment = told(LETTER, "10.0.0.9", 40000)
    assert environment["JUPYTERHUB_SERVICE_URL"] == "http://10.0.0.9:40000/user/ann/"
    assert environment["NVLHUB_MAILBOX_BIND"] == "10.0.0.9"
    assert environment["A"] == "1"
    assert environment["SHELL"]
    assert [name for name in environment if name.startswith("SLURM")] == ["SLURM_CONF"]
    everywhere = told({**LETTER, "bind": "::"}, "10.0.0.9", 40000)
    assert everywhere["JUPYTERHUB_SERVICE_URL"] == "http://[::]:40000/user/ann/"
    # Agents are told where to dial, never a wildcard.
    assert everywhere["NVLHUB_MAILBOX_BIND"] == "10.0.0.9"


@pytest.fixture
def hub() -> Iterator[Any]:
    """What answers as the hub: `statuses` in turn."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            listening.seen.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(listening.statuses.pop(0))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listening: Any = http.server.HTTPServer(("127.0.0.1", 0), Hub)
    listening.seen, listening.statuses = [], []
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield listening
    listening.shutdown()
    thread.join()
    listening.server_close()


def environment_of(hub: Any) -> dict[str, str]:
    return {"JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.server_port}/hub/api", "JUPYTERHUB_API_TOKEN": "t"}


def test_a_hub_that_is_away_is_waited_for(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PAUSE", 0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    hub.statuses = [503, 204]
    report(environment_of(hub), 40000)
    assert hub.seen == [("/hub/nvlhub-server/port", "token t", {"port": 40000})] * 2


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_a_hub_that_refuses_is_believed(hub: Any, status: int) -> None:
    hub.statuses = [status]
    with pytest.raises(NotWantedError, match=str(status)):
        report(environment_of(hub), 40000)


def test_a_hub_that_stays_away_is_given_up(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", -1)
    hub.statuses = [502]
    with pytest.raises(NotWantedError, match="no answer"):
        report(environment_of(hub), 40000)


def test_it_is_light() -> None:
    heavy = "{'zmq', 'pydantic', 'httpx', 'jupyterhub', 'asyncio', 'urllib.request', 'nvlhub'} & set(sys.modules)"
    code = f"import sys, nvlkernels.server; sys.exit(str({heavy} or ''))"
    root = Path(server.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(root)}, check=False, capture_output=True
    )
    assert done.stderr.strip() == b""
