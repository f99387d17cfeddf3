"""Routes of leases and offers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from nvlhub.api.document import MISSING, repeated
from nvlhub.api.doors import Beating, Here, Key, Lang, LeaseId, Page, PerPage, Who, WhoOrHub, listed, plain
from nvlhub.errors import NotAllowedError
from nvlhub.forms import Health, Listed, Me, Stopped, UserName
from nvlhub.wire import (
    Beat,
    BeatAnswer,
    Beaten,
    Beats,
    Extend,
    LeaseAsk,
    LeaseView,
    Offer,
    Slug,
    WorkersAsk,
)

router = APIRouter()


@router.get("/health")
def health(here: Here) -> Health:
    """Tell that the portal runs; open to all."""
    desk = here.desk
    return Health(
        status="ok", engine=desk.engine.name, simulated=desk.engine.simulated, engine_away=desk.board.away,
        now=desk.clock.now(), zone=desk.zone,
    )  # fmt: skip


@router.get("/me")
def me(here: Here, who: Who) -> Me:
    """Tell who the token belongs to."""
    return here.registry.directory.me(who)


@router.get("/offers", responses=MISSING)
def offers(
    here: Here, who: WhoOrHub, lang: Lang, project: Slug | None = None, user: UserName | None = None
) -> Listed[Offer]:
    """List what can be started now, for whom it is asked; the hub and administrators may ask for others."""
    if user is not None and user != who.name and not (who.hub or who.admin):
        raise NotAllowedError("not-allowed")
    return listed(here.desk.offers(user or who.name, lang, project or ""))


@router.post("/leases", status_code=201, response_model=LeaseView, responses=repeated(LeaseView))
def ask(here: Here, who: Who, body: LeaseAsk, idempotency_key: Key) -> Response:
    """Ask for a lease. 201 for a new one, 200 when this key was answered before."""
    lease, fresh = here.desk.ask(who, body, idempotency_key)
    return plain(lease, 201 if fresh else 200)


@router.post("/leases/batch", status_code=201, responses=repeated(Listed[LeaseView]))
def ask_together(here: Here, who: Who, body: WorkersAsk, response: Response, idempotency_key: Key) -> Listed[LeaseView]:
    """Ask for several workers of one shape, all or none. 201 for new ones, 200 when this key was answered before."""
    found, fresh = here.desk.ask_together(who, body, idempotency_key)
    response.status_code = 201 if fresh else 200
    return listed(found)


@router.post("/leases/heartbeats")
def heartbeats(here: Here, who: Beating, lang: Lang, body: Beats) -> Listed[Beaten]:
    """Take signs of life of many leases."""
    return listed(here.desk.beat_all(who, body, lang))


@router.get("/leases", responses=MISSING)
def leases(
    here: Here,
    who: Who,
    lang: Lang,
    state: Annotated[str, Query(pattern="^(active|ended|all)$")] = "active",
    user: UserName | None = None,
    project: Slug | None = None,
    parent: Annotated[str, Query(max_length=64, pattern="^[!-~]*$")] = "",
    heads: Annotated[bool, Query(description="Only those that belong to no other lease.")] = False,
    page: Page = 1,
    per_page: PerPage = 50,
) -> Listed[LeaseView]:
    """List the visitor's leases, the newest first; to administrators everybody's. `parent`: those of its workers.

    `project`: those of a project, everybody's to those who answer for it and to its programme's officers.
    """
    found, total = here.desk.leases(
        who, user=user, project=project or "", state=state, parent=parent, heads=heads, page=page, per_page=per_page,
        lang=lang,
    )  # fmt: skip
    return listed(found, page, per_page, total)


@router.get("/leases/{lease_id}", response_model=LeaseView)
def lease(here: Here, who: Who, lang: Lang, lease_id: LeaseId) -> LeaseView:
    """Return one lease."""
    return here.desk.lease(who, lease_id, lang)


@router.post("/leases/{lease_id}/heartbeat", response_model=BeatAnswer)
def heartbeat(here: Here, who: Beating, lang: Lang, lease_id: LeaseId, body: Beat) -> Response:
    """Take a sign of life."""
    return plain(here.desk.beat(who, lease_id, body, lang))


@router.post("/leases/{lease_id}/extend", response_model=LeaseView)
def extend(here: Here, who: Who, lang: Lang, lease_id: LeaseId, body: Extend) -> LeaseView:
    """Pay for more time."""
    return here.desk.extend(who, lease_id, body, lang)


@router.delete("/leases/{lease_id}", response_model=LeaseView)
def end(here: Here, who: Who, lang: Lang, lease_id: LeaseId) -> Response:
    """Give a lease back, or end another's as an administrator or as somebody who answers for its project."""
    return plain(here.desk.end(who, lease_id, lang))


@router.post("/servers/{user}/{name}/stopped")
def stopped(here: Here, who: WhoOrHub, user: UserName, name: Annotated[str, Path(max_length=64)]) -> Stopped:
    """Take the hub's word that a Jupyter server is gone; ``-`` stands for the default server."""
    return Stopped(ended=here.desk.server_stopped(who, f"{user}/{'' if name == '-' else name}"))
