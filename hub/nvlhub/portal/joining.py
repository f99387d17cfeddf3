"""The pages of learners: a field for a code, and their seat. Small, without scripts, and whole on a bad line."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from nvlhub.api import Doors, lang_of
from nvlhub.api.seats import Run, try_code
from nvlhub.dates import shown
from nvlhub.errors import BadInputError, NotAllowedError, NotFoundError, NvlhubError, TooManyError
from nvlhub.explain import problem
from nvlhub.forms import OwnSeat, SeatName
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.visitor import Visitor

SOON, LATER = 4, 60
"""Seconds after which the page of a seat comes again: while its server starts, and afterwards."""
SPREAD = 4
"""Seats come again a little apart from each other: a class starts in one moment."""

Text = Annotated[str, Form(max_length=200)]
Asked = Annotated[str, Query(max_length=100)]


class Joining:
    """Shows and takes what learners send; what may be is decided by the registry."""

    def __init__(self, doors: Doors, login: Login, site: Site) -> None:
        self._doors = doors
        self._joining = doors.registry.joining
        self._login = login
        self._site = site

    # --- the code ---------------------------------------------------------------------------------------------

    def form(self, request: Request, code: Asked = "") -> Response:
        """Return the page with the field."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        return self._form(who, request, code)

    def _form(self, who: Visitor, request: Request, code: str, error: NvlhubError | None = None) -> Response:
        lang = lang_of(request)
        seats = self._joining.mine(who)
        found = self._site.page(
            "join.html", lang, error.status if error else 200, here="join", who=who, code=code[:40], seats=seats,
            error=problem(error, lang).detail if error else "", shown=shown,
        )  # fmt: skip
        if isinstance(error, TooManyError):
            found.headers["Retry-After"] = str(error.members["wait"])
        return found

    async def join(self, request: Request, code: Text = "", csrf: Text = "") -> Response:
        """Take a code; a right one leads to the seat."""
        # Who it is may have to be asked of the hub; meanwhile others are answered.
        try:
            who = await run_in_threadpool(self._login.visitor, request)
        except LoginNeededError:
            return self._login.begin(request, urlencode({"code": code[:40]}))
        self._own_form(who, csrf)
        try:
            seat = await try_code(self._doors, who, code[:40])
        except NvlhubError as error:
            return await run_in_threadpool(self._form, who, request, code, error)
        return RedirectResponse(f"{self._site.prefix}seat?run={seat.run}", 303)

    # --- the seat ---------------------------------------------------------------------------------------------

    def seat(
        self, request: Request, run: Annotated[int, Query(ge=0, le=2**53)] = 0, edit: Asked = "", still: Asked = ""
    ) -> Response:
        """Return the page of the visitor's seat in a run, or in the one that is next."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        try:
            seat = self._joining.here(who, run or self._next(who))
        except NotFoundError:
            return RedirectResponse(f"{self._site.prefix}join", 303)
        return self._page(who, seat, request, edit=edit == "name", still=bool(still))

    def _next(self, who: Visitor) -> int:
        return next((int(seat.run) for seat in self._joining.mine(who)), 0)

    def _page(
        self, who: Visitor, seat: OwnSeat, request: Request, error: NvlhubError | None = None, *, edit: bool = False,
        still: bool = False, sent: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:  # fmt: skip
        lang = lang_of(request)
        # The name is asked for once; a form that somebody writes in does not go away under their hands.
        over = seat.state == "over"
        asks = not seat.certificate and not over and (edit or not (seat.name or seat.name_latin) or error is not None)
        refresh = 0 if asks or still or over else LATER
        # Who is on the page gets their server at once, however long before the start; after the end none is started.
        if refresh and (seat.state == "starting" or (seat.state == "waiting" and seat.now < seat.ends)):
            refresh = SOON + seat.seat % SPREAD
        found = self._site.page(
            "seat.html", lang, error.status if error else 200, here=f"seat?run={seat.run}", who=who, seat=seat, asks=asks,
            refresh=refresh, still=still, error=problem(error, lang).detail if error else "", shown=shown,
            left=max(0, seat.ends - seat.now), sent={"name": seat.name, "name_latin": seat.name_latin, **sent},
        )  # fmt: skip
        if refresh:
            found.headers["Refresh"] = str(refresh)
        return found

    def hand(self, request: Request, run: Run, up: Text = "", csrf: Text = "") -> Response:
        """Raise or lower the visitor's hand."""
        return self._do(request, csrf, run, lambda who: self._joining.hand(who, run, up=up == "1"))

    def name(
        self, request: Request, run: Run, name: Text = "", name_latin: Text = "", csrf: Text = ""
    ) -> Response:  # fmt: skip
        """Take the name for the certificate."""
        told = {"name": name, "name_latin": name_latin}
        return self._do(request, csrf, run, lambda who: self._joining.rename(who, run, _name(told)), told)

    def _do(
        self, request: Request, csrf: str, run: int, what: Callable[[Visitor], Any],
        sent: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:  # fmt: skip
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return RedirectResponse(f"{self._site.prefix}seat?run={run}", 303)
        self._own_form(who, csrf)
        try:
            what(who)
        except NotFoundError:
            return RedirectResponse(f"{self._site.prefix}join", 303)
        except NvlhubError as error:
            return self._page(who, self._joining.here(who, run), request, error, sent=sent)
        return RedirectResponse(f"{self._site.prefix}seat?run={run}", 303)

    def _own_form(self, who: Visitor, csrf: str) -> None:
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, prefix = APIRouter(include_in_schema=False), self._site.prefix
        router.add_api_route(f"{prefix}join", self.form, methods=["GET"])
        router.add_api_route(f"{prefix}join", self.join, methods=["POST"])
        router.add_api_route(f"{prefix}seat", self.seat, methods=["GET"])
        router.add_api_route(f"{prefix}seat/{{run}}/hand", self.hand, methods=["POST"])
        router.add_api_route(f"{prefix}seat/{{run}}/name", self.name, methods=["POST"])
        return router


def _name(told: dict[str, str]) -> SeatName:
    """Return the name that a form means. Raises `BadInputError` naming the field."""
    try:
        return SeatName(**{field: value.strip() for field, value in told.items()})
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise BadInputError("seat-name-bad", field=field) from None
