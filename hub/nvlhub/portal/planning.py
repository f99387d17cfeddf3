"""The pages on which a run is planned: look for room, save a draft, change it, ask for it, cancel it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from nvlhub.api import lang_of
from nvlhub.api.doors import Order
from nvlhub.dates import shown
from nvlhub.errors import BadInputError, ConflictError, NvlhubError
from nvlhub.flow.course import MOVES, Action, RunState
from nvlhub.forms import NewRun, RunAsk, RunPatch, RunView
from nvlhub.portal.paged import Paged, Short, Typed, Words, fault_of, one_line, said_of, valid
from nvlhub.portal.run_form import FIELDS, MORE, blank, filled, meant, moved_to
from nvlhub.portal.teaching import trays_of
from nvlhub.visitor import Visitor
from nvlhub.wire import Slug

NEAR = ("Asia/", "Europe/", "America/", "Australia/", "Pacific/", "Africa/")
SHAPES = (0, 1, 2, 3, 4)
"""GPUs of a seat below whole trays."""


class PlanningPages(Paged):
    """Shows plans and passes on what is sent; what may be is decided by the registry."""

    # --- a new run --------------------------------------------------------------------------------------------

    def new(self, request: Request, slug: Slug) -> Response:
        """Return the form for a run of a course."""
        return self._shown(request, lambda who: self._new(request, who, slug, self._blank(who, slug)))

    def _blank(self, who: Visitor, slug: str) -> dict[str, str]:
        course, _ = self._registry.courses.course(who, slug)
        profiles = (one for one in self._registry.profiles.profiles(who) if one.published)
        least = next((one.gpus for one in profiles if one.name == course.profile), 1)
        return blank(self._site.zone, least)

    def _new(
        self, request: Request, who: Visitor, slug: str, sent: dict[str, str], error: NvlhubError | None = None,
        looked: RunView | None = None,
    ) -> Response:  # fmt: skip
        course, _ = self._registry.courses.course(who, slug)
        # What is sent twice, by a finger or a bad line, makes one run.
        values = {"course": course, "run": None, "key": secrets.token_urlsafe(16), "match": ""}
        return self._form(request, who, sent, error, looked, f"teach/courses/{slug}/new-run", **values)

    def add(self, request: Request, slug: Slug, typed: Typed) -> Response:
        """Look whether there is room for a run, or save it as a draft."""
        who, sent, do = self._own(request, typed.get("csrf", "")), _sent(typed), typed.get("do", "look")
        try:
            sent = _next(sent, typed) if do == "next" else sent
            new = valid(NewRun, {**meant(sent), "course": slug, "dry_run": do != "save"})
            made = self._registry.runs.add(who, new, typed.get("key", "")[:80] if do == "save" else "")
        except NvlhubError as error:
            return self._new(request, who, slug, sent, _asked(error))
        if do == "save":
            return self._there(int(made.id), "drafted")
        return self._new(request, who, slug, sent, looked=made)

    # --- one that there is ------------------------------------------------------------------------------------

    def edit(self, request: Request, run: Order) -> Response:
        """Return the form of a run as it is; its plan to those who only decide about it."""

        def page(who: Visitor) -> Response:
            view, _ = self._registry.runs.run(who, run)
            return self._edit(request, who, run, filled(view)) if view.code else self._plan(request, who, run)

        return self._shown(request, page)

    def _edit(
        self, request: Request, who: Visitor, run: int, sent: dict[str, str], error: NvlhubError | None = None,
        looked: RunView | None = None,
    ) -> Response:  # fmt: skip
        view, match = self._registry.runs.run(who, run)
        course, _ = self._registry.courses.course(who, view.course)
        values = {"course": course, "run": view, "key": "", "match": match}
        return self._form(request, who, sent, error, looked, f"teach/{run}/change", **values)

    def change(self, request: Request, run: Order, typed: Typed) -> Response:
        """Look whether there would be room for a run as it is changed, or change it."""
        who, sent, do = self._own(request, typed.get("csrf", "")), _sent(typed), typed.get("do", "look")
        try:
            sent = _next(sent, typed) if do == "next" else sent
            if do == "save":
                self._registry.runs.change(who, run, valid(RunPatch, meant(sent)), typed.get("match", ""))
                return self._there(run, "saved")
            course = self._registry.runs.run(who, run)[0].course
            looked = self._registry.runs.add(who, valid(NewRun, {**meant(sent), "course": course, "dry_run": True}))
        except NvlhubError as error:
            return self._edit(request, who, run, sent, _asked(error))
        return self._edit(request, who, run, sent, looked=looked)

    def _form(
        self, request: Request, who: Visitor, sent: dict[str, str], error: NvlhubError | None, looked: RunView | None,
        here: str, **values: Any,
    ) -> Response:  # fmt: skip
        lang = lang_of(request)
        fault = fault_of(error, lang, FIELDS) if error else None
        most = max((domain.gpus for domain in self._registry.capacity.domains(who)), default=0)
        shapes = [*(one for one in SHAPES if one <= most), *range(8, most + 1, 4)]
        if sent["gpus"].isdigit() and int(sent["gpus"]) not in shapes:
            shapes.append(int(sent["gpus"]))
        return self._site.page(
            "run_form.html", lang, error.status if error else 200, here=here, who=who, sent=sent, fault=fault, looked=looked,
            shapes=shapes, more=bool(fault and fault.field in MORE) or any(sent[name] for name in ("last_day", "roster_only")),
            which=error.members if error and error.slug == "plan-time-twice" else {}, at=shown, where=trays_of,
            zones=_zones(), **values,
        )  # fmt: skip

    # --- its plan ---------------------------------------------------------------------------------------------

    def show(self, request: Request, run: Order, done: str = "") -> Response:
        """Return how the plan of a run stands, and what can be done with it."""
        return self._shown(request, lambda who: self._plan(request, who, run, done=done))

    def _plan(
        self, request: Request, who: Visitor, run: int, error: NvlhubError | None = None, note: str = "", done: str = ""
    ) -> Response:
        lang = lang_of(request)
        view, _ = self._registry.runs.run(who, run)
        moves = MOVES[RunState(view.state)]
        begun = view.phase not in {"", "scheduled"}
        site = replace(self._site, zone=view.zone)
        return site.page(
            "run_plan.html", lang, error.status if error else 200, here=f"teach/{run}/plan", who=who, run=view, at=shown,
            where=trays_of, fault=fault_of(error, lang, ("note",)) if error else None, note=note, done=said_of(done, lang),
            teaches=bool(view.code), asks=Action.REQUEST in moves, edits=Action.EDIT in moves, begun=begun,
            cancels=Action.CANCEL in moves and not begun,
        )  # fmt: skip

    def ask(self, request: Request, run: Order, note: Words = "", csrf: Short = "") -> Response:
        """Ask for a run to be approved."""
        return self._do(
            request, csrf, run, lambda who: self._registry.runs.request(who, run, _note(note)), "asked", note
        )

    def cancel(self, request: Request, run: Order, note: Words = "", sure: Short = "", csrf: Short = "") -> Response:
        """Cancel a run, when somebody is sure."""

        def deed(who: Visitor) -> None:
            if sure != "1":
                raise BadInputError("plan-unsure", field="sure")
            self._registry.runs.cancel(who, run, _note(note))

        return self._do(request, csrf, run, deed, "cancelled")

    def code(self, request: Request, run: Order, csrf: Short = "") -> Response:
        """Give a run another code."""
        return self._do(request, csrf, run, lambda who: self._registry.runs.new_code(who, run), "coded")

    def _do(
        self, request: Request, csrf: str, run: int, what: Callable[[Visitor], Any], done: str, note: str = ""
    ) -> Response:
        who = self._own(request, csrf)
        try:
            what(who)
        except NvlhubError as error:
            return self._plan(request, who, run, error, note)
        return self._there(run, done)

    def _there(self, run: int, done: str) -> Response:
        return RedirectResponse(f"{self._prefix}teach/{run}/plan?done={done}", 303)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, run = APIRouter(include_in_schema=False), f"{self._prefix}teach/{{run}}"
        new = f"{self._prefix}teach/courses/{{slug}}/new-run"
        router.add_api_route(new, self.new, methods=["GET"])
        router.add_api_route(new, self.add, methods=["POST"])
        router.add_api_route(f"{run}/plan", self.show, methods=["GET"])
        router.add_api_route(f"{run}/change", self.edit, methods=["GET"])
        for path, deed in (
            ("/change", self.change), ("/request", self.ask), ("/cancel", self.cancel), ("/code", self.code)
        ):  # fmt: skip
            router.add_api_route(f"{run}{path}", deed, methods=["POST"])
        return router


@cache
def _zones() -> list[str]:
    """Return zones that people live in: looked up once, in hundreds of files."""
    return sorted(name for name in available_timezones() if name.startswith(NEAR))


def _sent(typed: dict[str, str]) -> dict[str, str]:
    return {name: typed.get(name, "") for name in FIELDS}


def _next(sent: dict[str, str], typed: dict[str, str]) -> dict[str, str]:
    """Return a form moved to the time from which there is room; as long as it was."""
    told, then = meant(sent), typed.get("next_starts", "")
    if not (then.isascii() and then.isdigit() and len(then) <= 11):
        raise BadInputError("plan-time-wanted", field="starts")
    return moved_to(sent, int(then), int(then) + told["ends"] - told["starts"])


def _asked(error: NvlhubError) -> NvlhubError:
    """Return an error in words of the form: a key that was used for something else is of no interest to people."""
    return ConflictError("plan-sent-twice") if error.slug == "key-reused" else error


def _note(text: str) -> RunAsk:
    return valid(RunAsk, {"note": one_line(text)})
