"""The pages of those who teach: their courses and runs, the board of a run, whether it is ready, what came of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import segno
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from nvlhub.api import lang_of
from nvlhub.api.board import Seat, results_file
from nvlhub.api.doors import Order
from nvlhub.dates import shown
from nvlhub.errors import BadInputError, NvlhubError
from nvlhub.explain import problem
from nvlhub.flow.tile import SeatState
from nvlhub.forms import (
    CourseView,
    ExtensionView,
    Helping,
    NewMessage,
    RunDecision,
    RunExtension,
    RunView,
    SeatExtension,
    TrayPlace,
)
from nvlhub.page import HEADERS
from nvlhub.places import where
from nvlhub.portal.html import Site
from nvlhub.portal.login import Login
from nvlhub.portal.markup import plain
from nvlhub.portal.paged import Paged, one_line, valid
from nvlhub.registry import Registry
from nvlhub.store import LEADS
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import gpu_hours

Short = Annotated[str, Form(max_length=40)]
Text = Annotated[str, Form(max_length=2000)]
Sort = Annotated[Literal["number", "help"], Query()]
SHOWN = 50
"""Runs on the page."""
SIGNS = {
    "free": "·", "warming": "◔", "ready": "○", "in-use": "▶", "idle": "…", "failed": "✗", "over": "■"
}  # fmt: skip
"""What stands before a state: no colour is told alone."""

_SCRIPT = plain("board_script.html")
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
POLICY = f"{HEADERS['Content-Security-Policy']}; script-src 'sha256-{_HASH}'; connect-src 'self'"
"""This one script may run, and ask this site; nothing else."""


class TeachingPages(Paged):
    """Shows runs and passes on what is sent; what may be is decided by the registry."""

    def __init__(self, registry: Registry, login: Login, site: Site, public_url: str) -> None:
        super().__init__(registry, login, site)
        self._boards = registry.boards
        self._public_url = public_url.rstrip("/")

    # --- courses and runs -------------------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        """Return the page of all that the visitor teaches or decides about."""
        return self._shown(request, lambda who: self._overview(who, lang_of(request)))

    def _overview(self, who: Visitor, lang: str, error: NvlhubError | None = None, **sent: str) -> Response:
        courses, _ = self._registry.courses.courses(who, 1, 200)
        runs, total = self._registry.runs.runs(who, per_page=SHOWN)
        asked, _ = self._registry.runs.runs(who, state="requested", per_page=SHOWN)
        # One by one: only then it is told whether there would be room.
        waiting = [self._registry.runs.run(who, int(run.id))[0] for run in asked]
        me = self._registry.directory.me(who)
        teaches = {run.id for run in (*runs, *waiting) if run.code}
        own = {project.slug for project in me.projects}
        decides = {
            run.id for run in waiting
            if run.project not in own and not self._named(courses, run, who) and (who.admin or run.id not in teaches)
        }  # fmt: skip
        counts: dict[str, int] = {}
        for run in runs:
            counts[run.course] = counts.get(run.course, 0) + 1
        return self._site.page(
            "teach.html", lang, error.status if error else 200, here="teach", who=who, courses=courses, runs=runs, total=total,
            waiting=waiting, teaches=teaches, decides=decides, counts=counts, at=shown, where=trays_of,
            error=problem(error, lang).detail if error else "", sent={"run": "", "reason": "", **sent},
            leads=who.admin or any(project.role in LEADS for project in me.projects),
        )  # fmt: skip

    def _named(self, courses: list[CourseView], run: RunView, who: Visitor) -> bool:
        return any(course.slug == run.course and who.name in course.instructors for course in courses)

    def decide(
        self, request: Request, run: Order, verdict: Short = "", reason: Text = "", csrf: Annotated[str, Form(max_length=100)] = ""
    ) -> Response:  # fmt: skip
        """Take the decision about a run."""
        who = self._own(request, csrf)
        told = {"approve": verdict == "approve", "reason": one_line(reason)}
        try:
            if verdict not in {"approve", "refuse"}:
                raise BadInputError("invalid-input", field="verdict", allowed_text="approve, refuse")
            self._registry.runs.decide(who, run, valid(RunDecision, told))
        except NvlhubError as error:
            return self._overview(who, lang_of(request), error, run=str(run), reason=reason[:500])
        return RedirectResponse(f"{self._prefix}teach", 303)

    # --- the board --------------------------------------------------------------------------------------------

    def board(
        self, request: Request, run: Order, sort: Sort = "number", pseudonyms: bool = False
    ) -> Response:  # as FastAPI reads an address
        """Return the board of a run; with `pseudonyms` nothing in it tells who somebody is."""
        return self._shown(request, lambda who: self._board(request, who, run, sort=sort, pseudonyms=pseudonyms))

    def _board(
        self, request: Request, who: Visitor, run: int, *, sort: str = "number", pseudonyms: bool = False,
        error: NvlhubError | None = None, told: tuple[str, ...] = (), extension: ExtensionView | None = None,
        minutes: int = 0,
    ) -> Response:  # fmt: skip
        lang = lang_of(request)
        values = self._seats(who, run, sort=sort, pseudonyms=pseudonyms)
        board = values["board"]
        address = f"{self._public_url}{self._prefix}join?code={board.run.code}"
        qr = segno.make(address, error="m", micro=False).svg_data_uri(scale=4, border=2)
        here = f"teach/{run}" + ("?pseudonyms=1" if pseudonyms else "")
        response = replace(self._site, zone=board.run.zone).page(
            "board.html", lang, error.status if error else 200, here=here, sort=sort, address=address,
            plain_address=address.partition("?")[0].partition("://")[2], qr=qr, at=shown, told=told, extension=extension,
            minutes=minutes, own=not pseudonyms and any(seat.user == who.name for seat in board.seats),
            error=problem(error, lang).detail if error else "",
            script=Markup("<script>{}</script>").format(Markup(_SCRIPT)), **values,  # noqa: S704  # our own file
        )  # fmt: skip
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def seats(
        self, request: Request, run: Order, sort: Sort = "number", pseudonyms: bool = False
    ) -> Response:  # as FastAPI reads an address
        """Return the tiles alone: what the page renews itself with."""
        who = self._login.visitor(request)
        values = self._seats(who, run, sort=sort, pseudonyms=pseudonyms)
        site = replace(self._site, zone=values["board"].run.zone)
        return site.fragment("board_seats.html", lang_of(request), "", **values)

    def _seats(self, who: Visitor, run: int, *, sort: str, pseudonyms: bool) -> dict[str, Any]:
        board = self._boards.board(who, run, sort=sort, pseudonyms=pseudonyms)
        return {
            "board": board, "visits": self._boards.visits, "pseudonyms": pseudonyms, "signs": SIGNS, "states": [state.value for state in SeatState],
            "percent": percent, "who": Visitor("") if pseudonyms else who,
        }  # fmt: skip

    # --- what is sent -----------------------------------------------------------------------------------------

    def seat(
        self, request: Request, run: Order, seat: Seat, do: Short = "", text: Text = "", minutes: Short = "", sure: Short = "",
        csrf: Annotated[str, Form(max_length=100)] = "",
    ) -> Response:  # fmt: skip
        """Do something with a seat. What ends a learner's work wants to be confirmed."""
        lang, boards = lang_of(request), self._boards
        deeds: dict[str, Callable[[Visitor], Any]] = {
            "help": lambda who: boards.help(who, run, seat, Helping()),
            "settled": lambda who: boards.help(who, run, seat, Helping(done=True)),
            "open": lambda who: boards.open(who, run, seat),
            "tell": lambda who: boards.tell(who, run, valid(NewMessage, {"text": text, "seat": seat})),
            "extend": lambda who: boards.extend_seat(
                who, run, seat, valid(SeatExtension, {"minutes": _minutes(minutes)}), lang
            ),
            "restart": lambda who: boards.restart(who, run, seat), "replace": lambda who: boards.replace(who, run, seat),
            "release": lambda who: boards.release(who, run, seat),
        }  # fmt: skip

        def deed(who: Visitor) -> Any:
            if do not in deeds:
                raise BadInputError("invalid-input", field="do", allowed_text=", ".join(deeds))
            if do in {"restart", "replace", "release"} and sure != "1":
                raise BadInputError("board-unsure", field="sure")
            return deeds[do](who)

        who = self._own(request, csrf)
        try:
            done = deed(who)
        except NvlhubError as error:
            return self._board(request, who, run, error=error)
        if do == "open":
            # No redirect: the server has another origin, and to follow one from a form is what the page's policy forbids.
            address = self._site.hub + done.path
            answer = self._board(request, who, run, told=(say("board-let-in", lang, address=address),))
            answer.headers["Refresh"] = f"0; url={address}"
            return answer
        if do == "extend":
            return self._board(request, who, run, told=self._extended(done, who, run, lang))
        return RedirectResponse(f"{self._prefix}teach/{run}", 303)

    def tell(
        self, request: Request, run: Order, text: Text = "", csrf: Annotated[str, Form(max_length=100)] = ""
    ) -> Response:
        """Tell everybody something."""
        return self._do(request, csrf, run, lambda who: self._boards.tell(who, run, valid(NewMessage, {"text": text})))

    def extend(
        self, request: Request, run: Order, do: Short = "", minutes: Short = "", asked: Short = "",
        csrf: Annotated[str, Form(max_length=100)] = "",
    ) -> Response:  # fmt: skip
        """Tell what more time would do, and to whom; give it once that was told."""
        who, lang = self._own(request, csrf), lang_of(request)
        try:
            count = _minutes(asked if do == "extend" else minutes)
            ask = valid(RunExtension, {"minutes": count, "dry_run": do != "extend"})
            found = self._boards.extend(who, run, ask, lang)
        except NvlhubError as error:
            return self._board(request, who, run, error=error)
        if not ask.dry_run:
            return self._board(request, who, run, told=self._extended(found, who, run, lang))
        told = self._asked(found, who, run, count, lang)
        return self._board(request, who, run, told=told, extension=found, minutes=count)

    def _asked(self, found: ExtensionView, who: Visitor, run: int, minutes: int, lang: str) -> tuple[str, ...]:
        if not found.fits:
            return (say("board-extend-not", lang, why=found.detail),)
        zone = self._registry.runs.run(who, run)[0].zone
        lines = [
            say(
                "board-extend-fits", lang, minutes=str(minutes), ends=shown(found.ends, zone), price=gpu_hours(found.price)
            )
        ]  # fmt: skip
        if found.new_trays:
            lines.append(say("board-extend-trays", lang))
        lines.append(say("board-extend-displaced" if found.displaced else "board-extend-nobody", lang))
        lines += [
            say("board-extend-lease", lang, gpus=str(one.gpus), user=one.user, project=one.project, until=shown(one.until, zone))
            for one in found.displaced
        ]  # fmt: skip
        return tuple(lines)

    def _extended(self, found: ExtensionView, who: Visitor, run: int, lang: str) -> tuple[str, ...]:
        zone = self._registry.runs.run(who, run)[0].zone
        done = say("board-extended", lang, ends=shown(found.ends, zone), extended=str(found.extended))
        refused = [f"{one.lease[:8]}: {one.detail}" for one in found.refused]
        more = (found.detail,) if found.detail else ()
        return (done, *more, *((say("board-extend-refused", lang), *refused) if refused else ()))

    def end(
        self, request: Request, run: Order, sure: Short = "", csrf: Annotated[str, Form(max_length=100)] = ""
    ) -> Response:
        """End the class."""

        def deed(who: Visitor) -> Any:
            if sure != "1":
                raise BadInputError("board-unsure", field="sure")
            return self._boards.end(who, run)

        return self._do(request, csrf, run, deed)

    def try_seat(self, request: Request, run: Order, csrf: Annotated[str, Form(max_length=100)] = "") -> Response:
        """Take a seat of one's own run, or free it."""
        return self._do(request, csrf, run, lambda who: self._boards.try_seat(who, run))

    # --- before and after -------------------------------------------------------------------------------------

    def ready(self, request: Request, run: Order) -> Response:
        """Return what is in order before the start."""
        lang = lang_of(request)
        return self._shown(
            request,
            lambda who: self._site.page(
                "ready.html",
                lang,
                here=f"teach/{run}/ready",
                who=who,
                found=self._boards.readiness(who, run, lang),
                run=self._registry.runs.run(who, run)[0],
            ),
        )

    def results(self, request: Request, run: Order) -> Response:
        """Return what came of a run."""

        def page(who: Visitor) -> Response:
            found = self._boards.results(who, run)
            days = self._registry.courses.course(who, found.run.course)[0].keep_days
            return self._site.page(
                "results.html", lang_of(request), here=f"teach/{run}/results", who=who, found=found, percent=percent,
                days=days,
            )  # fmt: skip

        return self._shown(request, page)

    def file(self, request: Request, run: Order) -> Response:
        """Return the same as a file for spreadsheets."""
        return self._shown(request, lambda who: results_file(run, self._boards.results(who, run)))

    # --- who asks ---------------------------------------------------------------------------------------------

    def _do(self, request: Request, csrf: str, run: int, what: Callable[[Visitor], Any]) -> Response:
        who = self._own(request, csrf)
        try:
            what(who)
        except NvlhubError as error:
            return self._board(request, who, run, error=error)
        return RedirectResponse(f"{self._prefix}teach/{run}", 303)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, run = APIRouter(include_in_schema=False), f"{self._prefix}teach/{{run}}"
        router.add_api_route(f"{self._prefix}teach", self.overview, methods=["GET"])
        for path, page in (
            ("", self.board), ("/seats", self.seats), ("/ready", self.ready), ("/results", self.results),
            ("/results.csv", self.file),
        ):  # fmt: skip
            router.add_api_route(f"{run}{path}", page, methods=["GET"])
        for path, deed in (
            ("/decision", self.decide), ("/messages", self.tell), ("/extend", self.extend), ("/end", self.end),
            ("/try", self.try_seat), ("/seats/{seat}", self.seat),
        ):  # fmt: skip
            router.add_api_route(f"{run}{path}", deed, methods=["POST"])
        return router


def trays_of(trays: list[TrayPlace]) -> str:
    """Return trays as people write them."""
    return where(tray.model_dump() for tray in trays)


def percent(milli: int | None) -> str:
    """Return thousandths as people read them; nothing for None."""
    return "" if milli is None else f"{milli / 10:g} %"


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise BadInputError("whole-number", field="minutes")
    return int(text)
