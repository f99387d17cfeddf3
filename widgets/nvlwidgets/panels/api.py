"""The portal's REST API as a visitor sees it, or this service itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from nvlhub.text import say
from nvlhub.wire import API_PATH
from nvlkernels.client import PortalDownError, answer

TIMEOUT = httpx.Timeout(15.0, connect=3.0)
LONGEST = 20.0
"""Seconds for a whole answer: one that drips is none."""
LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that are read at most."""


class Api:
    """Calls with one token, answered in one language. Raises `PortalError` or `PortalDownError` with words for people."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str, lang: str = "en") -> None:
        self._http = http
        self._base = url.rstrip("/") + API_PATH
        self._lang = lang
        self.headers = {"Authorization": f"token {token}", "Accept-Language": lang}

    async def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        try:
            async with (
                asyncio.timeout(LONGEST),
                self._http.stream(method, self._base + path, headers=headers, timeout=TIMEOUT, **more) as got,
            ):
                body = bytearray()
                async for part in got.aiter_bytes():
                    body += part
                    if len(body) > LARGEST:
                        raise PortalDownError(say("panels-no-portal", self._lang))
        except (httpx.HTTPError, TimeoutError):
            raise PortalDownError(say("panels-no-portal", self._lang)) from None
        return httpx.Response(got.status_code, headers=_plain(got.headers), content=bytes(body), request=got.request)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        """Send a call; return the JSON object of its answer."""
        return self._read(await self._sent(method, path, **more))

    def _read(self, response: httpx.Response) -> Any:
        try:
            found = answer(response)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            # All answers of the portal are objects; this is something else that listens there.
            raise PortalDownError(say("panels-no-portal", self._lang))
        return found

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a reading call; parameters that are None are left out."""
        return await self.call("GET", path, params={name: value for name, value in params.items() if value is not None})

    async def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return the items of a list: the first page."""
        found: list[dict[str, Any]] | None = (await self.get(path, **params)).get("items")
        if found is None:
            raise PortalDownError(say("panels-no-portal", self._lang))
        return found

    async def tagged(self, path: str) -> tuple[Any, str]:
        """Return the JSON of a reading call and its entity tag."""
        response = await self._sent("GET", path)
        return self._read(response), response.headers.get("ETag", "")


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer whose body was decoded on the way."""
    return {
        name: value for name, value in headers.items() if name.lower() not in {"content-encoding", "content-length"}
    }
