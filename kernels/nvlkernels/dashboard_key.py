"""What opens a Dask dashboard: known to the process that serves it and to its user's own server, sent to nobody else."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from nvlkernels.client import token_of

HEADER = "X-Nvlhub-Dashboard"
LOOPBACK = "127.0.0.1"

PROOF = "/nvlhub/proof/"
"""Where a dashboard proves that it is one: it answers a nonce with a signature of it."""
SIGNED = 64
"""Characters of a signature; after it comes the certificate that it is for, where there is one."""


def proof(port: int, nonce: str, certificate: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """Return what the dashboard on `port` answers to a nonce; another listener on that port cannot know it.

    It vouches for its `certificate` (PEM), too: who passes the answer of a dashboard on as its own gains nothing.
    """
    key = dashboard_key(port, environment).encode()
    return hmac.new(key, f"{nonce}\n{certificate}".encode(), hashlib.sha256).hexdigest()


def dashboard_key(port: int, environment: Mapping[str, str] = os.environ) -> str:
    """Return what a request for the dashboard on `port` must carry.

    Derived from the server's token, which both processes have, and from the port: who listens on another port and is
    called by mistake learns nothing of use.
    """
    return hmac.new(
        token_of(environment).encode(), f"nvlhub: Dask dashboard {port}".encode(), hashlib.sha256
    ).hexdigest()
