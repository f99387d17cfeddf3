"""Clients that take leases and give them back, as a process of the standard library alone.

Reads a :class:`Load` as JSON from its argument; prints a :class:`Borne` as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection

LEASES = "/services/portal/api/v1/leases"
MAILBOX = {"address": "tcp://127.0.0.1:5555", "public_key": "k" * 40, "token": "t" * 40}


@dataclass(frozen=True)
class Load:
    """What a process of clients does."""

    port: int
    clients: int
    seconds: float
    projects: int
    pace: float = 0
    """Seconds from one cycle's start to the next, more or less; 0: one after the other."""


@dataclass
class Borne:
    """What came of it."""

    cycles: int = 0
    admissions: list[float] = field(default_factory=list)
    """Seconds that each took."""
    failures: list[str] = field(default_factory=list)


def client(load: Load, until: float, borne: Borne) -> None:
    """Take leases and give them back over one connection, as the user of a project drawn by chance."""
    number = random.randint(1, load.projects)
    headers = {"Authorization": f"token user{number}", "Content-Type": "application/json"}
    body = json.dumps({"project": f"project{number}", "profile": "gpu1", "seconds": 3600, "mailbox": MAILBOX})
    http = HTTPConnection("127.0.0.1", load.port, timeout=60)
    due = time.monotonic() + load.pace * random.random()
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        begun = time.monotonic()
        if begun >= until:
            return
        due += load.pace * random.uniform(0.5, 1.5)
        http.request("POST", LEASES, body, headers | {"Idempotency-Key": uuid.uuid4().hex})
        response = http.getresponse()
        answer = json.load(response)
        borne.admissions.append(time.monotonic() - begun)
        if response.status != 201 or answer["state"] != "running":
            borne.failures.append(f"POST {response.status} {answer.get('detail') or answer.get('state')}")
            continue
        http.request("DELETE", f"{LEASES}/{answer['id']}", headers=headers)
        response = http.getresponse()
        if response.read() and response.status != 200:
            borne.failures.append(f"DELETE {response.status}")
        borne.cycles += 1


def main(load: Load) -> Borne:
    """Let all clients run to the end."""
    each = [Borne() for _ in range(load.clients)]
    until = time.monotonic() + load.seconds
    threads = [threading.Thread(target=client, args=(load, until, borne)) for borne in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return together(each)


def together(parts: list[Borne]) -> Borne:
    """Return the sum of what several bore."""
    return Borne(
        sum(part.cycles for part in parts),
        [seconds for part in parts for seconds in part.admissions],
        [failure for part in parts for failure in part.failures],
    )


if __name__ == "__main__":
    print(json.dumps(asdict(main(Load(**json.loads(sys.argv[1]))))))
