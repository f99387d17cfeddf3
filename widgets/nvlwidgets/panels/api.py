"""The portal's REST API as a visitor sees it, or this service itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from nvlhub.text import say
from nvlhub.wire import API_PATH
from nvlkernels.client import PortalDownError, answer

TIMEOUT = httpx.Timeout(15.0, connect=3.0)
LONGEST = 20.0
"""Seconds for a whole answer: one that drips is none."""
SLOW = httpx.Timeout(120.0, connect=3.0)
"""For files, which the portal has to write first."""
LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that are read at most."""
PAGES = 50
"""Pages of a list that are read at most, 200 items each."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[dict[str, Any]]
    page: int = 1
    per_page: int = 50
    total: int = 0

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.per_page))


class Api:
    """Calls with one token, answered in one language. Raises `PortalError` or `PortalDownError` with words for people."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str, lang: str = "en") -> None:
        self._http = http
        self.portal = url.rstrip("/")
        """Address of the portal."""
        self._base = self.portal + API_PATH
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
        """Send a call; return the JSON object of its answer, None for one without a body."""
        response = await self._sent(method, path, **more)
        return None if response.status_code == 204 else self._read(response)

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
        return (await self.page(path, **params)).items

    async def page(self, path: str, **params: Any) -> Page:
        """Return one page of a list. Raises `PortalDownError` for what is no list."""
        told = await self.get(path, **params)
        try:
            items, total = list(told["items"]), int(told["total"])
            page, per_page = int(told["page"]), int(told["per_page"])
        except (TypeError, KeyError, ValueError):
            raise PortalDownError(say("panels-no-portal", self._lang)) from None
        if not all(isinstance(item, dict) for item in items):
            raise PortalDownError(say("panels-no-portal", self._lang))
        return Page(items, page, max(1, per_page), total)

    @asynccontextmanager
    async def opened(self, path: str, **params: Any) -> AsyncIterator[httpx.Response]:
        """Give the answer of a reading call to be read as it comes. Raises `httpx.HTTPError`, also while it is read."""
        async with self._http.stream(
            "GET", self._base + path, headers=self.headers, params=params, timeout=SLOW
        ) as got:
            yield got

    async def every(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return the items of all pages of a list, :data:`PAGES` pages at most."""
        found: list[dict[str, Any]] = []
        for page in range(1, PAGES + 1):
            answered = await self.get(path, page=page, per_page=200, **params)
            found += answered["items"]
            if not answered["items"] or len(found) >= answered["total"]:
                break
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
