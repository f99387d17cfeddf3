"""What every page of the portal has in common: templates that escape, and headers that allow no scripts."""

from __future__ import annotations

from importlib.resources import files

import jinja2

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def templates(package: str) -> jinja2.Environment:
    """Return the templates that lie in the folder ``templates`` of a package."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(package) / "templates" / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
