"""What `nvlhub up` does at its end."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from nvlhub.up import Options, Up

SERVERS = {"amy": ["", "class-7"], "ben": ["class-7"]}


class Answering(BaseHTTPRequestHandler):
    """What stands for a hub; `process` is the one that it is taken to be."""

    process: ClassVar[subprocess.Popen[bytes]]

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def stop(before: type[Answering], data: Path) -> int | None:
    """Stop a portal whose hub is this; return how the hub's process ended."""
    with ThreadingHTTPServer(("127.0.0.1", 0), before) as hub, subprocess.Popen(["sleep", "60"]) as process:
        before.process = process
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        up = Up(Options(data), lambda _: None)
        up._known["hub_port"] = hub.server_address[1]
        up._hub = process
        up.stop()
        hub.shutdown()
        return process.poll()


def test_a_hub_that_can_tell_nothing_any_more_is_ended_all_the_same(tmp_path: Path) -> None:
    class Deaf(Answering):
        """Its database is gone."""

        def do_GET(self) -> None:
            self.answer(b'{"status": 500, "message": "Internal Server Error"}', 500)

        def do_POST(self) -> None:
            self.do_GET()

    assert stop(Deaf, tmp_path) is not None


def test_the_servers_of_a_class_are_stopped_together_and_the_hub_ends_those_that_began_anew(tmp_path: Path) -> None:
    """The hub here answers the first stop only when the last is asked for, and has one server running again afterwards."""
    all_asked = threading.Barrier(3, timeout=20)
    asked: list[str] = []

    class Hub(Answering):
        def do_GET(self) -> None:
            pending = "spawn" if asked else None
            named = {user: names for user, names in SERVERS.items() if user == "amy" or not asked}
            users = [
                {"name": user, "servers": {key: {"pending": pending} for key in names}} for user, names in named.items()
            ]
            self.answer(json.dumps(users).encode())

        def do_DELETE(self) -> None:
            all_asked.wait()
            asked.append(self.path)
            self.answer(b"")

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(f"{self.path} {told}")
            self.answer(b"{}")
            self.process.terminate()

    stop(Hub, tmp_path)
    users = "/hub/api/users"
    assert sorted(asked[:3]) == [f"{users}/amy/server", f"{users}/amy/servers/class-7", f"{users}/ben/servers/class-7"]
    assert asked[3:] == ["/hub/api/shutdown {'servers': True, 'proxy': False}"]
