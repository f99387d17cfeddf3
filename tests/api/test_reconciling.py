"""The routes of reconciliation: who may, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from nvlhub.api import Doors, make_app
from nvlhub.cli import app as commands
from nvlhub.engines.scripted import Script
from tests.api.test_api import PEOPLE, Client, identify, problem
from tests.conftest import HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at

CLOSING = {"action": "accept", "reason": "looked into it"}
ROUTES = [
    ("POST", "/reconciliations", {}),
    ("GET", "/differences", None),
    ("POST", "/differences/1/close", CLOSING),
]


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    yield kit(store, clock, {"*": Script(extra=500)})
    store.close()


@pytest.fixture
def api(portal: Kit) -> Iterator[Client]:
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    with TestClient(app, raise_server_exceptions=False) as http:
        yield Client(http)


@pytest.fixture
def difference(api: Client, portal: Kit) -> str:
    lease = api.ask().json()["id"]
    portal.step(100)
    api("DELETE", f"/leases/{lease}")
    portal.step(1)
    found = api("POST", "/reconciliations", "admin", json={}).json()
    assert found["counts"] == {
        "matched": 0, "missing-record": 0, "missing-lease": 0, "amount": 1, "still-running": 0,
    }  # fmt: skip
    assert (found["open"], found["at"] - found["since"]) == (1, 86_400)
    number: str = found["found"][0]["id"]
    return number


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_administrators_alone_reconcile(
    api: Client, difference: str, method: str, path: str, body: dict[str, str] | None
) -> None:
    for who in PEOPLE.keys() - {"admin"}:
        problem(api(method, path, who, json=body), 403, "not-allowed")
    problem(api(method, path, "nobody", json=body), 401, "login-needed")
    assert api(method, path, "admin", json=body).status_code == 200


def test_differences_are_listed_by_state_and_closed_once(api: Client, difference: str) -> None:
    assert [row["id"] for row in api("GET", "/differences", "admin").json()["items"]] == [difference]
    assert api("GET", "/differences?state=closed", "admin").json()["total"] == 0
    body = {"action": "correct", "reason": "the node hung"}
    closed = api("POST", f"/differences/{difference}/close", "admin", json=body).json()
    assert (closed["state"], closed["closed_by"]) == ("closed", "admin")
    assert api("GET", f"/ledger?lease={closed['lease']}&entry=correct").json()["total"] == 1
    problem(api("POST", f"/differences/{difference}/close", "admin", json=body), 409, "difference-closed")
    assert api("GET", "/differences", "admin").json()["total"] == 0
    assert api("GET", "/differences?state=all&per_page=1", "admin").json()["total"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "slug"),
    [
        ("/reconciliations", {"since": -1}, 422, "invalid-input"),
        ("/reconciliations", {"since": "yesterday"}, 422, "invalid-input"),
        ("/reconciliations", {"since": 32_503_680_000}, 422, "since-future"),
        ("/reconciliations", {"hours": 5}, 422, "invalid-input"),
        ("/differences/1/close", {"action": "ignore", "reason": "x"}, 422, "invalid-input"),
        ("/differences/1/close", {"action": "accept"}, 422, "invalid-input"),
        ("/differences/1/close", {"action": "accept", "reason": "<b>"}, 422, "invalid-input"),
        ("/differences/0/close", CLOSING, 422, "invalid-input"),
        ("/differences/999/close", CLOSING, 404, "difference-unknown"),
    ],
)
def test_bad_input_is_named(api: Client, path: str, body: dict[str, object], status: int, slug: str) -> None:
    problem(api("POST", path, "admin", json=body), status, slug)


def test_a_state_that_there_is_not_is_refused(api: Client) -> None:
    problem(api("GET", "/differences?state=dead", "admin"), 422, "invalid-input")


def test_the_terminal_reconciles_and_says_by_its_exit_status_whether_somebody_is_needed(
    api: Client, difference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(method: str, url: str, timeout: float, **more: Any) -> Any:
        return api.http.request(method, url.removeprefix("http://portal"), **more)

    monkeypatch.setattr(httpx, "request", request)
    monkeypatch.setenv("NVLHUB_URL", "http://portal")
    monkeypatch.setenv("NVLHUB_TOKEN", "admin")
    monkeypatch.setenv("LANG", "en_US.UTF-8")

    def run(*command: str) -> tuple[int, str]:
        done = CliRunner().invoke(commands, ["ledger", *command])
        return done.exit_code, done.output

    status, said = run("reconcile", "--hours", "1")
    assert status == 1
    assert "1 amount" in said
    assert "1 open; see `nvlhub ledger differences`" in said
    assert difference in run("differences")[1]
    assert run("close", difference, "--reason", "neither of the two")[0] == 2
    assert "there is no difference “99”" in run("close", "99", "--accept", "--reason", "x")[1]
    assert run("close", difference, "--accept", "--reason", "the node hung")[0] == 0
    status, said = run("reconcile", "--json")
    assert (status, json.loads(said)["open"]) == (0, 0)
    assert json.loads(run("differences", "--state", "closed", "--json")[1])[0]["reason"] == "the node hung"
