"""What `nvlhub up` does at its end."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nvlhub.up import Options, Up


def test_the_servers_of_a_class_are_stopped_together(tmp_path: Path) -> None:
    """A hub that answers the first stop only when the last is asked for."""
    servers = {"amy": ["", "class-7"], "ben": ["class-7"]}
    all_asked = threading.Barrier(3, timeout=20)
    stopped: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left = (
                []
                if len(stopped) == 3
                else [{"name": user, "servers": dict.fromkeys(names)} for user, names in servers.items()]
            )
            self._answer(json.dumps(left).encode())

        def do_DELETE(self) -> None:
            all_asked.wait()
            stopped.append(self.path)
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        up = Up(Options(tmp_path), lambda _: None)
        up._known["hub_port"] = hub.server_address[1]
        up._stop_servers()
        up._log.close()
        hub.shutdown()
    users = "/hub/api/users"
    assert sorted(stopped) == [f"{users}/amy/server", f"{users}/amy/servers/class-7", f"{users}/ben/servers/class-7"]
