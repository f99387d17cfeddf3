"""Ports of the loopback address."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections import deque

PROMISED = 120.0
"""Seconds for which a port that was given to somebody is given to nobody else on this machine: servers bind theirs late."""
_promised: deque[tuple[float, int]] = deque()
"""Since when, and the open file that keeps the promise."""


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on, nor was given a short while ago by any process.

    Below the range from which outgoing connections take theirs (Linux: 32768 and up): a port from that range can be
    gone before its server binds it.
    """
    while taken(port := random.randint(20_000, 30_000)) or not _promise(port):  # noqa: S311  # no secret
        pass
    return port


def _promise(port: int) -> bool:
    """Keep a port from being given again; tell whether nobody else keeps it. Names of this kind end with their process."""
    if sys.platform != "linux":
        return True
    while _promised and _promised[0][0] < time.monotonic() - PROMISED:
        os.close(_promised.popleft()[1])
    with socket.socket(socket.AF_UNIX) as kept:
        try:
            kept.bind(f"\0nvlhub-port-{port}")
        except OSError:
            return False
        _promised.append((time.monotonic(), kept.detach()))
    return True


def taken(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether somebody listens on a port of an address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False
