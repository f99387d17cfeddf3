"""Whom calls over https trust."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Return what `httpx` checks certificates by (``SSL_CERT_FILE``, ``SSL_CERT_DIR``, or its own list), read once.

    For `verify=`: each client that is made without it, and each call without a client, reads all certificates again, which takes a
    processor 60 ms.
    """
    return httpx.create_ssl_context()
