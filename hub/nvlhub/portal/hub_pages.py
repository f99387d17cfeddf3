"""JupyterHub's own pages in the reader's language: what their templates, in ``portal/hub``, are filled in with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2.runtime import Context
from markupsafe import Markup

from nvlhub.page import templates
from nvlhub.text import CHOSEN, LANGUAGES, chosen_language, say

TEMPLATES = Path(__file__).with_name("hub")
"""Directory that JupyterHub looks for templates in, before its own."""


def language_of(request: Any) -> str:
    """Return the reader's language for a request as Tornado has it; None: a start without a page."""
    if request is None:
        return chosen_language(None, None)
    chosen = request.cookies.get(CHOSEN)
    return chosen_language(chosen.value if chosen else None, request.headers.get("Accept-Language"))


def _request(context: Context) -> Any:
    # JupyterHub gives templates no request, but a method of what answers it.
    handler = getattr(context.get("static_url"), "__self__", None)
    return getattr(handler, "request", None)


@jinja2.pass_context
def _lang(context: Context) -> str:
    return language_of(_request(context))


@jinja2.pass_context
def _say(context: Context, message: str, **members: object) -> str:
    return say(message, language_of(_request(context)), **members)


@jinja2.pass_context
def _here(context: Context) -> str:
    """Return the address of the page, for a link that comes back to it."""
    request = _request(context)
    return quote(str(request.uri), safe="") if request is not None else ""


def variables() -> dict[str, Any]:
    """Return the variables of the templates, for ``JupyterHub.template_vars``."""
    live = Markup(templates("nvlhub.portal").get_template("live.html").render())  # noqa: S704  # ours
    return {
        "say": _anybody(_say),
        "reader_language": _anybody(_lang),
        "reader_languages": LANGUAGES,
        "this_page": _anybody(_here),
        "live_parts": live,
    }


def _anybody(function: Callable[..., str]) -> Callable[[Any], Callable[..., str]]:
    """Return what JupyterHub calls with the user before it gives the answer to a template."""
    return lambda _user: function
