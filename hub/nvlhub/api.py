"""HTTP in, desk or registry, HTTP out. Every failure leaves as a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nvlhub import __version__
from nvlhub.desk import Desk
from nvlhub.errors import NotAllowedError, NvlhubError
from nvlhub.explain import problem
from nvlhub.registry import Registry
from nvlhub.text import language
from nvlhub.visitor import Visitor
from nvlhub.wire import (
    MAX_BODY_BYTES,
    AwardView,
    Beat,
    BeatAnswer,
    Beats,
    Extend,
    LeaseAsk,
    LeaseView,
    Membership,
    NewAward,
    NewProfile,
    NewProgramme,
    NewProject,
    Problem,
    Publish,
    Service,
    Slug,
    UserName,
    WorkersAsk,
)

logger = logging.getLogger(__name__)

Identify = Callable[[Request], Visitor]
"""Says who sent a request, or raises."""


@dataclass(frozen=True)
class Doors:
    """What the routes need."""

    desk: Desk
    registry: Registry
    identify: Identify


class TooLargeError(NvlhubError):
    """The body is larger than what is read."""

    status = 413


def _doors(request: Request) -> Doors:
    doors: Doors = request.app.state.doors
    return doors


def _visitor(request: Request) -> Visitor:
    return _doors(request).identify(request)


def lang_of(request: Request) -> str:
    """Return the reader's language."""
    return language(request.headers.get("accept-language"))


Here = Annotated[Doors, Depends(_doors)]
Who = Annotated[Visitor, Depends(_visitor)]
Lang = Annotated[str, Depends(lang_of)]
Page = Annotated[int, Query(ge=1, le=1_000_000)]
PerPage = Annotated[int, Query(ge=1, le=200)]
LeaseId = Annotated[str, Path(max_length=64, pattern="^[!-~]+$")]

router = APIRouter()


def _list(items: list[Any], page: int = 1, per_page: int | None = None, total: int | None = None) -> dict[str, Any]:
    count = len(items) if total is None else total
    return {"items": items, "page": page, "per_page": per_page or max(1, len(items)), "total": count}


# --- leases -------------------------------------------------------------------------------------------------------


@router.get("/health")
def health(here: Here) -> dict[str, Any]:
    """Tell that the portal runs; open to all."""
    desk = here.desk
    return {"status": "ok", "engine": desk.engine.name, "simulated": desk.engine.simulated, "now": desk.clock.now()}


@router.get("/me")
def me(here: Here, who: Who) -> dict[str, Any]:
    """Tell who the token belongs to."""
    return here.registry.me(who)


@router.get("/offers")
def offers(
    here: Here, who: Who, lang: Lang, project: Slug | None = None, user: UserName | None = None
) -> dict[str, Any]:
    """List what can be started now, for whom it is asked; the hub and administrators may ask for others."""
    if user is not None and user != who.name and not (who.hub or who.admin):
        raise NotAllowedError("not-allowed")
    return _list(here.desk.offers(user or who.name, lang, project or ""))


@router.post("/leases", status_code=201, response_model=LeaseView)
def ask(
    here: Here, who: Who, body: LeaseAsk, response: Response, idempotency_key: Annotated[str, Header()] = ""
) -> LeaseView:
    """Ask for a lease. 201 for a new one, 200 when this key was answered before."""
    if who.hub:
        raise NotAllowedError("not-allowed")
    lease, fresh = here.desk.ask(who, body, idempotency_key)
    response.status_code = 201 if fresh else 200
    return lease


@router.post("/leases/batch", status_code=201)
def ask_together(
    here: Here, who: Who, body: WorkersAsk, response: Response, idempotency_key: Annotated[str, Header()] = ""
) -> dict[str, Any]:
    """Ask for several workers of one shape, all or none. 201 for new ones, 200 when this key was answered before."""
    if who.hub:
        raise NotAllowedError("not-allowed")
    found, fresh = here.desk.ask_together(who, body, idempotency_key)
    response.status_code = 201 if fresh else 200
    return _list(found)


@router.post("/leases/heartbeats")
def heartbeats(here: Here, who: Who, lang: Lang, body: Beats) -> dict[str, Any]:
    """Take signs of life of many leases."""
    return _list(here.desk.beat_all(who, body, lang))


@router.get("/leases")
def leases(
    here: Here,
    who: Who,
    lang: Lang,
    state: Annotated[str, Query(pattern="^(active|ended|all)$")] = "active",
    user: UserName | None = None,
    parent: Annotated[str, Query(max_length=64, pattern="^[!-~]*$")] = "",
    page: Page = 1,
    per_page: PerPage = 50,
) -> dict[str, Any]:
    """List the visitor's leases, the newest first; to administrators everybody's. `parent`: those of its workers."""
    whose = user if user is not None else ("" if who.admin else who.name)
    found, total = here.desk.leases(
        who, user=whose, state=state, parent=parent, page=page, per_page=per_page, lang=lang
    )
    return _list(found, page, per_page, total)


@router.get("/leases/{lease_id}", response_model=LeaseView)
def lease(here: Here, who: Who, lang: Lang, lease_id: LeaseId) -> LeaseView:
    """Return one lease."""
    return here.desk.lease(who, lease_id, lang)


@router.post("/leases/{lease_id}/heartbeat", response_model=BeatAnswer)
def heartbeat(here: Here, who: Who, lang: Lang, lease_id: LeaseId, body: Beat) -> BeatAnswer:
    """Take a sign of life."""
    return here.desk.beat(who, lease_id, body, lang)


@router.post("/leases/{lease_id}/extend", response_model=LeaseView)
def extend(here: Here, who: Who, lang: Lang, lease_id: LeaseId, body: Extend) -> LeaseView:
    """Pay for more time."""
    return here.desk.extend(who, lease_id, body, lang)


@router.delete("/leases/{lease_id}", response_model=LeaseView)
def end(here: Here, who: Who, lang: Lang, lease_id: LeaseId) -> LeaseView:
    """Give a lease back, or end another's as an administrator."""
    return here.desk.end(who, lease_id, lang)


@router.post("/servers/{user}/{name}/stopped")
def stopped(here: Here, who: Who, user: UserName, name: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
    """Take the hub's word that a Jupyter server is gone; ``-`` stands for the default server."""
    return {"ended": here.desk.server_stopped(who, f"{user}/{'' if name == '-' else name}")}


# --- directory ----------------------------------------------------------------------------------------------------


@router.get("/projects")
def projects(here: Here, who: Who) -> dict[str, Any]:
    """List the visitor's projects."""
    return _list(here.registry.projects(who))


@router.get("/programmes")
def programmes(here: Here, who: Who) -> dict[str, Any]:
    """List the programmes."""
    return _list(here.registry.programmes(who))


@router.post("/programmes", status_code=201)
def add_programme(here: Here, who: Who, body: NewProgramme) -> dict[str, Any]:
    """Add a programme."""
    return here.registry.add_programme(who, body)


@router.post("/projects", status_code=201)
def add_project(here: Here, who: Who, body: NewProject) -> dict[str, Any]:
    """Add a project."""
    return here.registry.add_project(who, body)


@router.put("/projects/{slug}/members/{user}")
def set_member(here: Here, who: Who, slug: Slug, user: UserName, body: Membership) -> dict[str, Any]:
    """Make somebody a member of a project."""
    return here.registry.set_member(who, slug, user, body)


@router.get("/projects/{slug}/usage")
def usage(here: Here, who: Who, slug: Slug, days: Annotated[int, Query(ge=1, le=3660)] = 30) -> dict[str, Any]:
    """List what a project used, by day and user."""
    return _list(here.registry.usage(who, slug, days))


@router.get("/awards")
def awards(here: Here, who: Who, project: Slug | None = None) -> dict[str, Any]:
    """List the awards of the visitor's projects."""
    return _list(here.registry.awards(who, project or ""))


@router.post("/awards", status_code=201, response_model=AwardView)
def add_award(here: Here, who: Who, body: NewAward) -> AwardView:
    """Award GPU-hours to a project."""
    return here.registry.add_award(who, body)


@router.get("/pools")
def pools(here: Here, who: Who) -> dict[str, Any]:
    """List the pools."""
    return _list(here.registry.pools())


@router.get("/domains")
def domains(here: Here, who: Who, page: Page = 1, per_page: PerPage = 200) -> dict[str, Any]:
    """List the NVLink domains with their trays and GPUs."""
    found = here.registry.domains(who)
    return _list(found[(page - 1) * per_page : page * per_page], page, per_page, len(found))


@router.put("/domains/{pool}/{name}")
def set_service(
    here: Here, who: Who, pool: Slug, name: Annotated[str, Path(max_length=100)], body: Service
) -> dict[str, Any]:
    """Take a domain or a tray out of service, or back in."""
    return here.registry.set_service(who, pool, name, body)


@router.get("/profiles")
def profiles(here: Here, who: Who) -> dict[str, Any]:
    """List the profiles."""
    return _list(here.registry.profiles(who))


@router.post("/profiles", status_code=201)
def add_profile(here: Here, who: Who, body: NewProfile) -> dict[str, Any]:
    """Add the next version of a profile."""
    return here.registry.add_profile(who, body)


@router.post("/profiles/{name}/publish")
def publish(here: Here, who: Who, name: Slug, body: Publish) -> dict[str, Any]:
    """Publish a version of a profile."""
    return here.registry.publish(who, name, body)


@router.get("/ledger")
def ledger(
    here: Here,
    who: Who,
    lease: Annotated[str, Query(max_length=64, pattern="^[!-~]*$")] = "",
    page: Page = 1,
    per_page: PerPage = 50,
) -> dict[str, Any]:
    """List transactions with their postings, in the order of writing."""
    rows, total = here.registry.ledger(who, lease, page, per_page)
    return _list(rows, page, per_page, total)


@router.get("/ledger/verify")
def verify(here: Here, who: Who) -> dict[str, Any]:
    """Prove the ledger right, or say what is broken."""
    return here.registry.verify(who)


# --- the application ----------------------------------------------------------------------------------------------


def make_app(doors: Doors, prefix: str) -> FastAPI:
    """Return the application with the API under `prefix` + ``api/v1``; pages are added by :mod:`nvlhub.portal.pages`."""
    api = f"{prefix.rstrip('/')}/api/v1"
    app = FastAPI(
        title="nvlhub", version=__version__, docs_url=None, redoc_url=None, openapi_url=f"{api}/openapi.json",
        responses={"default": {"model": Problem, "description": "Problem document (RFC 9457)"}},
    )  # fmt: skip
    app.state.doors = doors
    app.include_router(router, prefix=api)
    app.add_middleware(_Bounded)
    app.add_exception_handler(NvlhubError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)
    return app


def answer(request: Request, error: NvlhubError) -> JSONResponse:
    """Return the problem document of an error as an answer."""
    doors = _doors(request)
    document = problem(error, lang_of(request), request.url.path, doors.desk.more_url)
    return JSONResponse(document.model_dump(), status_code=document.status, media_type="application/problem+json")


async def _known(request: Request, error: Exception) -> Response:
    return answer(request, error if isinstance(error, NvlhubError) else NvlhubError("portal-failed"))


async def _unknown(request: Request, error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    return answer(request, NvlhubError("portal-failed"))


class InvalidError(NvlhubError):
    """The request does not have the shape that the API describes."""

    status = 422


async def _invalid(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": ""}
    field = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"})
    return answer(request, InvalidError("invalid-input", field=field[:80] or "body", allowed_text=first["msg"]))


class HttpError(NvlhubError):
    """An address or a method that there is not."""


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        wrong: NvlhubError = HttpError("method-not-allowed", method=request.method)
    elif status == 404:
        wrong = HttpError("not-found")
    elif status == 413:
        wrong = TooLargeError("body-too-large", most=MAX_BODY_BYTES)
    else:
        wrong = HttpError("not-json")
    wrong.status = status  # type: ignore[misc]  # the status came from outside, not from the class
    return answer(request, wrong)


Message = MutableMapping[str, Any]


class _Bounded:
    """Refuses bodies above 1 MiB before they are read, whatever their header says."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > MAX_BODY_BYTES:
            await answer(Request(scope), TooLargeError("body-too-large", most=MAX_BODY_BYTES))(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                # The one error that FastAPI lets through unchanged from where it reads bodies.
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)
