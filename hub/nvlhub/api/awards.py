"""Routes of requests, reviews and awards."""

from __future__ import annotations

from fastapi import APIRouter, Response

from nvlhub.api.document import TAGGED
from nvlhub.api.doors import Here, Key, Match, Order, Page, PerPage, Who, listed, tagged
from nvlhub.flow.awarding import RequestState
from nvlhub.forms import AwardPatch, AwardView, Listed, NewAward, NewRequest, RequestView, Review, Revocation
from nvlhub.wire import Slug

router = APIRouter()


@router.get("/awards")
def awards(
    here: Here, who: Who, project: Slug | None = None, programme: Slug | None = None, pool: Slug | None = None,
    page: Page = 1, per_page: PerPage = 50,
) -> Listed[AwardView]:  # fmt: skip
    """List the awards of the visitor's projects and programmes."""
    found, total = here.registry.awards.awards(
        who, project=project or "", programme=programme or "", pool=pool or "", page=page, per_page=per_page
    )
    return listed(found, page, per_page, total)


@router.post("/awards", status_code=201)
def add_award(here: Here, who: Who, body: NewAward, idempotency_key: Key = "") -> AwardView:
    """Award GPU-hours to a project without a request."""
    return here.registry.awards.add_award(who, body, idempotency_key)


@router.get("/awards/{number}", responses=TAGGED)
def award(here: Here, who: Who, number: Order, response: Response) -> AwardView:
    """Return an award, with the entity tag that a change needs."""
    return tagged(response, here.registry.awards.award(who, number))


@router.patch("/awards/{number}", responses=TAGGED)
def change_award(
    here: Here, who: Who, number: Order, body: AwardPatch, response: Response, if_match: Match
) -> AwardView:
    """Change the end or the cap of an award."""
    return tagged(response, here.registry.awards.change_award(who, number, body, if_match))


@router.post("/awards/{number}/revoke")
def revoke(here: Here, who: Who, number: Order, body: Revocation) -> AwardView:
    """Revoke an award: what nobody holds goes back to the programme at once."""
    return here.registry.awards.revoke(who, number, body)


@router.get("/requests")
def requests(
    here: Here, who: Who, state: RequestState | None = None, project: Slug | None = None,
    programme: Slug | None = None, page: Page = 1, per_page: PerPage = 50,
) -> Listed[RequestView]:  # fmt: skip
    """List the requests of the visitor's projects and programmes, the oldest first."""
    found, total = here.registry.awards.requests(
        who, state=state.value if state else "", project=project or "", programme=programme or "", page=page,
        per_page=per_page,
    )  # fmt: skip
    return listed(found, page, per_page, total)


@router.post("/requests", status_code=201)
def ask(here: Here, who: Who, body: NewRequest, idempotency_key: Key = "") -> RequestView:
    """Ask for an award, or for a change of one."""
    return here.registry.awards.ask(who, body, idempotency_key)


@router.get("/requests/{number}", responses=TAGGED)
def request(here: Here, who: Who, number: Order, response: Response) -> RequestView:
    """Return a request with its reviews, with the entity tag that a change needs."""
    return tagged(response, here.registry.awards.request(who, number))


@router.put("/requests/{number}", responses=TAGGED)
def resubmit(here: Here, who: Who, number: Order, body: NewRequest, response: Response, if_match: Match) -> RequestView:
    """Send a request again that was sent back for revision."""
    return tagged(response, here.registry.awards.resubmit(who, number, body, if_match))


@router.post("/requests/{number}/withdraw")
def withdraw(here: Here, who: Who, number: Order) -> RequestView:
    """Take a request back."""
    return here.registry.awards.withdraw(who, number)


@router.post("/requests/{number}/reviews")
def review(here: Here, who: Who, number: Order, body: Review) -> RequestView:
    """Decide on a request, or send it back for revision."""
    return here.registry.awards.review(who, number, body)
