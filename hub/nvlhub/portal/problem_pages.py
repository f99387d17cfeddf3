"""What went wrong, as a page for people whose browser asked for one: everybody else gets the problem document."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from nvlhub.api.doors import lang_of
from nvlhub.portal.html import Site
from nvlhub.wire import Problem

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
                    await self._page(request, begun, body)(scope, receive, send)

        await self._app(scope, receive, seen)

    def _for_people(self, scope: Any) -> bool:
        accepts = dict(scope["headers"]).get(b"accept", b"")
        return b"text/html" in accepts and not scope["path"].startswith(f"{self._site.prefix}api/")

    def _page(self, request: Request, begun: Any, body: bytes) -> Any:
        problem = Problem.model_validate_json(body)
        page = self._site.page("problem.html", lang_of(request), problem.status, problem=problem)
        for name, value in begun["headers"]:
            if name in {b"retry-after", b"allow"}:
                page.headers[name.decode()] = value.decode()
        return page
