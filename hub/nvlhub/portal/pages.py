"""The portal's plain pages: my leases, my awards, what is free; and whom to ask for more."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from nvlhub.api import lang_of
from nvlhub.desk import Desk
from nvlhub.errors import NotAllowedError
from nvlhub.explain import duration
from nvlhub.logs import about
from nvlhub.portal.floor_plan import floor_plan
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.registry import Registry
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import LeaseView, gpu_hours

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (files("nvlhub.portal") / "templates" / name).read_text(encoding="utf-8")
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
SHOWN = 20
"""Ended leases on the page."""


def render(name: str, lang: str, **values: Any) -> str:
    """Return a page in the reader's language."""

    def word(message: str, **members: object) -> str:
        return say(message, lang, **members)

    return _TEMPLATES.get_template(name).render(
        _=word, lang=lang, hours=gpu_hours, span=lambda seconds: duration(seconds, lang), clock=_clock, **values
    )


def _clock(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _families(leases: list[LeaseView]) -> list[LeaseView]:
    """Put the leases of workers below that of their kernel; the order is otherwise kept."""
    heads = {lease.id: place for place, lease in enumerate(leases)}
    return sorted(leases, key=lambda lease: (heads.get(lease.parent, heads[lease.id]), lease.parent != ""))


class _Pages:
    def __init__(self, desk: Desk, registry: Registry, login: Login, prefix: str, contact: str) -> None:
        self._desk = desk
        self._registry = registry
        self._login = login
        self._prefix = prefix
        self._contact = contact

    def home(self, request: Request) -> Response:
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        lang = lang_of(request)
        active, _ = self._desk.leases(who, user=who.name, state="active", per_page=200, lang=lang)
        ended, ended_total = self._desk.leases(who, user=who.name, state="ended", per_page=SHOWN, lang=lang)
        return self._page(
            "home.html", lang, who=who, active=_families(active), ended=ended, ended_total=ended_total,
            awards=self._registry.awards.awards(Visitor(who.name), per_page=200)[0], offers=self._desk.offers(who.name, lang),
            picture=floor_plan(self._registry.capacity.domains(who), lang), simulated=self._desk.engine.simulated,
            floor=self._desk.engine.gpu_model,
        )  # fmt: skip

    def more(self, request: Request) -> Response:
        contact = self._contact or say("more-contact-unset", lang_of(request))
        return self._page("more.html", lang_of(request), contact=contact)

    def end(self, request: Request, lease_id: str, csrf: Annotated[str, Form(max_length=100)] = "") -> Response:
        who = self._login.visitor(request)
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")
        with about(lease_id):
            self._desk.end(who, lease_id)
        return RedirectResponse(self._prefix, 303)

    def _page(self, name: str, lang: str, **values: Any) -> Response:
        html = render(name, lang, prefix=self._prefix, **values)
        return HTMLResponse(html, headers={**_HEADERS, "Content-Language": lang})


def routes(desk: Desk, registry: Registry, login: Login, prefix: str, contact: str) -> APIRouter:
    """Return the routes of the pages."""
    pages = _Pages(desk, registry, login, prefix, contact)
    router = APIRouter(include_in_schema=False)
    router.add_api_route(prefix, pages.home, methods=["GET"])
    router.add_api_route(f"{prefix}more", pages.more, methods=["GET"])
    router.add_api_route(f"{prefix}leases/{{lease_id}}/end", pages.end, methods=["POST"])
    return router
