"""Every role at every route: what it is answered, what it sees, and that a refusal changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.roles import DOCUMENT, ROLES, ROWS, Row, document
from tests.api.world import BASE, Api, Template, build

MARKS = {
    "optics": ("optics", "running", "settled"),
    "casting": ("casting", "theirs"),
}
"""Words that stand in whatever belongs to a project, and the names of its leases."""
BLIND = {"other": ("optics", "casting"), "instructor": ("optics",), "foreign": ("optics",), "member": ("casting",),
         "manager": ("casting",), "pi": ("casting",), "officer": ("casting",)}  # fmt: skip
"""Whose names no answer to a role may hold."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    made = Api()
    with made.http:
        yield made


def named(template: Template, value: Any) -> Any:
    """Put the leases' ids where their names stand."""
    told = json.dumps(value)
    for name, lease in template.names.items():
        told = told.replace(f"{{{name}}}", lease)
    return json.loads(told)


def ask(api: Api, template: Template, row: Row, role: str) -> httpx.Response:
    fill, body, query = named(template, [dict(row.fill), row.body, dict(row.query)])
    headers = {"Idempotency-Key": f"key of {role}", "If-Match": "*"}
    token = "" if role == "anonymous" else role
    return api(row.method, row.path.format(**fill), token, json=body, params=query, headers=headers)


def check(template: Template, row: Row, role: str, response: httpx.Response) -> None:
    told = f"{role}: {response.status_code} {response.text[:300]}"
    assert response.status_code == row.answers[role], told
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", told
        return
    if row.reads is not None:
        sees = named(template, {name: sorted(what) for name, what in row.sees.items()})
        assert row.reads(response.json()) == set(sees[role]), told
    for project in BLIND.get(role, ()):
        for mark in MARKS[project]:
            assert template.names.get(mark, mark) not in response.text, told


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_each_role_is_answered_as_the_table_says(api: Api, template: Template, tmp_path: Path, row: Row) -> None:
    done = [role for role, status in row.answers.items() if status < 400]
    reads = row.method == "GET"
    with api.world(template, tmp_path) as portal, closing(sqlite3.connect(tmp_path / "copy.sqlite")) as watch:
        before = watch.execute("PRAGMA data_version").fetchone()
        for role in ROLES if reads else ROLES.keys() - set(done):
            check(template, row, role, ask(api, template, row, role))
        assert watch.execute("PRAGMA data_version").fetchone() == before
    for role in () if reads else done:
        with api.world(template, tmp_path) as portal:
            check(template, row, role, ask(api, template, row, role))
            assert portal.broken() == []


def test_every_route_stands_in_the_table(api: Api) -> None:
    described = api.app.openapi()["paths"].items()
    routes = {(method.upper(), path.removeprefix(BASE)) for path, methods in described for method in methods}
    assert routes == {(row.method, row.path) for row in ROWS}


def test_every_row_has_a_status_for_every_role() -> None:
    for row in ROWS:
        assert row.answers.keys() == ROLES.keys(), row.title


def test_the_document_is_that_of_the_table() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m tests.api.roles"


@pytest.mark.parametrize(
    ("path", "theirs", "nobodys"),
    [
        ("/projects/{}", "optics", "nothing"),
        ("/programmes/{}", "science", "nothing"),
        ("/awards/{}", "1", "99"),
        ("/requests/{}", "1", "99"),
        ("/leases/{}", "{running}", "00000000-0000-0000-0000-000000000000"),
        ("/ledger?lease={}", "{settled}", "00000000-0000-0000-0000-000000000000"),
    ],
)
@pytest.mark.parametrize("role", ["other", "instructor", "foreign"])
def test_what_is_not_theirs_to_see_looks_as_if_it_were_not_there(
    api: Api, template: Template, tmp_path: Path, path: str, theirs: str, nobodys: str, role: str
) -> None:
    told = []
    with api.world(template, tmp_path):
        for name in (named(template, theirs), nobodys):
            response = api("GET", path.format(name), role)
            assert response.status_code == 404
            told.append({member: str(value).replace(name, "…") for member, value in response.json().items()})
            told[-1].pop("instance")
    assert told[0] == told[1]
