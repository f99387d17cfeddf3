"""The learner's page of attempts, without a hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.portal.handing_in import HandingIn
from nvlhub.portal.html import Site
from nvlhub.portal.judging import Judges
from nvlhub.visitor import Visitor
from tests.api.world import RUBRIC
from tests.conftest import START, HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at

PAGE = "/services/portal/seat/1/attempts"
LEARNER = Visitor("learner", csrf="own")


class Login:
    """Knows one browser."""

    who = LEARNER

    def visitor(self, request: Request) -> Visitor:
        return self.who

    def begin(self, request: Request) -> Response:
        return RedirectResponse("/hub/login")


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    made = kit(store, clock)
    items = [{**RUBRIC["items"][0], "title": "<b>Quick</b>".replace("<", "(").replace(">", ")"), "title_zh": "快"}]
    rubric = {**RUBRIC, "files": ["code/solve.py"], "run": ["python", "code/solve.py"], "items": items}
    with store.writing() as unit:
        unit.add_course(
            [], slug="lasers", project="demo", title="Lasers", profile="gpu1", assessment=rubric, made_by="admin",
            made_at=START,
        )  # fmt: skip
        unit.add_run(
            ["Ant"], course="lasers", name="Spring", zone="UTC", starts=START, ends=START + 3600, seats=1, gpus=1, warm=0,
            flex=0, grace=600, no_show=0, code="LASERS23", roster_only=False, state="approved", made_by="admin", made_at=START,
        )  # fmt: skip
        unit.take_seat(1, "learner", START, name="Learner")
    yield made
    store.close()


@pytest.fixture
def login() -> Login:
    return Login()


@pytest.fixture
def http(portal: Kit, login: Login) -> Iterator[TestClient]:
    app = make_app(Doors(portal.desk, portal.registry, lambda request: LEARNER), "/services/portal/")
    app.include_router(HandingIn(portal.registry, login, Site("/services/portal/")).routes())  # type: ignore[arg-type]
    with TestClient(app, follow_redirects=False) as client:
        yield client


def upload(http: TestClient, name: str = "solve.py", csrf: str = "own") -> Response:
    return http.post(PAGE, data={"csrf": csrf}, files=[("files", (name, b"print(1)"))])  # type: ignore[return-value]


def test_a_learner_hands_in_and_reads_the_result(portal: Kit, http: TestClient) -> None:
    assert "code/solve.py" in http.get(PAGE).text
    assert 'href="/services/portal/seat?run=1">Back to your seat' in http.get(PAGE).text
    assert upload(http).status_code == 303
    assert 'http-equiv="refresh"' in http.get(PAGE).text
    Judges(portal.registry.assessing, 0)._empty()
    text = http.get(PAGE).text
    assert 'data-state="passed"' in text
    assert "refresh" not in text
    assert "/services/portal/verify/" in text
    chinese = http.get(PAGE, headers={"Accept-Language": "zh-TW"}).text
    assert "通過" in chinese
    assert "快" in chinese


@pytest.mark.parametrize("name", ["other.py", "..", "<script>alert(1)</script>", "x" * 300])
def test_a_file_that_is_not_asked_for_is_refused_on_the_page(http: TestClient, name: str) -> None:
    answer = upload(http, name)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text  # type: ignore[attr-defined]
    assert "<script>alert" not in answer.text  # type: ignore[attr-defined]


def test_only_the_own_page_hands_in(http: TestClient, login: Login, portal: Kit) -> None:
    assert upload(http, csrf="foreign").status_code == 403
    assert portal.registry.assessing.mine(LEARNER, "en", 1, 50) == ([], 0)
    login.who = replace(LEARNER, name="stranger")
    assert http.get(PAGE).status_code == 404
