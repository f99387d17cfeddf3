"""What every route needs: who asks, in which language, which page; and how a list is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from nvlhub.desk import Desk
from nvlhub.forms import Listed
from nvlhub.registry import Registry
from nvlhub.text import language
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


def doors_of(request: Request) -> Doors:
    """Return what the application was made with."""
    doors: Doors = request.app.state.doors
    return doors


def _visitor(request: Request) -> Visitor:
    doors = doors_of(request)
    visitor = doors.identify(request)
    doors.registry.directory.met(visitor)
    return visitor


def lang_of(request: Request) -> str:
    """Return the reader's language."""
    return language(request.headers.get("accept-language"))


# Asynchronous, because they wait for nothing: FastAPI gives every other dependency a thread.
async def _here(request: Request) -> Doors:
    return doors_of(request)


async def _lang(request: Request) -> str:
    return lang_of(request)


Here = Annotated[Doors, Depends(_here)]
Who = Annotated[Visitor, Depends(_visitor)]
Lang = Annotated[str, Depends(_lang)]
Page = Annotated[int, Query(ge=1, le=1_000_000)]
PerPage = Annotated[int, Query(ge=1, le=200)]
LeaseId = Annotated[str, Path(max_length=64, pattern="^[!-~]+$")]


Key = Annotated[str, Header(alias="Idempotency-Key", max_length=80)]
Match = Annotated[str, Header(alias="If-Match", max_length=400)]
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
