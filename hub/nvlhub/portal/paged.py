"""What pages with forms have in common: who looks, whose own page sent a form, what it means, and which field is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Form, Request, Response, UploadFile
from pydantic import BaseModel, ValidationError

from nvlhub.errors import BadInputError, NotAllowedError, NvlhubError
from nvlhub.explain import problem
from nvlhub.portal.html import Site
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.registry import Registry
from nvlhub.text import has, say
from nvlhub.visitor import Visitor

Body = TypeVar("Body", bound=BaseModel)
Short = Annotated[str, Form(max_length=100)]
Words = Annotated[str, Form(max_length=20_000)]
"""Longer than may be: what is too long is refused by the registry, and is on the form then."""
COLONS = (": ", "：")
FIELDS: Mapping[str, str] = {
    "course-exists": "slug", "profile-unknown": "profile", "project-unknown": "project", "run-no-room": "day",
    "run-no-room-then": "day", "run-seats-taken": "seats",
}  # fmt: skip
"""The field that a refusal is about, where its members do not say so."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a form is refused for."""

    field: str
    """Empty: no field of the form is wrong, or it is none that the form has."""
    label: str
    """What the form calls it."""
    text: str


def fault_of(error: NvlhubError, lang: str, fields: Container[str]) -> Fault:
    """Return what to say beside a form that has these fields.

    Sentences name fields as the API does; a form names them as its labels do.
    """
    field = str(FIELDS.get(error.slug) or error.members.get("field", ""))
    text = problem(error, lang).detail
    if field not in fields:
        return Fault("", "", text)
    return Fault(field, say(f"plan-{field}", lang), unnamed(text, field))


def unnamed(text: str, field: str) -> str:
    """Return a sentence without the name of the field that it begins with."""
    for colon in COLONS:
        text = text.removeprefix(f"{field}{colon}")
    return text


class Paged:
    """Pages for people who are logged in."""

    def __init__(self, registry: Registry, login: Login, site: Site) -> None:
        self._registry = registry
        self._login = login
        self._site = site
        self._prefix = site.prefix

    def _shown(self, request: Request, page: Callable[[Visitor], Response]) -> Response:
        try:
            who = self._login.visitor(request)
        except LoginNeededError:
            return self._login.begin(request)
        return page(who)

    def _own(self, request: Request, csrf: str) -> Visitor:
        """Return a visitor whose own page sent the form. Raises `NotAllowedError`."""
        who = self._login.visitor(request)
        if not (who.csrf and secrets.compare_digest(who.csrf.encode(), csrf.encode())):
            raise NotAllowedError("foreign-origin")
        return who


async def _typed(request: Request) -> dict[str, str]:
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


Typed = Annotated[dict[str, str], Depends(_typed)]
"""What a form says, as it was typed; files are no part of it."""


def content_of(file: UploadFile | None, field: str, most: int) -> bytes:
    """Return a file that was chosen on a form. Raises `BadInputError` for none, and for one that is too large."""
    if file is None or not file.filename:
        raise BadInputError("plan-file-none", field=field)
    content = file.file.read(most + 1)
    if len(content) > most:
        raise BadInputError("plan-file-large", field=field, name=file.filename[:80], most=most)
    return content


def valid(model: type[Body], values: Mapping[str, Any]) -> Body:
    """Return what a form means. Raises `BadInputError` naming the field, in words of ours where there are some."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "form"
        if has(f"plan-bad-{field}"):
            raise BadInputError(f"plan-bad-{field}", field=field) from None
        raise BadInputError("invalid-input", field=field, allowed_text=first["msg"]) from None


def whole(field: str, text: str) -> int:
    """Return a number that somebody typed. Raises `BadInputError`."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadInputError("whole-number", field=field)
    return int(text)


def one_line(text: str) -> str:
    """Return a text without line ends."""
    return " ".join(text.split())


def said_of(done: str, lang: str) -> str:
    """Return what was done, as the address that a form led to tells it; nothing for words that mean nothing."""
    told = f"plan-done-{done}"
    return say(told, lang) if done.isascii() and done.isalpha() and has(told) else ""
