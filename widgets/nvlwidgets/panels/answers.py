"""How every answer of this process looks: headers that close what is not needed, and errors that can be read.

Bokeh and JupyterHub bring their own request handlers; what they have in common is Tornado's base class, and its two hooks
are set here once for all of them.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.web import RequestHandler

from nvlhub.text import CHOSEN, chosen_language
from nvlwidgets.markup import markup

_CROSS_ORIGIN = ("Origin", "Headers", "Credentials", "Methods")


def _policy(host: str) -> str:
    """Return what a page may load and talk to: this site, nothing else. Bokeh needs inline scripts, eval and blobs."""
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{host} wss://{host} data: blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


def harden(handler: RequestHandler) -> None:
    """Set the headers of an answer; take away those by which Bokeh lets other sites read it."""
    handler.set_header("Content-Security-Policy", _policy(handler.request.host))
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header("Referrer-Policy", "same-origin")
    handler.set_header("X-Frame-Options", "DENY")
    for name in _CROSS_ORIGIN:
        handler.clear_header(f"Access-Control-Allow-{name}")


def language_of(handler: RequestHandler) -> str:
    """Return the language that somebody chose, else that of the browser."""
    return chosen_language(handler.get_cookie(CHOSEN), handler.request.headers.get("Accept-Language"))


def _message(handler: RequestHandler, status: int) -> str:
    if isinstance(handler, HubOAuthCallbackHandler):
        return "panels-login-lost"
    return {403: "panels-not-yours", 404: "panels-no-page", 503: "panels-no-portal"}.get(status, "panels-failed")


def refusal(handler: RequestHandler, status: int, **_more: Any) -> None:
    """Answer with a readable page what may not be seen, does not exist, or went wrong."""
    harden(handler)
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    prefix = handler.application.prefix  # type: ignore[attr-defined]  # Bokeh's application has one
    handler.finish(markup("refusal.html", language_of(handler), prefix=prefix, message=_message(handler, status)))


def install() -> None:
    """Make it so for all handlers of this process, ours and others'."""
    RequestHandler.set_default_headers = harden  # type: ignore[method-assign,assignment]
    RequestHandler.write_error = refusal  # type: ignore[method-assign,assignment]
