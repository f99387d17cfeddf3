"""Ports for servers that bind them a while after they were chosen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nvlhub import ports

ASKS = """
import sys
from nvlhub import ports
choices = iter(map(int, sys.argv[1:]))
ports.random.randint = lambda *_: next(choices)
print(ports.free_port())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names that end with their process are Linux's")
def test_a_port_is_promised_to_one_only_on_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = ports.free_port(), ports.free_port()
    assert mine != other
    free = next(port for port in range(30_001, 32_000) if not ports.taken(port))
    asked = [sys.executable, "-c", ASKS, *map(str, (mine, other, free))]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == f"{free}\n"
    # What ended promises nothing any more, and here a promise is over after a while.
    choices = iter([mine, free])
    monkeypatch.setattr("random.randint", lambda *_: next(choices))
    assert ports.free_port() == free
    monkeypatch.setattr(ports, "PROMISED", -1.0)
    monkeypatch.setattr("random.randint", lambda *_: mine)
    assert ports.free_port() == mine
