"""The hub's REST API as classes need it: a named server for each seat, and who may open it.

Called with the token of the portal's own service; what it may do stands in :func:`nvlhub.portal.configure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import httpx

from nvlhub.flow.course import server_name
from nvlhub.trust import trusted

TIMEOUT = httpx.Timeout(60.0, connect=3.0)
"""The hub answers a start or a stop after ten seconds at most; longer where it is overrun."""
BUSY = 15
"""Seconds to wait where the hub does not say how long."""


class Found(StrEnum):
    """How a server stands, or what came of asking."""

    READY = "ready"
    PENDING = "pending"
    STOPPED = "stopped"
    FAILED = "failed"
    BUSY = "busy"
    """The hub starts as many as it will at once."""
    AWAY = "away"
    """The hub does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said."""

    found: Found
    reason: str = ""
    """Why a start failed, in the hub's words."""
    wait: int = 0
    """Seconds after which to ask again."""
    active_at: int | None = None
    """When somebody last did something at the server."""


class Classroom:
    """Servers of seats."""

    def __init__(self, api_url: str, token: str, together: int = 50) -> None:
        limits = httpx.Limits(max_connections=together + 10, max_keepalive_connections=together)
        headers = {"Authorization": f"token {token}"}
        self._http = httpx.Client(
            base_url=api_url.rstrip("/"), headers=headers, timeout=TIMEOUT, limits=limits, verify=trusted()
        )

    def start(self, user: str, run: int, title: str) -> Answer:
        """Start the server of a seat; one that runs or starts is left alone."""
        answer = self._ask("POST", _server(user, run), json={"display_name": title})
        if answer is None:
            return Answer(Found.AWAY)
        if answer.status_code in {201, 202}:
            return Answer(Found.READY if answer.status_code == 201 else Found.PENDING)
        if answer.status_code in {429, 502, 503}:
            told = answer.headers.get("Retry-After", "")
            return Answer(Found.BUSY, wait=int(told) if told.isdigit() else BUSY)
        if answer.status_code == 400 and (known := self.look(user, run)).found in {Found.READY, Found.PENDING}:
            return known
        return Answer(Found.FAILED, _words(answer))

    def look(self, user: str, run: int) -> Answer:
        """Tell how the server of a seat stands."""
        answer = self._ask("GET", _server(user, run))
        if answer is None or answer.status_code >= 500:
            return Answer(Found.AWAY)
        if answer.status_code == 404:
            return Answer(Found.STOPPED)
        if not answer.is_success:
            return Answer(Found.FAILED, _words(answer))
        server: dict[str, Any] = answer.json()
        found = Found.READY if server["ready"] else Found.PENDING if server["pending"] else Found.STOPPED
        return Answer(found, active_at=_unix(server.get("last_activity")))

    def stop(self, user: str, run: int, *, remove: bool = False) -> Answer:
        """Stop the server of a seat; `remove`: it is gone from the hub, and with it what was shared of it."""
        if remove:
            self._ask("DELETE", _shares(user, run))
        answer = self._ask("DELETE", _server(user, run), json={"remove": remove})
        if answer is None or answer.status_code >= 500:
            return Answer(Found.AWAY)
        if answer.status_code == 404 or answer.is_success:
            return Answer(Found.STOPPED if answer.status_code != 202 else Found.PENDING)
        return Answer(Found.FAILED, _words(answer))

    def let_in(self, user: str, run: int, guest: str) -> bool:
        """Let somebody open the server of a seat, with their own login, until the run ends; tell whether the hub did."""
        answer = self._ask("POST", _shares(user, run), json={"user": guest})
        return answer is not None and answer.is_success

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError:
            return None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _server(user: str, run: int) -> str:
    return f"/users/{quote(user, safe='')}/servers/{server_name(run)}"


def _shares(user: str, run: int) -> str:
    return f"/shares/{quote(user, safe='')}/{server_name(run)}"


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"]) or f"HTTP {answer.status_code}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _unix(told: str | None) -> int | None:
    """Return the time of an ISO text of the hub's."""
    return int(datetime.fromisoformat(told).timestamp()) if told else None
