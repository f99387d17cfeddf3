"""Routes of burn-downs, and of how a pool is shared."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from nvlhub.api.document import MISSING
from nvlhub.api.doors import Here, Order, Page, PerPage, Who, sliced
from nvlhub.forms import BurnDown, Listed, ShareView
from nvlhub.wire import Slug

router = APIRouter()
Days = Annotated[int, Query(ge=1, le=366)]


@router.get("/programmes/{slug}/burndown")
def of_programme(here: Here, who: Who, slug: Slug, pool: Slug | None = None, days: Days = 90) -> BurnDown:
    """Tell how the awards of a programme were used up, in one pool or in all."""
    return here.registry.burning.of_programme(who, slug, pool or "", days)


@router.get("/projects/{slug}/burndown")
def of_project(here: Here, who: Who, slug: Slug, pool: Slug | None = None, days: Days = 90) -> BurnDown:
    """Tell how the awards of a project were used up, in one pool or in all."""
    return here.registry.burning.of_project(who, slug, pool or "", days)


@router.get("/awards/{number}/burndown")
def of_award(here: Here, who: Who, number: Order, days: Days = 90) -> BurnDown:
    """Tell how an award was used up."""
    return here.registry.burning.of_award(who, number, days)


@router.get("/pools/{pool}/shares", responses=MISSING)
def shares(here: Here, who: Who, pool: Slug, page: Page = 1, per_page: PerPage = 50) -> Listed[ShareView]:
    """List what each programme holds of a pool now, and what it used in the last 30 days, the largest first."""
    return sliced(here.registry.burning.shares(who, pool), page, per_page)
