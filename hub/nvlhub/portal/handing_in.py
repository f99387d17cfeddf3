"""The page of a seat on which a learner hands in, and reads what came of it: plain HTML, on any device."""

from __future__ import annotations

import base64
import secrets
from fnmatch import fnmatchcase
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from nvlhub.api import lang_of
from nvlhub.api.doors import Order
from nvlhub.errors import BadInputError, NotAllowedError, NvlhubError
from nvlhub.explain import problem
from nvlhub.forms import NewAttempt
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.registry import Registry
from nvlhub.visitor import Visitor

REFRESH = 5
"""Seconds after which the page looks again while an attempt is being judged."""
SHOWN = 200


class HandingIn:
    """Shows what is asked for and what was handed in; what may be is decided by the registry."""

    def __init__(self, registry: Registry, login: Login, site: Site) -> None:
        self._assessing = registry.assessing
        self._login = login
        self._site = site

    def show(self, request: Request, run: Order) -> Response:
        """Return the page."""
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        return self._page(who, lang_of(request), run)

    def _page(self, who: Visitor, lang: str, run: int, error: NvlhubError | None = None) -> Response:
        asked = self._assessing.asked(who, run)
        found, _ = self._assessing.mine(who, lang, 1, SHOWN)
        attempts = [one for one in found if one.run == str(run)]
        waits = any(one.state in {"queued", "running"} for one in attempts)
        return self._site.page(
            "attempts.html", lang, status=error.status if error else 200, here=f"seat/{run}/attempts", who=who, asked=asked,
            attempts=attempts, waits=waits, refresh=REFRESH if waits else 0, announcements=(),
            error=problem(error, lang).detail if error else "",
        )  # fmt: skip

    def take(
        self, request: Request, run: Order, files: Annotated[list[UploadFile], File(max_length=200)],
        csrf: Annotated[str, Form(max_length=100)] = "",
    ) -> Response:  # fmt: skip
        """Take files that were chosen on the page."""
        who, lang = self._login.visitor(request), lang_of(request)
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")
        try:
            wanted = self._assessing.asked(who, run).files
            told = {placed(file.filename or "", wanted): base64.b64encode(file.file.read()).decode() for file in files}
            self._assessing.hand_in(who, _attempt(run, told, wanted), lang)
        except NvlhubError as error:
            return self._page(who, lang, run, error)
        return RedirectResponse(f"{self._site.prefix}seat/{run}/attempts", 303)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(f"{self._site.prefix}seat/{{run}}/attempts", self.show, methods=["GET"])
        router.add_api_route(f"{self._site.prefix}seat/{{run}}/attempts", self.take, methods=["POST"])
        return router


def placed(name: str, wanted: list[str]) -> str:
    """Return where a file belongs: a browser tells its name alone, without folders."""
    places = [one for one in wanted if "*" not in one and one.rpartition("/")[2] == name]
    if not places:
        folders = ((one.rpartition("/")[0], one.rpartition("/")[2]) for one in wanted if "*" in one)
        places = [f"{at}/{name}" for at, last in folders if at and "*" not in at and fnmatchcase(name, last)]
    return places[0] if len(places) == 1 else name


def _attempt(run: int, files: dict[str, str], wanted: list[str]) -> NewAttempt:
    try:
        return NewAttempt(run=run, files=files)
    except ValidationError:
        name = next(iter(files), "")
        raise BadInputError("attempt-unasked", field=name[:60] or "files", files=", ".join(wanted)) from None
