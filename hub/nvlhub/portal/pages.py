"""The portal's first page (my leases, my awards, what is free), and what it puts into JupyterHub's pages."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from nvlhub.api import lang_of
from nvlhub.desk import Desk
from nvlhub.errors import NotAllowedError
from nvlhub.forms import AwardView
from nvlhub.logs import about
from nvlhub.portal.cards import by_project
from nvlhub.portal.floor_plan import floor_plan, legend
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.registry import Registry
from nvlhub.text import CHOSEN, LANGUAGES
from nvlhub.visitor import Visitor
from nvlhub.wire import LeaseView

YEAR = 365 * 24 * 3600
SHOWN = 20
"""Ended leases on the page."""
GLANCE = 8
"""Leases on JupyterHub's home page."""


def _families(leases: list[LeaseView]) -> list[LeaseView]:
    """Put the leases of workers below that of their kernel; the order is otherwise kept."""
    heads = {lease.id: place for place, lease in enumerate(leases)}
    return sorted(leases, key=lambda lease: (heads.get(lease.parent, heads[lease.id]), lease.parent != ""))


class _Pages:
    def __init__(self, desk: Desk, registry: Registry, login: Login, site: Site) -> None:
        self._desk = desk
        self._registry = registry
        self._login = login
        self._site = site

    def home(self, request: Request) -> Response:
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        lang = lang_of(request)
        active, _ = self._desk.leases(who, user=who.name, state="active", per_page=200, lang=lang)
        domains = self._registry.capacity.domains(who)
        ended, ended_total = self._desk.leases(who, user=who.name, state="ended", per_page=SHOWN, lang=lang)
        return self._site.page(
            "home.html", lang, now=self._desk.clock.now(), who=who, active=_families(active), ended=ended, ended_total=ended_total,
            awards=self._awards(who), offers=self._desk.offers(who.name, lang),
            announcements=self._registry.announcements.current(who, lang),
            picture=floor_plan(domains, lang), marks=legend(lang), free=sum(domain.free for domain in domains),
            gpus=sum(domain.gpus for domain in domains),
            outside=sum(domain.outside for domain in domains), away=self._desk.board.away,
            simulated=self._desk.engine.simulated, floor=self._desk.engine.gpu_model,
            teaches=self._registry.courses.concern(who),
        )  # fmt: skip

    def home_fragment(self, request: Request) -> Response:
        """Tell JupyterHub's home page what runs, what is left and what is announced."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        lang = lang_of(request)
        leases, total = self._desk.leases(who, user=who.name, state="active", per_page=GLANCE, lang=lang)
        paying = [award for award in self._awards(who) if award.state.value == "active" and award.left > 0]
        return self._site.fragment(
            "home_fragment.html", lang, who.name, leases=_families(leases), total=total,
            left=sum(award.left for award in paying), projects=len({award.project for award in paying}),
            announcements=self._registry.announcements.current(who, lang), away=self._desk.board.away,
            teaches=self._registry.courses.concern(who),
        )  # fmt: skip

    def offers_fragment(self, request: Request) -> Response:
        """Tell JupyterHub's spawn page what can be started now."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        lang = lang_of(request)
        active, _ = self._desk.leases(who, user=who.name, state="active", per_page=200, lang=lang)
        waiting = [lease for lease in active if lease.alone and lease.kept_until]
        return self._site.fragment(
            "offers.html", lang, who.name, waiting=waiting, projects=by_project(self._desk.offers(who.name, lang)), age=0,
            announcements=self._registry.announcements.current(who, lang), away=self._desk.board.away,
        )  # fmt: skip

    def _awards(self, who: Visitor) -> list[AwardView]:
        """Return the awards of the visitor's own projects, whatever else they may see."""
        mine = {project.slug for project in self._registry.directory.me(who).projects}
        awards, _ = self._registry.awards.awards(Visitor(who.name), per_page=200)
        return [award for award in awards if award.project in mine]

    def language(self, to: str, next: str = "") -> Response:  # noqa: A002  # the name in the address
        """Remember the language that somebody chose, and go back to a page of this site."""
        local = next.startswith("/") and not next.startswith("//") and "\\" not in next and next.isprintable()
        response = RedirectResponse(next if local else self._site.prefix, 303)
        if to in LANGUAGES:
            response.set_cookie(CHOSEN, to, max_age=YEAR, path="/", samesite="lax")
        return response

    def end(self, request: Request, lease_id: str, csrf: Annotated[str, Form(max_length=100)] = "") -> Response:
        who = self._login.visitor(request)
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")
        with about(lease_id):
            self._desk.end(who, lease_id)
        return RedirectResponse(self._site.prefix, 303)


def routes(desk: Desk, registry: Registry, login: Login, site: Site) -> APIRouter:
    """Return the routes of the pages."""
    pages, prefix = _Pages(desk, registry, login, site), site.prefix
    router = APIRouter(include_in_schema=False)
    router.add_api_route(prefix, pages.home, methods=["GET"])
    router.add_api_route(f"{prefix}fragments/home", pages.home_fragment, methods=["GET"])
    router.add_api_route(f"{prefix}fragments/offers", pages.offers_fragment, methods=["GET"])
    router.add_api_route(f"{prefix}language", pages.language, methods=["GET"])
    router.add_api_route(f"{prefix}leases/{{lease_id}}/end", pages.end, methods=["POST"])
    return router
