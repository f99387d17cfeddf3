"""Routes of what is handed in and judged."""

from __future__ import annotations

from fastapi import APIRouter, Response

from nvlhub.api.document import repeated
from nvlhub.api.doors import Here, Lang, Order, Page, PerPage, Who, listed
from nvlhub.forms import AssessmentView, AttemptView, Listed, NewAttempt, Trial

router = APIRouter()


@router.get("/runs/{run}/assessment")
def assessment(here: Here, who: Who, run: Order) -> AssessmentView:
    """Tell what is to be handed in in a run, to who has a seat in it and to those who teach it."""
    return here.registry.assessing.asked(who, run)


@router.post("/attempts", status_code=201, responses=repeated(AttemptView))
def hand_in(here: Here, who: Who, lang: Lang, body: NewAttempt, response: Response) -> AttemptView:
    """Hand files in on one's own seat; the same files once more are the same attempt."""
    view, new = here.registry.assessing.hand_in(who, body, lang)
    response.status_code = 201 if new else 200
    return view


@router.get("/attempts")
def attempts(here: Here, who: Who, lang: Lang, page: Page = 1, per_page: PerPage = 50) -> Listed[AttemptView]:
    """List what the visitor handed in, the newest first."""
    found, total = here.registry.assessing.mine(who, lang, page, per_page)
    return listed(found, page, per_page, total)


@router.get("/attempts/{number}")
def attempt(here: Here, who: Who, lang: Lang, number: Order) -> AttemptView:
    """Return an attempt to its learner and to those who teach the run."""
    return here.registry.assessing.attempt(who, number, lang)


@router.get("/runs/{run}/attempts")
def attempts_of_run(
    here: Here, who: Who, lang: Lang, run: Order, page: Page = 1, per_page: PerPage = 50
) -> Listed[AttemptView]:
    """List what was handed in in a run, with all logs, to those who teach it."""
    found, total = here.registry.assessing.of_run(who, run, lang, page, per_page)
    return listed(found, page, per_page, total)


@router.post("/courses/{slug}/assessment/try")
def try_assessment(here: Here, who: Who, lang: Lang, slug: str, body: Trial) -> AttemptView:
    """Judge files without a seat and without a trace, for those who teach the course; it takes as long as they run."""
    return here.registry.assessing.try_out(who, slug, body, lang)
