"""What every route needs: who asks, in which language, which page; and how a list is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

from nvlhub.api.limiter import Limiter
from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, NotAllowedError, NvlhubError
from nvlhub.forms import Listed
from nvlhub.logs import about
from nvlhub.registry import Registry
from nvlhub.text import CHOSEN, chosen_language
from nvlhub.visitor import Visitor

T = TypeVar("T")
Identify = Callable[[Request], Visitor]
"""Says who sent a request, or raises."""


@dataclass(frozen=True)
class Doors:
    """What the routes need."""

    desk: Desk
    registry: Registry
    identify: Identify
    limiter: Limiter | None = None
    """None: everybody may come as often as they like."""


def doors_of(request: Request) -> Doors:
    """Return what the application was made with."""
    doors: Doors = request.app.state.doors
    return doors


# For the description of the API; whose token it is, `identify` says.
_token = APIKeyHeader(
    name="Authorization", scheme_name="token", auto_error=False, description="`token TOKEN` or `Bearer TOKEN` of the hub."
)  # fmt: skip


def _come(request: Request, draw: Callable[[Limiter, str], None]) -> Visitor:
    doors = doors_of(request)
    try:
        visitor = doors.identify(request)
    except NvlhubError as error:
        if doors.limiter and error.status in {401, 403}:
            doors.limiter.stranger(request.client.host if request.client else "")
        raise
    if doors.limiter and not visitor.hub:
        draw(doors.limiter, visitor.name)
    doors.registry.directory.met(visitor)
    return visitor


def _visitor(request: Request, _described: Annotated[str | None, Depends(_token)] = None) -> Visitor:
    return _come(request, Limiter.call)


def _person(visitor: Annotated[Visitor, Depends(_visitor)]) -> Visitor:
    if visitor.hub:
        raise NotAllowedError("not-allowed")
    return visitor


def _beating(request: Request, _described: Annotated[str | None, Depends(_token)] = None) -> Visitor:
    visitor = _come(request, Limiter.beat)
    return _person(visitor)


async def _lease(lease_id: Annotated[str, Path(max_length=64, pattern="^[0-9A-Za-z-]+$")]) -> AsyncIterator[str]:
    with about(lease_id):
        yield lease_id


def lang_of(request: Request) -> str:
    """Return the reader's language: the one chosen on a page, else that of the request."""
    return chosen_language(request.cookies.get(CHOSEN), request.headers.get("accept-language"))


# Asynchronous, because they wait for nothing: FastAPI gives every other dependency a thread.
async def _here(request: Request) -> Doors:
    return doors_of(request)


async def _lang(request: Request) -> str:
    return lang_of(request)


Here = Annotated[Doors, Depends(_here)]
Who = Annotated[Visitor, Depends(_person)]
"""A person, or a program with a person's token."""
WhoOrHub = Annotated[Visitor, Depends(_visitor)]
"""The same, or the hub itself: for the few routes that its spawner calls."""
Beating = Annotated[Visitor, Depends(_beating)]
"""A person's program that gives signs of life."""
Lang = Annotated[str, Depends(_lang)]


def once(request: Request) -> None:
    """Refuse a parameter that is given twice: nobody can tell which one is meant. Raises `BadInputError`."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1 and name in known:
            raise BadInputError("given-twice", field=name)


Page = Annotated[int, Query(ge=1, le=1_000_000)]
PerPage = Annotated[int, Query(ge=1, le=200)]
LeaseId = Annotated[str, Depends(_lease)]
"""Lines that are logged for such a request carry the lease."""


Key = Annotated[str, Header(alias="Idempotency-Key", max_length=80, pattern="^[!-~][ -~]*$")]
"""What makes a request safe to repeat: the second time is answered like the first, and nothing is done."""
Match = Annotated[str, Header(alias="If-Match", max_length=400, pattern="[!-~]")]
"""Entity tag of the state that a change was made from."""
Order = Annotated[int, Path(ge=1, le=2**53)]
"""Number of an award, a request, a difference."""


def listed(items: list[T], page: int = 1, per_page: int | None = None, total: int | None = None) -> Listed[T]:
    """Return the answer that a list is given in."""
    count = len(items) if total is None else total
    return Listed(items=items, page=page, per_page=per_page or max(1, len(items)), total=count)


def sliced(items: list[T], page: int, per_page: int) -> Listed[T]:
    """Return one page of a list that is known as a whole."""
    return listed(items[(page - 1) * per_page : page * per_page], page, per_page, len(items))


def plain(answer: BaseModel, status: int = 200) -> Response:
    """Answer with a model as it is: it was checked when it was made, FastAPI would check it again in a thread."""
    return Response(answer.model_dump_json(), status, media_type="application/json")


def tagged(response: Response, found: tuple[T, str]) -> T:
    """Answer with what was found, and with its entity tag."""
    response.headers["ETag"] = found[1]
    return found[0]
