"""Routes of the board of a run: for those who teach it, while it goes on, before it and after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from nvlhub.api.doors import Here, Lang, Order, Who
from nvlhub.api.sheets import sheet
from nvlhub.cells import guarded
from nvlhub.forms import (
    BoardView,
    ExtensionView,
    Helping,
    NewMessage,
    Opened,
    ReadinessView,
    ResultsView,
    ResultView,
    RunExtension,
    RunMessage,
    SeatExtension,
    SeatView,
)

router = APIRouter()
Seat = Annotated[int, Path(ge=1, le=1000)]
RESULTS = (
    "row", "seat", "pseudonym", "user", "student_no", "name_zh", "name_latin", "group", "attempts", "best_percent", "passed",
    "certificate",
)  # fmt: skip
"""Columns of the file of results; those of a roster are called as there."""


@router.get("/runs/{number}/seats")
def board(
    here: Here, who: Who, number: Order, sort: Annotated[Literal["number", "help"], Query()] = "number",
    pseudonyms: Annotated[bool, Query(description="Leave out whatever tells who somebody is.")] = False,
) -> BoardView:  # fmt: skip
    """Return the board of a run: every seat as it stands now, by number or who needs help first."""
    return here.registry.boards.board(who, number, sort=sort, pseudonyms=pseudonyms)


@router.post("/runs/{number}/messages", status_code=201)
def tell(here: Here, who: Who, number: Order, body: NewMessage) -> RunMessage:
    """Tell all seats of a run something, or one."""
    return here.registry.boards.tell(who, number, body)


@router.post("/runs/{number}/seats/{seat}/help")
def help_seat(here: Here, who: Who, number: Order, seat: Seat, body: Helping) -> SeatView:
    """Go to a raised hand, or say that it is settled."""
    return here.registry.boards.help(who, number, seat, body)


@router.post("/runs/{number}/seats/{seat}/open")
def open_seat(here: Here, who: Who, number: Order, seat: Seat) -> Opened:
    """Let the visitor into a learner's server with their own login; the learner is told."""
    return here.registry.boards.open(who, number, seat)


@router.post("/runs/{number}/seats/{seat}/restart")
def restart_seat(here: Here, who: Who, number: Order, seat: Seat) -> SeatView:
    """Stop the server of a seat, so that it is started anew."""
    return here.registry.boards.restart(who, number, seat)


@router.post("/runs/{number}/seats/{seat}/replace")
def replace_seat(here: Here, who: Who, number: Order, seat: Seat) -> SeatView:
    """Have a learner sit on another, free seat; returns that one."""
    return here.registry.boards.replace(who, number, seat)


@router.post("/runs/{number}/seats/{seat}/release")
def release_seat(here: Here, who: Who, number: Order, seat: Seat) -> SeatView:
    """Take a seat from whoever has it; what they handed in counts."""
    return here.registry.boards.release(who, number, seat)


@router.post("/runs/{number}/seats/{seat}/extend")
def extend_seat(here: Here, who: Who, lang: Lang, number: Order, seat: Seat, body: SeatExtension) -> ExtensionView:
    """Give a seat more time beyond the end of the run."""
    return here.registry.boards.extend_seat(who, number, seat, body, lang)


@router.post("/runs/{number}/extend")
def extend_run(here: Here, who: Who, lang: Lang, number: Order, body: RunExtension) -> ExtensionView:
    """Give a run more time, with its reservation and its money; `dry_run` tells what that would do, and to whom."""
    return here.registry.boards.extend(who, number, body, lang)


@router.post("/runs/{number}/try")
def try_seat(here: Here, who: Who, number: Order) -> SeatView:
    """Have the visitor take a seat of their own run, to see what learners will; a second time frees it."""
    return here.registry.boards.try_seat(who, number)


@router.get("/runs/{number}/readiness")
def readiness(here: Here, who: Who, lang: Lang, number: Order) -> ReadinessView:
    """Tell what is in order before the start of a run; asks the repository of its material."""
    return here.registry.boards.readiness(who, number, lang)


@router.get(
    "/runs/{number}/results", response_model=ResultsView,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)  # fmt: skip
def results(
    here: Here, who: Who, number: Order, form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json"
) -> ResultsView | Response:
    """Return what came of a run, item by item and learner by learner, as JSON; learners as a CSV file, too."""
    found = here.registry.boards.results(who, number)
    return found if form == "json" else results_file(number, found)


def results_file(number: int, found: ResultsView) -> Response:
    """Return the learners of a run as a file for spreadsheets."""
    return sheet(f"results-{number}.csv", RESULTS, _rows(found.learners))


def _rows(learners: list[ResultView]) -> Iterator[list[Any]]:
    for one in learners:
        best = "" if one.best_milli is None else one.best_milli / 10
        yield [
            "" if one.row is None else one.row, "" if one.seat is None else one.seat,
            *(guarded(text) for text in (one.pseudonym, one.user, one.student_no, one.name, one.name_latin, one.group)),
            one.attempts, best, "yes" if one.passed else "no", one.certificate,
        ]  # fmt: skip
