"""What opens a Dask dashboard: known to the process that serves it and to its user's own server, sent to nobody else."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

HEADER = "X-Nvlhub-Dashboard"


def dashboard_key(port: int, environment: Mapping[str, str] = os.environ) -> str:
    """Return what a request for the dashboard on `port` must carry.

    Derived from the server's token, which both processes have, and from the port: who listens on another port and is
    called by mistake learns nothing of use.
    """
    token = environment.get("JUPYTERHUB_API_TOKEN", "")
    return hmac.new(token.encode(), f"nvlhub: Dask dashboard {port}".encode(), hashlib.sha256).hexdigest()
