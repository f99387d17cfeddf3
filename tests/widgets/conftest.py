"""A portal that answers by script, over real HTTP, for the widgets of one test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ipywidgets
import pytest

from nvlhub.wire import API_PATH
from nvlwidgets.feed import HERE, PORTAL

NOW = 1_800_000_000


class Scripted:
    """Answers of a portal by path; what is not among them is not there."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/health": {"zone": "Asia/Taipei", "now": NOW}, "/announcements": {"items": []}}
        self.asked: list[tuple[str, str, Any]] = []
        self.way: Callable[[BaseHTTPRequestHandler], bool] | None = None
        """Answers instead: badly. True: it has answered."""
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def answer(self) -> None:
                path = self.path.removeprefix(API_PATH).split("?")[0]
                length = int(self.headers.get("Content-Length") or 0)
                portal.asked.append((self.command, path, json.loads(self.rfile.read(length) or "null")))
                if portal.way is not None and portal.way(self):
                    return
                found = portal.answers.get(path)
                if callable(found):
                    found = found()
                status, found = found if isinstance(found, tuple) else (200 if found is not None else 404, found)
                if found is None:
                    found = {
                        "type": "urn:nvlhub:problem:not-found",
                        "title": "",
                        "status": 404,
                        "detail": "There is nothing.",
                    }
                self.say(status, json.dumps(found).encode())

            def say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815  # named by the standard library

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """Be away: nothing listens any more."""
        self.server.shutdown()
        self._thread.join(10)
        self.server.server_close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A portal that this process's widgets ask; after the test no widget and no thread is left."""
    portal = Scripted()
    monkeypatch.setenv("NVLHUB_PORTAL_URL", portal.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t")
    monkeypatch.setenv("NVLHUB_LANGUAGE", "en")
    for name in ("NVLHUB_LEASE", "NVLHUB_DEVICES", "NVLHUB_SIMULATED"):
        monkeypatch.delenv(name, raising=False)
    yield portal
    ipywidgets.Widget.close_all()
    for feed in (PORTAL, HERE):
        feed.join(15)
        assert not feed.running
    portal.close()


def lease(**more: Any) -> dict[str, Any]:
    """Return a running lease of two GPUs with two hours left."""
    full = {
        "id": "L1", "state": "running", "user": "researcher", "project": "demo", "profile": "gpu2", "kind": "kernel", "gpus": 2,
        "pool": "main", "placement": [{"domain": "nvl001", "tray": 2, "gpus": [0, 3]}], "simulated": True, "factor_milli": 1000,
        "seconds": 7200, "held": 14_400_000, "asked_at": NOW, "started_at": NOW, "deadline": NOW + 7200, "now": NOW,
    }  # fmt: skip
    return full | more
