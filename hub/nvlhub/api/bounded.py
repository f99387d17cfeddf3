"""Bodies that are too large are refused before they are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from nvlhub.api.problems import TooLargeError, answer
from nvlhub.wire import MAX_BODY_BYTES

Message = MutableMapping[str, Any]


MOST = dict.fromkeys(("attempts", "try", "file"), 8 * MAX_BODY_BYTES)
"""Bytes that are read where files are handed in, by the last part of the address."""
DRAINED = 1000
"""Pieces of a body (64 KiB or less each) that are thrown away."""


class Bounded:
    """Refuses bodies above 1 MiB (8 where files are handed in) before they are read, whatever their header says."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST.get(scope["path"].rpartition("/")[2], MAX_BODY_BYTES)
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > most:
            await _drain(receive)
            await answer(Request(scope), TooLargeError("body-too-large", most=most))(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                # The one error that FastAPI lets through unchanged from where it reads bodies.
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)


async def _drain(receive: Callable[[], Awaitable[Message]]) -> None:
    """Throw away what comes, so that whoever still sends gets to read the answer; not without end."""
    for _ in range(DRAINED):
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
