"""Files of the REST API for browsers: with the visitor's own login, passed on as they come."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import httpx
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from nvlwidgets.panels.answers import language_of
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Door, Guest

PASSED_ON = ("since", "until", "by", "project", "programme", "user")
"""What of a query goes along; the portal checks it."""
KEPT = ("Content-Type", "Content-Disposition", "Cache-Control", "X-Content-Type-Options")
FILES = {"/usage.csv": "/usage", "/leases.csv": "/usage/leases"}
"""Address here -> route of the API that answers as CSV."""


class Download(RequestHandler):
    """One file."""

    def initialize(self, door: Door, prefix: str, path: str, api: Callable[[Guest, str], Api]) -> None:
        """Remember where the file comes from."""
        self._door = door
        self._prefix = prefix
        self._path = path
        self._api = api

    async def get(self) -> None:
        """Pass the file on; who is not logged in is sent to the login first."""
        guest = await self._door.guest(self)
        if guest is None:
            self.redirect(f"{self._prefix}/login?next={quote(self.request.uri or '', safe='')}")
            return
        asked = {name: value for name in PASSED_ON if (value := self.get_query_argument(name, ""))}
        try:
            async with self._api(guest, language_of(self)).opened(self._path, format="csv", **asked) as answer:
                await self._pass_on(answer)
        except httpx.HTTPError:
            self._refuse(503)
        except StreamClosedError:
            # The browser has gone.
            pass

    async def _pass_on(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            self._refuse(404 if answer.status_code in {404, 422} else answer.status_code)
            return
        for name in KEPT:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        async for part in answer.aiter_bytes():
            self.write(part)
            await self.flush()

    def _refuse(self, status: int) -> None:
        if self._headers_written:
            # Half a file must not look like a whole one.
            self.detach().close()
            return
        self.send_error(status)
