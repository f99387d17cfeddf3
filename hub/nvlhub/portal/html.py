"""How the portal's pages are made: templates, escaping, and headers that let nothing foreign in."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import Response
from fastapi.responses import HTMLResponse

from nvlhub.explain import duration
from nvlhub.text import say
from nvlhub.wire import gpu_hours

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (files("nvlhub.portal") / "templates" / name).read_text(encoding="utf-8")
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


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


def _clock(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
