"""Routes of courses, their runs and rosters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from nvlhub.api.document import TAGGED
from nvlhub.api.doors import Here, Key, Lang, Match, Order, Page, PerPage, Who, listed, plain, tagged
from nvlhub.api.problems import InvalidError
from nvlhub.flow.course import RunState
from nvlhub.forms import (
    CoursePatch,
    CourseView,
    Listed,
    NewCourse,
    NewRun,
    RosterFile,
    RosterView,
    RunAsk,
    RunDecision,
    RunPatch,
    RunView,
)
from nvlhub.wire import Slug

router = APIRouter()
TRIED: dict[int | str, dict[str, Any]] = {200: {"model": RunView, "description": "What it would be; nothing was made."}}
CSV = "text/csv"
ROSTER = {
    "application/json": {"schema": RosterFile.model_json_schema()},
    CSV: {"schema": {"type": "string"}},
}

# --- courses ------------------------------------------------------------------------------------------------------


@router.get("/courses")
def courses(here: Here, who: Who, page: Page = 1, per_page: PerPage = 50) -> Listed[CourseView]:
    """List the courses that the visitor teaches, or whose programme they decide for."""
    rows, total = here.registry.courses.courses(who, page, per_page)
    return listed(rows, page, per_page, total)


@router.post("/courses", status_code=201)
def add_course(here: Here, who: Who, body: NewCourse, idempotency_key: Key = "") -> CourseView:
    """Make a course of a project that the visitor answers for."""
    return here.registry.courses.add(who, body, idempotency_key)


@router.get("/courses/{slug}", responses=TAGGED)
def course(here: Here, who: Who, slug: Slug, response: Response) -> CourseView:
    """Return a course, with the entity tag that a change needs."""
    return tagged(response, here.registry.courses.course(who, slug))


@router.patch("/courses/{slug}", responses=TAGGED)
def change_course(
    here: Here, who: Who, slug: Slug, body: CoursePatch, response: Response, if_match: Match
) -> CourseView:
    """Change a course, or retire it: runs that are planned go on, new ones are not made."""
    return tagged(response, here.registry.courses.change(who, slug, body, if_match))


# --- runs ---------------------------------------------------------------------------------------------------------


@router.get("/runs")
def runs(
    here: Here, who: Who, course: Annotated[str, Query(max_length=40)] = "", state: RunState | None = None,
    page: Page = 1, per_page: PerPage = 50,
) -> Listed[RunView]:  # fmt: skip
    """List the runs that the visitor teaches or decides about, the latest start first."""
    rows, total = here.registry.runs.runs(
        who, course=course, state=state.value if state else "", page=page, per_page=per_page
    )
    return listed(rows, page, per_page, total)


@router.post("/runs", status_code=201, response_model=RunView, responses=TRIED)
def add_run(here: Here, who: Who, body: NewRun, idempotency_key: Key = "") -> Response:
    """Make a draft of a run and say whether there is room for it; with `dry_run`, only say so and what it costs."""
    made = here.registry.runs.add(who, body, idempotency_key)
    return plain(made, 200 if body.dry_run else 201)


@router.get("/runs/{number}", responses=TAGGED)
def run(here: Here, who: Who, number: Order, response: Response) -> RunView:
    """Return a run, with the entity tag that a change needs; its code is told to those who teach it."""
    return tagged(response, here.registry.runs.run(who, number))


@router.patch("/runs/{number}", responses=TAGGED)
def change_run(here: Here, who: Who, number: Order, body: RunPatch, response: Response, if_match: Match) -> RunView:
    """Change a run; one that is approved moves with its reservation and its money, or not at all."""
    return tagged(response, here.registry.runs.change(who, number, body, if_match))


@router.post("/runs/{number}/request")
def request_run(here: Here, who: Who, number: Order, body: RunAsk) -> RunView:
    """Ask for a run to be approved."""
    return here.registry.runs.request(who, number, body)


@router.post("/runs/{number}/decision")
def decide_run(here: Here, who: Who, number: Order, body: RunDecision) -> RunView:
    """Approve a run, which reserves its trays and sets its price aside where the slot is charged; or refuse it."""
    return here.registry.runs.decide(who, number, body)


@router.post("/runs/{number}/cancel")
def cancel_run(here: Here, who: Who, number: Order, body: RunAsk) -> RunView:
    """Cancel a run before its slot begins: trays and money are given back."""
    return here.registry.runs.cancel(who, number, body)


@router.post("/runs/{number}/close")
def close_run(here: Here, who: Who, number: Order) -> RunView:
    """End a run: what was kept until now is charged, the rest given back; leases and memberships of its seats end."""
    return here.registry.boards.end(who, number)


@router.post("/runs/{number}/code")
def new_code(here: Here, who: Who, number: Order) -> RunView:
    """Give a run another join code; the old one opens nothing any more."""
    return here.registry.runs.new_code(who, number)


# --- rosters ------------------------------------------------------------------------------------------------------


@router.get(
    "/runs/{number}/roster",
    response_model=RosterView,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
def roster(
    here: Here, who: Who, number: Order, form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json"
) -> RosterView | Response:
    """Return the roster of a run, as JSON or as a CSV file."""
    if form == "json":
        return here.registry.rosters.roster(who, number)
    headers = {
        "Content-Disposition": f'attachment; filename="roster-{number}.csv"', "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    content = here.registry.rosters.roster_file(who, number)
    return Response(content, media_type="text/csv; charset=utf-8; header=present", headers=headers)


async def _content(request: Request) -> bytes:
    return await request.body()


@router.post("/runs/{number}/roster", openapi_extra={"requestBody": {"required": True, "content": ROSTER}})
def bring_roster(
    here: Here, who: Who, lang: Lang, number: Order, request: Request, content: Annotated[bytes, Depends(_content)],
    dry_run: Annotated[bool, Query(description="Of a CSV body; JSON says it itself.")] = False,
) -> RosterView:  # fmt: skip
    """Have a CSV file be the roster of a run, all of it or nothing; with `dry_run`, tell what that would change."""
    file: bytes | str = content
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CSV:
        body = _json(content)
        file, dry_run = body.csv, body.dry_run or dry_run
    return here.registry.rosters.bring(who, number, file, lang, dry_run=dry_run)


def _json(content: bytes) -> RosterFile:
    """Return a body of JSON. Raises `InvalidError` for what is none, or has another shape."""
    try:
        return RosterFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise InvalidError("not-json") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidError("invalid-input", field=where[:80], allowed_text=first["msg"]) from None
