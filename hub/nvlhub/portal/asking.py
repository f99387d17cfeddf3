"""The page on which projects ask for GPU-hours, and on which officers decide."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError

from nvlhub.api import lang_of
from nvlhub.api.doors import Order
from nvlhub.errors import BadInputError, NotAllowedError, NvlhubError
from nvlhub.explain import problem
from nvlhub.flow.awarding import RequestKind
from nvlhub.forms import NewRequest, ProjectView, RequestView, Review
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.registry import Registry
from nvlhub.store import LEADS
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR

Body = TypeVar("Body", bound=BaseModel)
Text = Annotated[str, Form(max_length=4000)]
Short = Annotated[str, Form(max_length=100)]
SHOWN = 100
"""Requests on the page."""


class Asking:
    """Shows requests and passes on what is sent; what may be is decided by the registry."""

    def __init__(self, registry: Registry, login: Login, site: Site, contact: str) -> None:
        self._registry = registry
        self._login = login
        self._site = site
        self._prefix = site.prefix
        self._zone = ZoneInfo(site.zone)
        self._contact = contact

    def show(self, request: Request, revise: Annotated[int, Query(ge=0, le=2**53)] = 0) -> Response:
        """Return the page; the form filled in with request `revise`, to be sent again."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        sent = again(*self._registry.awards.request(who, revise), self._zone) if revise else {}
        return self._page(who, lang_of(request), None, **sent)

    def _page(self, who: Visitor, lang: str, error: NvlhubError | None = None, **sent: str) -> Response:
        me = self._registry.directory.me(who)
        requests, total = self._registry.awards.requests(who, per_page=SHOWN, newest=True)
        led = {project.slug for project in me.projects if project.role in LEADS}
        wide = who.admin or me.officer_of
        return self._site.page(
            "asking.html", lang, status=error.status if error else 200, here="more", who=who,
            sent={**dict.fromkeys(("number", "match", *NewRequest.model_fields), ""), **sent},
            error=problem(error, lang).detail if error else "", kinds=list(RequestKind),
            contact=self._contact or say("more-contact-unset", lang), led=self._led(who, led),
            awards=[award for award in self._registry.awards.awards(who, per_page=200)[0] if award.project in led],
            pools=self._registry.capacity.pools(), requests=requests, total=total,
            decides={request.id for request in requests if wide and self._decides(who, me.officer_of, request)},
            budgets=self._budgets(who) if wide else {}, per_hour=MILLI_PER_GPU_HOUR,
        )  # fmt: skip

    def _led(self, who: Visitor, led: set[str]) -> list[ProjectView]:
        return [project for project in self._registry.directory.projects(who, per_page=200)[0] if project.slug in led]

    def _decides(self, who: Visitor, officer_of: list[str], request: RequestView) -> bool:
        return request.state == "submitted" and (who.admin or request.programme in officer_of)

    def _budgets(self, who: Visitor) -> dict[tuple[str, str], int]:
        """Return what can still be awarded, by programme and pool."""
        programmes, _ = self._registry.directory.programmes(who, 1, 200)
        return {
            (programme.slug, budget.pool): budget.granted - budget.awarded
            for programme in programmes
            for budget in programme.budgets
        }

    # --- what is sent -----------------------------------------------------------------------------------------

    def ask(
        self, request: Request, project: Short = "", kind: Short = "", pool: Short = "", award: Short = "",
        gpu_hours: Short = "", starts: Short = "", ends: Short = "", cap: Short = "", reasons: Text = "",
        number: Short = "", match: Short = "", csrf: Short = "",
    ) -> Response:  # fmt: skip
        """Take a request of a project's, or one that was sent back, with its changes."""
        sent = {
            "project": project, "kind": kind, "pool": pool, "award": award, "gpu_hours": gpu_hours, "starts": starts,
            "ends": ends, "cap": cap, "reasons": reasons,
        }  # fmt: skip
        awards = self._registry.awards
        if number:
            one = _number("number", number)
            sent_again = {**sent, "number": number, "match": match}
            return self._do(
                request, csrf, lambda who: awards.resubmit(who, one, asked(sent, self._zone), match), sent_again
            )
        return self._do(request, csrf, lambda who: awards.ask(who, asked(sent, self._zone)), sent)

    def withdraw(self, request: Request, number: Order, csrf: Short = "") -> Response:
        """Take a request back."""
        return self._do(request, csrf, lambda who: self._registry.awards.withdraw(who, number), {})

    def review(
        self, request: Request, number: Order, verdict: Short = "", gpu_hours: Short = "", reason: Text = "",
        csrf: Short = "",
    ) -> Response:  # fmt: skip
        """Take an officer's decision."""
        sent = {"verdict": verdict, "gpu_hours": gpu_hours if verdict == "approve" else "", "reason": reason}
        return self._do(request, csrf, lambda who: self._registry.awards.review(who, number, reviewed(sent)), {})

    def _do(
        self, request: Request, csrf: str, what: Callable[[Visitor], Any], sent: dict[str, str]
    ) -> Response:  # fmt: skip
        """Do something for a visitor whose own page sent the form; show what was sent again when it cannot be."""
        who = self._login.visitor(request)
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")
        try:
            what(who)
        except NvlhubError as error:
            return self._page(who, lang_of(request), error, **sent)
        return RedirectResponse(f"{self._prefix}more", 303)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(f"{self._prefix}more", self.show, methods=["GET"])
        router.add_api_route(f"{self._prefix}more", self.ask, methods=["POST"])
        router.add_api_route(f"{self._prefix}more/{{number}}/withdraw", self.withdraw, methods=["POST"])
        router.add_api_route(f"{self._prefix}more/{{number}}/review", self.review, methods=["POST"])
        return router


def asked(sent: dict[str, str], zone: ZoneInfo) -> NewRequest:
    """Return the request that a form means. Raises `BadInputError` naming the field."""
    values = _filled(sent)
    values |= {name: _number(name, values[name]) for name in ("gpu_hours", "cap") if name in values}
    # Whole days of the site's zone: from the beginning of the first to the end of the last.
    if "starts" in values:
        values["starts"] = _day("starts", values["starts"], zone)
    if "ends" in values:
        values["ends"] = _day("ends", values["ends"], zone, days=1)
    return _valid(NewRequest, values)


def again(request: RequestView, match: str, zone: ZoneInfo) -> dict[str, str]:
    """Return a request as its form was filled in, with the entity tag that it was read with."""
    told = {
        "pool": request.pool if request.kind in {"new", "renewal", "transfer"} else "", "award": request.award,
        "gpu_hours": request.amount // MILLI_PER_GPU_HOUR or None, "cap": request.cap,
        "starts": request.starts and f"{datetime.fromtimestamp(request.starts, zone):%Y-%m-%d}",
        "ends": request.ends and f"{datetime.fromtimestamp(request.ends - 1, zone):%Y-%m-%d}",
        "project": request.project, "kind": request.kind.value, "reasons": request.reasons, "number": request.id,
        "match": match,
    }  # fmt: skip
    return {name: "" if value is None else str(value) for name, value in told.items()}


def reviewed(sent: dict[str, str]) -> Review:
    """Return the decision that a form means. Raises `BadInputError` naming the field."""
    values = _filled(sent)
    if "gpu_hours" in values:
        values["gpu_hours"] = _number("gpu_hours", values["gpu_hours"])
    return _valid(Review, values)


def _filled(sent: dict[str, str]) -> dict[str, Any]:
    """Return the fields that are not empty, with line ends as everybody else writes them."""
    return {name: value.replace("\r\n", "\n").strip() for name, value in sent.items() if value.strip()}


def _valid(model: type[Body], values: dict[str, Any]) -> Body:
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "form"
        raise BadInputError("invalid-input", field=field, allowed_text=first["msg"]) from None


def _number(field: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise BadInputError("whole-number", field=field)
    return int(text)


def _day(field: str, text: str, zone: ZoneInfo, days: int = 0) -> int:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone) + timedelta(days=days)
        return int(day.timestamp())
    except (ValueError, OverflowError):
        raise BadInputError("day-wanted", field=field) from None
