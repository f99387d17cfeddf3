"""What `nvlhub up` does at its end."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nvlhub.up import Options, Up


class Deaf(BaseHTTPRequestHandler):
    """A hub whose database is gone."""

    def do_GET(self) -> None:
        told = b'{"status": 500, "message": "Internal Server Error"}'
        self.send_response(500)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_a_hub_that_can_tell_nothing_any_more_is_ended_all_the_same(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as hub, subprocess.Popen(["sleep", "60"]) as process:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        up = Up(Options(tmp_path), lambda _: None)
        up._known["hub_port"] = hub.server_address[1]
        up._hub = process
        up.stop()
        hub.shutdown()
        assert process.poll() is not None


SERVERS = {"amy": ["", "class-7"], "ben": ["class-7"]}


def test_the_servers_of_a_class_are_stopped_together_and_the_hub_ends_those_that_began_anew(tmp_path: Path) -> None:
    """The hub here answers the first stop only when the last is asked for, and has one server running again afterwards."""
    all_asked = threading.Barrier(3, timeout=20)
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pending = "spawn" if asked else None
            named = {user: names for user, names in SERVERS.items() if user == "amy" or not asked}
            users = [
                {"name": user, "servers": {key: {"pending": pending} for key in names}} for user, names in named.items()
            ]
            self._answer(json.dumps(users).encode())

        def do_DELETE(self) -> None:
            all_asked.wait()
            asked.append(self.path)
            self._answer(b"")

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(f"{self.path} {told}")
            self._answer(b"{}")
            process.terminate()

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub, subprocess.Popen(["sleep", "60"]) as process:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        up = Up(Options(tmp_path), lambda _: None)
        up._known["hub_port"] = hub.server_address[1]
        up._hub = process
        up.stop()
        hub.shutdown()
    users = "/hub/api/users"
    assert sorted(asked[:3]) == [f"{users}/amy/server", f"{users}/amy/servers/class-7", f"{users}/ben/servers/class-7"]
    assert asked[3:] == ["/hub/api/shutdown {'servers': True, 'proxy': False}"]
