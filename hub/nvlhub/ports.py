"""Ports of the loopback address."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on.

    Below the range from which outgoing connections take theirs (Linux: 32768 and up): a port from that range can be
    gone before its server binds it.
    """
    while taken(port := random.randint(20_000, 30_000)):  # noqa: S311  # no secret
        pass
    return port


def taken(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether somebody listens on a port of an address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False
