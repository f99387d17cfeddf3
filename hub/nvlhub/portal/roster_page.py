"""The page of a run's roster: try a file, read what is wrong with it, put it right there, make it the roster."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from nvlhub.api import lang_of
from nvlhub.api.doors import Order
from nvlhub.errors import BadInputError, NvlhubError
from nvlhub.flow import roster
from nvlhub.forms import RosterView
from nvlhub.portal.paged import Paged, Short, content_of, fault_of, said_of, unnamed
from nvlhub.registry.rosters import RosterRefusedError
from nvlhub.visitor import Visitor

MOST = 1_000_000
"""Bytes of a file."""
Text = Annotated[str, Form(max_length=MOST)]


class RosterPage(Paged):
    """Shows rosters and passes on files; what may be is decided by the registry."""

    def show(self, request: Request, run: Order, done: str = "") -> Response:
        """Return the roster, and the form for another one."""
        return self._shown(request, lambda who: self._page(request, who, run, done=done))

    def _page(
        self, request: Request, who: Visitor, run: int, error: NvlhubError | None = None, text: str = "",
        tried: RosterView | None = None, done: str = "",
    ) -> Response:  # fmt: skip
        lang, refused = lang_of(request), isinstance(error, RosterRefusedError)
        roster_now = self._registry.rosters.roster(who, run)
        view, _ = self._registry.runs.run(who, run)
        members: dict[str, Any] = error.members if error is not None and refused else {"errors": [], "total": 0}
        faults = [{**one, "detail": unnamed(one["detail"], one["field"])} for one in members["errors"]]
        return self._site.page(
            "roster.html", lang, error.status if error else 200, here=f"teach/{run}/roster", who=who, run=view,
            rows=roster_now.rows, fault=fault_of(error, lang, ("csv",)) if error else None, faults=faults,
            total=members["total"], text=text, tried=tried, mark=_mark(text) if tried else "", done=said_of(done, lang),
            columns=roster.COLUMNS, open=view.state not in {"cancelled", "closed"},
        )  # fmt: skip

    def bring(
        self, request: Request, run: Order, file: UploadFile | None = None, text: Text = "", tried: Short = "",
        do: Short = "", csrf: Short = "",
    ) -> Response:  # fmt: skip
        """Try a file, or text; make it the roster when that was tried as it is."""
        who, lang, told = self._own(request, csrf), lang_of(request), _plain(text)
        # What would come of it was shown for this text, and no other.
        apply = do == "apply" and tried == _mark(told)
        try:
            if not apply and ((file is not None and file.filename) or not told.strip()):
                told = _plain(roster.decode(content_of(file, "csv", MOST)))
            if not told.strip():
                raise BadInputError("plan-file-none", field="csv")
            found = self._registry.rosters.bring(who, run, told, lang, dry_run=not apply)
        except NvlhubError as error:
            return self._page(request, who, run, error, told)
        if apply:
            return RedirectResponse(f"{self._prefix}teach/{run}/roster?done=listed", 303)
        return self._page(request, who, run, text=told, tried=found)

    def file(self, request: Request, run: Order) -> Response:
        """Return the roster as a file for spreadsheets; without rows it is a form to fill in."""
        headers = {"Content-Disposition": f'attachment; filename="roster-{run}.csv"', "Cache-Control": "no-store"}

        def page(who: Visitor) -> Response:
            content = self._registry.rosters.roster_file(who, run)
            return Response(content, media_type="text/csv; charset=utf-8; header=present", headers=headers)

        return self._shown(request, page)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, here = APIRouter(include_in_schema=False), f"{self._prefix}teach/{{run}}/roster"
        router.add_api_route(here, self.show, methods=["GET"])
        router.add_api_route(f"{here}.csv", self.file, methods=["GET"])
        router.add_api_route(f"{here}/file", self.bring, methods=["POST"])
        return router


def _plain(text: str) -> str:
    """Return a text as a field of a form gives it back."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
