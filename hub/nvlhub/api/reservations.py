"""Routes of reservations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nvlhub.api.document import TAGGED
from nvlhub.api.doors import Here, Key, Match, Order, Page, PerPage, Who, listed, plain, tagged
from nvlhub.forms import Listed, NewReservation, ReservationPatch, ReservationView

router = APIRouter()

Moment = Annotated[int, Query(ge=0, le=32_503_680_000)]
"""Unix seconds, until the year 3000."""
TRIED: dict[int | str, dict[str, Any]] = {
    200: {"model": ReservationView, "description": "What it would be; nothing was reserved."}
}
"""For a route that only tries where it is asked to."""


@router.get("/reservations")
def reservations(
    here: Here, who: Who, since: Moment | None = None, until: Moment | None = None, page: Page = 1,
    per_page: PerPage = 50,
) -> Listed[ReservationView]:  # fmt: skip
    """List the reservations from now or `since` on, by start. Whose they are is told to those who are concerned."""
    found, total = here.registry.reservations.reservations(
        who, since=since, until=until, page=page, per_page=per_page
    )  # fmt: skip
    return listed(found, page, per_page, total)


@router.post("/reservations", status_code=201, response_model=ReservationView, responses=TRIED)
def reserve(here: Here, who: Who, body: NewReservation, idempotency_key: Key = "") -> Response:
    """Keep whole trays for a project between two times; with `dry_run`, only tell which and who is in the way."""
    made = here.registry.reservations.add(who, body, idempotency_key)
    return plain(made, 200 if body.dry_run else 201)


@router.get("/reservations/{number}", responses=TAGGED)
def reservation(here: Here, who: Who, number: Order, response: Response) -> ReservationView:
    """Return a reservation, with the entity tag that a move needs."""
    return tagged(response, here.registry.reservations.reservation(who, number))


@router.patch("/reservations/{number}", responses=TAGGED)
def move_reservation(
    here: Here, who: Who, number: Order, body: ReservationPatch, response: Response, if_match: Match
) -> ReservationView:
    """Move a reservation to other times: all of it, or nothing."""
    return tagged(response, here.registry.reservations.move(who, number, body, if_match))


@router.delete("/reservations/{number}")
def cancel_reservation(here: Here, who: Who, number: Order) -> ReservationView:
    """Cancel a reservation; its trays are free for others at once."""
    return here.registry.reservations.cancel(who, number)
