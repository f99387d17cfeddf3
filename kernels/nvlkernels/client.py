"""The portal as seen from a notebook server or a kernel: one HTTP client, with errors in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from nvlhub.text import language, say
from nvlhub.trust import trusted
from nvlhub.wire import (
    API_PATH,
    Beat,
    BeatAnswer,
    Beaten,
    Beats,
    Extend,
    LeaseAsk,
    LeaseView,
    Offer,
    Problem,
    WorkersAsk,
)

TIMEOUT = httpx.Timeout(30.0, connect=3.0)
TRIES = 5
"""How often a call is sent that the portal asks to send later."""
PAGE = 200
"""Leases that are asked for at once."""
LONGEST_WAIT = 5
"""Seconds before it is sent again, at most."""


class PortalError(RuntimeError):
    """The portal said no; the text is for the user."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


class PortalDownError(RuntimeError):
    """The portal cannot be reached; the text is for the user."""


def token_of(environment: Mapping[str, str] = os.environ) -> str:
    """Return the server's token: a kernel that outlived its server finds that of the next one in a file."""
    with contextlib.suppress(OSError):
        if environment.get("NVLHUB_TOKEN_FILE"):
            return Path(environment["NVLHUB_TOKEN_FILE"]).read_text(encoding="utf-8")
    return environment.get("JUPYTERHUB_API_TOKEN", "")


def spoken(environment: Mapping[str, str] = os.environ) -> str:
    """Return the language that the user reads, from what the hub gave this process."""
    return language(environment.get("NVLHUB_LANGUAGE") or environment.get("LC_ALL") or environment.get("LANG"))


def settings(environment: Mapping[str, str] = os.environ) -> tuple[str, dict[str, str]]:
    """Return the address of the API and the headers of a call, from what the hub gave this process."""
    base = environment.get("NVLHUB_PORTAL_URL", "http://127.0.0.1:8000").rstrip("/") + API_PATH
    return base, {"Authorization": f"token {token_of(environment)}", "Accept-Language": spoken(environment)}


def answer(response: httpx.Response) -> Any:
    """Return the JSON of a good answer. Raises `PortalError`, or `PortalDownError` for what is no answer of the portal."""
    if response.is_success:
        return response.json()
    try:
        raise PortalError(Problem.model_validate_json(response.content))
    except ValidationError:
        raise PortalDownError(say("portal-down", response.request.headers.get("accept-language", "en"))) from None


def call(method: str, path: str, *, timeout: httpx.Timeout = TIMEOUT, **more: Any) -> Any:
    """Call the portal and wait for its answer, as a cell does. Raises `PortalError`, `PortalDownError`."""
    base, headers = settings()
    try:
        return answer(httpx.request(method, base + path, headers=headers, timeout=timeout, verify=trusted(), **more))
    except httpx.HTTPError:
        raise PortalDownError(say("portal-down", headers["Accept-Language"])) from None


class Portal:
    """Asynchronous calls, for the notebook server."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        base, headers = settings(environment)
        self.lang = headers["Accept-Language"]
        self._environment = environment
        self._http = httpx.AsyncClient(
            base_url=base, headers=headers, timeout=TIMEOUT, auth=self._signed, verify=trusted()
        )

    def _signed(self, request: httpx.Request) -> httpx.Request:
        # A client lives as long as its cluster, which is longer than a token where the server is started anew.
        request.headers["Authorization"] = f"token {token_of(self._environment)}"
        return request

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            return answer(await self._sent(method, path, **more))
        except httpx.HTTPError:
            raise PortalDownError(say("portal-down", self.lang)) from None

    async def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a call, and again where the portal has had too many: a large cluster that closes comes all at once."""
        for _ in range(TRIES - 1):
            response = await self._http.request(method, path, **more)
            if response.status_code != 429:
                return response
            told = response.headers.get("Retry-After", "")
            await asyncio.sleep(min(int(told) if told.isdigit() else 1, LONGEST_WAIT))
        return await self._http.request(method, path, **more)

    async def offers(self, project: str | None = None) -> list[Offer]:
        """Return what the holder of the token can start, in all projects or in one."""
        asked = {"project": project} if project else {}
        return [Offer(**item) for item in (await self._call("GET", "/offers", params=asked))["items"]]

    async def profile(self, name: str) -> dict[str, Any]:
        """Return the versions of a profile that the holder of the token may see."""
        found: dict[str, Any] = await self._call("GET", f"/profiles/{name}")
        return found

    async def ask(self, ask: LeaseAsk, key: str) -> LeaseView:
        """Ask for a lease; `key` makes repeating it safe."""
        body = ask.model_dump(mode="json")
        return LeaseView(**await self._call("POST", "/leases", json=body, headers={"Idempotency-Key": key}))

    async def ask_together(self, ask: WorkersAsk, key: str) -> list[LeaseView]:
        """Ask for several workers, all or none; `key` makes repeating it safe."""
        body = ask.model_dump(mode="json")
        answer = await self._call("POST", "/leases/batch", json=body, headers={"Idempotency-Key": key})
        return [LeaseView(**item) for item in answer["items"]]

    async def lease(self, lease_id: str) -> LeaseView:
        """Return a lease as it is now."""
        return LeaseView(**await self._call("GET", f"/leases/{lease_id}"))

    async def workers(self, lease_id: str) -> list[LeaseView]:
        """Return the leases that end with that of a kernel, all of them."""
        found: list[LeaseView] = []
        while True:
            asked = {"parent": lease_id, "page": len(found) // PAGE + 1, "per_page": PAGE}
            told = await self._call("GET", "/leases", params=asked)
            found += [LeaseView(**item) for item in told["items"]]
            if len(told["items"]) < PAGE:
                return found

    async def zone(self) -> str:
        """Return the time zone that people are told times in."""
        return str((await self._call("GET", "/health")).get("zone", "UTC"))

    async def beat(self, lease_id: str, beat: Beat) -> BeatAnswer:
        """Give a sign of life."""
        return BeatAnswer(
            **await self._call("POST", f"/leases/{lease_id}/heartbeat", json=beat.model_dump(exclude_none=True))
        )

    async def beat_all(self, beats: Mapping[str, Beat]) -> list[Beaten]:
        """Give signs of life of many leases; what is not the asker's has no answer."""
        body = Beats(beats=dict(beats)).model_dump(mode="json", exclude_none=True)
        return [Beaten(**item) for item in (await self._call("POST", "/leases/heartbeats", json=body))["items"]]

    async def extend(self, lease_id: str, extend: Extend) -> LeaseView:
        """Pay for more time."""
        return LeaseView(**await self._call("POST", f"/leases/{lease_id}/extend", json=extend.model_dump()))

    async def announcements(self) -> list[dict[str, Any]]:
        """Return what those who run the portal want to be read: {id, level, text, lease}; nothing, if it has no such list."""
        try:
            return list((await self._call("GET", "/announcements"))["items"])
        except PortalError as error:
            if error.problem.status == 404:
                return []
            raise

    async def end(self, lease_id: str) -> LeaseView:
        """Give a lease back."""
        return LeaseView(**await self._call("DELETE", f"/leases/{lease_id}"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
