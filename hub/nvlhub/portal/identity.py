"""A token or a session -> a visitor. The hub alone knows who people are."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

from nvlhub.errors import FailedError, NotAllowedError, NvlhubError
from nvlhub.trust import trusted
from nvlhub.visitor import ADMIN_SCOPE, HUB_SCOPE, Visitor

REMEMBERED = 30.0
"""Seconds for which the hub's word on a token is believed: so long a logout takes to bite."""
FORGOTTEN = 10_000
"""Tokens remembered at most."""
LONGEST_TOKEN = 200


class LoginNeededError(NvlhubError):
    """No token, or one that the hub does not know."""

    status = 401


class Hub:
    """Asks the hub who a token belongs to."""

    def __init__(self, api_url: str, *, service: str = "portal") -> None:
        self._http = httpx.Client(base_url=api_url.rstrip("/"), timeout=10, verify=trusted())
        self._access = frozenset({"access:services", f"access:services!service={service}"})
        self._known: dict[str, tuple[float, Mapping[str, Any] | None]] = {}
        self._lock = threading.Lock()

    def visitor(self, token: str) -> Visitor:
        """Return whom `token` belongs to.

        Raises `LoginNeededError` for a token that the hub does not know, `NotAllowedError` for one that may not
        use the portal, `FailedError` when the hub does not answer.
        """
        if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise LoginNeededError("login-needed")
        model = self._model(token)
        if model is None:
            raise LoginNeededError("login-needed")
        return visitor_of(model, self._access)

    def _model(self, token: str) -> Mapping[str, Any] | None:
        now = time.monotonic()
        with self._lock:
            known = self._known.get(token)
            if known is not None and now - known[0] < REMEMBERED:
                return known[1]
        try:
            response = self._http.get("/user", headers={"Authorization": f"token {token}"})
        except httpx.HTTPError:
            raise FailedError("portal-failed") from None
        if response.status_code in {401, 403, 404}:
            model = None
        elif response.is_success:
            model = response.json()
        else:
            raise FailedError("portal-failed")
        with self._lock:
            if len(self._known) >= FORGOTTEN:
                self._known.clear()
            self._known[token] = (now, model)
        return model

    def forget(self, token: str) -> None:
        """Ask again at the next visit."""
        with self._lock:
            self._known.pop(token, None)


def visitor_of(model: Mapping[str, Any], access: frozenset[str]) -> Visitor:
    """Return the visitor that a user or service model of the hub describes. Raises `NotAllowedError`."""
    scopes = frozenset(model.get("scopes", ()))
    hub = HUB_SCOPE in scopes
    if not hub and not scopes & access:
        raise NotAllowedError("not-allowed")
    servers = [scope.partition("server=")[2] for scope in scopes if scope.startswith("access:servers!server=")]
    return Visitor(
        name=str(model["name"]),
        admin=ADMIN_SCOPE in scopes,
        hub=hub,
        server=servers[0] if len(servers) == 1 else "",
        groups=frozenset(str(group) for group in model.get("groups", ())),
    )
