"""Screens without a hub or a browser: the real portal behind its REST API, or one that answers what a test says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from bokeh.document import Document
from fastapi import FastAPI

from nvlhub.wire import API_PATH
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.blocks import Block
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit

URL = "http://portal"
OPEN: list[Visit] = []
"""Visits of the test that runs."""


class Now(Document):
    """A document that may always be changed."""

    def add_next_tick_callback(self, callback: Any) -> Any:
        callback()


def visit_of(
    http: httpx.AsyncClient, name: str, lang: str = "en", *, admin: bool = False, officer_of: tuple[str, ...] = (),
    projects: tuple[tuple[str, str, str], ...] = (), **args: str,
) -> Visit:  # fmt: skip
    guest = Guest(name, name, admin, officer_of, projects)
    api, nobody = Api(http, URL, name, lang), Api(http, URL, "nobody")
    OPEN.append(Visit(guest, lang, "UTC", "/services/panels", args, api, nobody, Sources(), Now()))
    return OPEN[-1]


def portal_http(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=False))


@dataclass
class Said:
    """A portal that answers by path what a test says; 404 to anything else."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix(API_PATH)
        self.asked.append((request.method, path, request.content))
        answer = self.answers.get(path, problem(404))
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def problem(status: int, detail: str = "The portal says no.", **more: Any) -> httpx.Response:
    body = {"type": "urn:nvlhub:problem:x", "title": "No", "status": status, "detail": detail, **more}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


def listed(items: list[Any], page: int = 1, per_page: int = 50, total: int | None = None) -> dict[str, Any]:
    return {"items": items, "page": page, "per_page": per_page, "total": len(items) if total is None else total}


def press(block: Block, action: str, **more: Any) -> None:
    """Say what a browser says when somebody presses, sends or chooses something."""
    block.html.asked = {"count": id(more), "action": action, **more}


def words(block: Block) -> str:
    """Return what somebody reads."""
    reader = Words()
    reader.feed(block.html.html)
    return re.sub(r"\s+", " ", " ".join(reader.found)).strip()


class Words(HTMLParser):
    """Text and elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(html: str) -> list[tuple[str, Mapping[str, str | None]]]:
    reader = Words()
    reader.feed(html)
    return reader.tags
