"""What went wrong, as a page for people whose browser asked for one: everybody else gets the problem document."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Request, Response

from nvlhub.api.doors import lang_of
from nvlhub.portal.html import Site
from nvlhub.wire import Problem

logger = logging.getLogger(__name__)

DOCUMENT = b"application/problem+json"


class ProblemPages:
    """Turns problem documents into pages, outside of the API and where the browser takes HTML."""

    def __init__(self, app: Any, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not self._for_people(scope):
            await self._app(scope, receive, send)
            return
        request, begun, body = Request(scope), None, b""

        async def seen(message: Any) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and dict(message["headers"]).get(b"content-type") == DOCUMENT:
                begun = message
            elif begun is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._answer(request, begun, body)(scope, receive, send)

        await self._app(scope, receive, seen)

    def _for_people(self, scope: Any) -> bool:
        accepts = dict(scope["headers"]).get(b"accept", b"")
        return b"text/html" in accepts and not scope["path"].startswith(f"{self._site.prefix}api/")

    def _answer(self, request: Request, begun: Any, body: bytes) -> Response:
        try:
            return self._page(request, begun["headers"], body)
        except Exception:
            # This is outside of what answers our failures.
            logger.exception("what went wrong could not be told on a page")
            return Response(body, begun["status"], media_type=DOCUMENT.decode())

    def _page(self, request: Request, headers: Any, body: bytes) -> Response:
        problem = Problem.model_validate_json(body)
        page = self._site.page("problem.html", lang_of(request), problem.status, problem=problem)
        for name, value in headers:
            if name in {b"retry-after", b"allow"}:
                page.headers[name.decode()] = value.decode()
        return page
