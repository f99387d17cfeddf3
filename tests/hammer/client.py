"""A holder of leases in a process of its own: ``python -m tests.hammer.client DATA PORT NUMBER SEED``.

It asks, says that it lives, extends, ends and repeats itself, writes down what it is told, and can be killed at any time:
the next one of its number goes on from what is written. Once there is a file ``rest`` it gives everything back and ends.
Light on purpose: many of them start at once.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

MAILBOX = {"address": "tcp://127.0.0.1:5555", "public_key": "k" * 40, "token": "t" * 40}
MOST = 4
"""Leases held at once."""
Body = dict[str, Any]


class Client:
    """`asked`: the body of every key. `told`: its leases, or the slug of the refusal."""

    def __init__(self, data: Path, port: int, number: int, seed: str) -> None:
        self._dice = random.Random(f"{number} {seed}")
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"token token-{number}", "Content-Type": "application/json"}
        self._rest = data / "rest"
        self._parent = os.getppid()
        self.asked: dict[str, Body] = {}
        self.told: dict[str, list[str] | str] = {}
        self.held: list[str] = []
        path = data / f"client{number}.log"
        for line in path.read_text().splitlines() if path.exists() else ():
            self._take(json.loads(line))
        self._log = path.open("a", buffering=1)

    def _take(self, line: Body) -> None:
        key = line["key"]
        if "body" in line:
            self.asked[key] = line["body"]
        else:
            self.told[key] = line["told"]
            if isinstance(line["told"], list):
                self.held = [*dict.fromkeys(self.held + line["told"])]

    def _write(self, **line: Any) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._take(line)

    def call(self, method: str, path: str, body: Body | None = None, key: str = "") -> tuple[int, Any]:
        """Send until somebody answers; what fails because of the rules is an answer, too."""
        while True:
            if os.getppid() != self._parent:
                sys.exit("nobody waits for this client")
            headers = self._headers | ({"Idempotency-Key": key} if key else {})
            try:
                self._http.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
                response = self._http.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                self._http.close()
            else:
                if response.status != 503:
                    return response.status, answer
            time.sleep(0.05 + self._dice.random() / 10)

    def ask(self, key: str) -> None:
        """Ask with a key, the first time or again, and write down what came of it."""
        body = self.asked[key]
        status, answer = self.call("POST", "/leases/batch" if "count" in body else "/leases", body, key)
        if status in {200, 201}:
            self._write(key=key, told=[lease["id"] for lease in answer.get("items", [answer])], status=status)
        else:
            self._write(key=key, told=str(answer["type"]).rpartition(":")[2], status=status)

    def turn(self) -> None:
        unanswered = [key for key in self.asked if key not in self.told]
        what = self._dice.random()
        if unanswered:
            self.ask(unanswered[0])
        elif what < 0.35 and len(self.held) < MOST:
            gpus = self._dice.choice([1, 1, 2])
            body = {"project": "hammer", "profile": "gpu2", "gpus": gpus, "seconds": self._dice.choice([600, 1700, 3600]),
                    "mailbox": MAILBOX}  # fmt: skip
            if self._dice.random() < 0.2:
                body |= {"kind": "worker", "count": 2}
            key = f"key-{len(self.asked)}"
            self._write(key=key, body=body)
            self.ask(key)
        elif what < 0.5 and self.asked:
            self.ask(self._dice.choice([*self.asked]))
        elif what < 0.6 and self.held:
            self.call("POST", f"/leases/{self._dice.choice(self.held)}/extend", {"seconds": 60})
        elif what < 0.75 and self.held:
            self.end(self._dice.choice(self.held))
        elif self.held:
            self.call("POST", "/leases/heartbeats", {"beats": {lease: {} for lease in self.held}})

    def end(self, lease: str) -> None:
        status, answer = self.call("DELETE", f"/leases/{lease}")
        if status == 200 and answer["state"] == "settled":
            self.held.remove(lease)

    def run(self) -> None:
        while not self._rest.exists():
            self.turn()
            time.sleep(self._dice.random() / 25)
        for key in [key for key in self.asked if key not in self.told]:
            self.ask(key)
        while self.held:
            for lease in [*self.held]:
                self.end(lease)
            time.sleep(0.1)


if __name__ == "__main__":
    Client(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]).run()
