"""Routes of announcements."""

from __future__ import annotations

from fastapi import APIRouter

from nvlhub.api.doors import Here, Key, Lang, Order, Page, PerPage, Who, listed, sliced
from nvlhub.forms import AnnouncementView, Listed, NewAnnouncement

router = APIRouter()


@router.get("/announcements")
def announcements(
    here: Here, who: Who, lang: Lang, all: bool = False, page: Page = 1, per_page: PerPage = 50,  # noqa: A002  # the name in the address
) -> Listed[AnnouncementView]:  # fmt: skip
    """List what is announced to the visitor now; `all`: everything that ever was, for administrators."""
    if all:
        found, total = here.registry.announcements.history(who, page, per_page)
        return listed(found, page, per_page, total)
    return sliced(here.registry.announcements.current(who, lang), page, per_page)


@router.post("/announcements", status_code=201)
def announce(here: Here, who: Who, body: NewAnnouncement, idempotency_key: Key = "") -> AnnouncementView:
    """Announce something to everybody, to a programme, or to one user."""
    return here.registry.announcements.add(who, body, idempotency_key)


@router.delete("/announcements/{number}", status_code=204)
def withdraw(here: Here, who: Who, number: Order) -> None:
    """Withdraw an announcement."""
    here.registry.announcements.withdraw(who, number)
