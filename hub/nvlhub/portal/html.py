"""How the portal's pages are filled in: words, amounts and times in the reader's language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse

from nvlhub.explain import duration
from nvlhub.page import HEADERS, templates
from nvlhub.text import say
from nvlhub.wire import gpu_hours

_TEMPLATES = templates("nvlhub.portal")


def render(name: str, lang: str, **values: Any) -> str:
    """Return a page in the reader's language."""

    def word(message: str, **members: object) -> str:
        return say(message, lang, **members)

    return _TEMPLATES.get_template(name).render(
        _=word, lang=lang, hours=gpu_hours, span=lambda seconds: duration(seconds, lang), clock=_clock, **values
    )


def page(name: str, lang: str, status: int = 200, **values: Any) -> Response:
    """Return a page as an answer."""
    return HTMLResponse(render(name, lang, **values), status, headers={**HEADERS, "Content-Language": lang})


LAST = 253_402_300_799
"""The last second that a date can be told of."""


def _clock(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(min(at, LAST), UTC):%Y-%m-%d %H:%M:%S} UTC"
