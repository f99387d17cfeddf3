"""The portal's REST API as widgets ask it: with the server's own token, with patience that has an end, in words for people."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx

from nvlhub.text import say
from nvlhub.trust import trusted
from nvlkernels.client import PortalDownError, PortalError, answer, settings, spoken
from nvlwidgets.feed import Topic

T = TypeVar("T")
TIMEOUT = httpx.Timeout(5.0, connect=3.0)
PATIENCE = 10.0
"""Seconds that an answer may take as a whole."""
LARGEST = 8 * 1024 * 1024
"""Bytes of an answer that are read at most."""


class UnreadError(RuntimeError):
    """There is no answer that can be used; the text is for the user."""


def call(method: str, path: str, **more: Any) -> Any:
    """Send a call; return the JSON of its answer. Raises `PortalError` (it said no) or `UnreadError`."""
    base, headers = settings()
    lang = headers["Accept-Language"]
    until = time.monotonic() + PATIENCE
    body = bytearray()
    try:
        with httpx.stream(method, base + path, headers=headers, timeout=TIMEOUT, verify=trusted(), **more) as got:
            for part in got.iter_bytes():
                body += part
                if len(body) > LARGEST or time.monotonic() > until:
                    raise UnreadError(say("widget-away", lang))
    except (httpx.HTTPError, httpx.InvalidURL):
        raise UnreadError(say("widget-away", lang)) from None
    try:
        return answer(httpx.Response(got.status_code, content=bytes(body), request=got.request))
    except PortalDownError:
        raise UnreadError(say("widget-away", lang)) from None
    except ValueError:
        raise UnreadError(say("widget-rubbish", lang)) from None


def portal(path: str, read: Callable[[Any], T], every: float = 5.0, **query: str) -> Topic:
    """Return a topic of the portal. `read` makes something of its JSON; what it cannot use counts as no answer."""
    where = path + (f"?{urlencode(query)}" if query else "")

    def fetch() -> T:
        found = call("GET", where)
        try:
            return read(found)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise UnreadError(say("widget-rubbish", spoken())) from None

    return Topic(where, fetch, every)


def refused(error: Exception | None) -> bool:
    """Tell whether the portal itself said no, e.g. because it has no such page."""
    return isinstance(error, PortalError)
