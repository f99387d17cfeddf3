"""The pages of those who teach, in a browser without scripts and without a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.portal.courses_pages import CoursesPages
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.planning import PlanningPages
from nvlhub.portal.problem_pages import ProblemPages
from nvlhub.portal.roster_page import RosterPage
from nvlhub.portal.teaching import TeachingPages
from nvlhub.visitor import Visitor
from tests.portal_kit import Kit

PREFIX = "/services/portal/"


class Login:
    """Knows one person; without one, everybody is sent to the hub."""

    who: Visitor | None = None

    def visitor(self, request: Request) -> Visitor:
        if self.who is None:
            raise LoginNeededError("login-needed")
        return replace(self.who, csrf="own")

    def begin(self, request: Request) -> Response:
        return RedirectResponse("/hub/login")


def site(kit: Kit, login: Login) -> FastAPI:
    place = Site(PREFIX, "/hub/", "", "Asia/Taipei")
    app = make_app(Doors(kit.desk, kit.registry, login.visitor), PREFIX)
    app.add_middleware(ProblemPages, site=place)
    for kind in (CoursesPages, PlanningPages, RosterPage):
        app.include_router(kind(kit.registry, login, place).routes())  # type: ignore[arg-type]
    app.include_router(TeachingPages(kit.registry, login, place, "https://hub.example/").routes())  # type: ignore[arg-type]
    return app


class Visit:
    """Somebody at these pages."""

    def __init__(self, http: TestClient, login: Login) -> None:
        self.http = http
        self.login = login
        self.text = ""
        self.status = 0

    def be(self, who: Visitor) -> Visit:
        self.login.who = who
        return self

    def see(self, path: str, **headers: str) -> str:
        return self._took(self.http.get(PREFIX + path, headers=headers))

    def send(self, path: str, files: list[tuple[str, tuple[str, bytes]]] | None = None, **fields: str) -> str:
        """Send a form of one's own page; return where it leads, or what is on the page then."""
        answer = self.http.post(PREFIX + path, data={"csrf": "own", **fields}, files=files)
        self._took(answer)
        return str(answer.headers.get("location", "")).removeprefix(PREFIX) or self.text

    def _took(self, answer: Response) -> str:
        self.status, self.text = answer.status_code, answer.text  # type: ignore[attr-defined]
        return self.text

    def fault(self) -> str:
        """Return what the form is refused for, in plain words."""
        found = re.search(r'<p class="error" role="alert" id="fault">(.*?)</p>', self.text, re.DOTALL)
        return unescape(re.sub(r"<[^>]*>", "", found[1])) if found else ""

    def form(self) -> dict[str, str]:
        """Return what the fields of the page hold."""
        found = dict(re.findall(r'<input[^>]*? name="(\w+)"[^>]*? value="([^"]*)"', self.text))
        found |= dict(re.findall(r'<textarea[^>]*? name="(\w+)"[^>]*>([^<]*)</textarea>', self.text))
        for name, options in re.findall(r'<select[^>]*? name="(\w+)"[^>]*>(.*?)</select>', self.text, re.DOTALL):
            chosen = re.search(r'<option value="([^"]*)" selected', options)
            found[name] = chosen[1] if chosen else re.findall(r'<option value="([^"]*)"', options)[0]
        return {name: unescape(value) for name, value in found.items()}

    def wrong(self) -> list[str]:
        """Return the fields that are marked as wrong."""
        return re.findall(r'id="f-(\w+)"[^>]*aria-describedby="fault[^>]*aria-invalid="true"', self.text)


def visiting(kit: Kit) -> Iterator[Visit]:
    login = Login()
    with TestClient(site(kit, login), follow_redirects=False) as http:
        yield Visit(http, login)
