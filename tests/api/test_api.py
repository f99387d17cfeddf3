"""The REST API: who may what, and what bad input is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import token_of
from nvlhub.run import Runner
from nvlhub.visitor import Visitor
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, MAILBOX, RESEARCHER, Kit, kit
from tests.tables import store_at

BASE = "/services/portal/api/v1"
PEOPLE = {
    "researcher": RESEARCHER,
    "admin": ADMIN,
    "instructor": Visitor("instructor"),
    "outsider": Visitor("outsider"),
    "hub": Visitor("nvlhub-hub", hub=True),
}


def identify(request: Request) -> Visitor:
    token = token_of(request)
    if token not in PEOPLE:
        raise LoginNeededError("login-needed")
    return PEOPLE[token]


class Client:
    def __init__(self, http: TestClient) -> None:
        self.http = http

    def __call__(self, method: str, path: str, who: str = "researcher", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"token {who}"} | more.pop("headers", {})
        return self.http.request(method, BASE + path, headers=headers, **more)  # type: ignore[return-value]

    def ask(self, who: str = "researcher", key: str = "k1", **body: Any) -> httpx.Response:
        full = {"project": "demo", "profile": "gpu1", "mailbox": MAILBOX.model_dump()} | body
        return self("POST", "/leases", who, json=full, headers={"Idempotency-Key": key})


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    yield kit(store, clock)
    store.close()


@pytest.fixture
def api(portal: Kit) -> Iterator[Client]:
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    with TestClient(app, raise_server_exceptions=False) as http:
        yield Client(http)


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:nvlhub:problem:{slug}"
    assert document["detail"]
    return document


def test_health_is_open_and_all_else_is_closed(api: Client) -> None:
    assert api.http.get(f"{BASE}/health").json()["status"] == "ok"
    for path in ("/me", "/offers", "/leases", "/projects", "/awards", "/pools", "/domains", "/profiles", "/ledger"):
        problem(api.http.get(BASE + path), 401, "login-needed")  # type: ignore[arg-type]
        problem(api("GET", path, "stolen-or-expired"), 401, "login-needed")


def test_a_lease_is_asked_for_seen_beaten_extended_and_ended(api: Client, portal: Kit) -> None:
    made = api.ask()
    assert made.status_code == 201
    lease = made.json()
    assert (lease["state"], lease["devices"], lease["simulated"]) == ("running", ["SIM-nvl001-t01-g0"], True)
    assert api.ask().status_code == 200
    path = f"/leases/{lease['id']}"
    portal.step(10)
    assert api("POST", f"{path}/heartbeat", json={}).json()["state"] == "running"
    assert api("POST", f"{path}/extend", json={"seconds": 600}).json()["seconds"] == 4 * 3600 + 600
    assert api("DELETE", path).json()["end_reason"] == "user"
    portal.step(1)
    settled = api("GET", path).json()
    assert (settled["state"], settled["charged"]) == ("settled", 10_000)
    assert api("DELETE", path).json()["state"] == "settled"
    rows = api("GET", f"/ledger?lease={lease['id']}").json()["items"]
    assert [row["entry"] for row in rows] == ["hold", "extend", "settle"]


BAD = [
    ({"profile": "nope"}, 404, "profile-unknown"),
    ({"project": "others"}, 404, "project-unknown"),
    ({"gpus": 0}, 422, "invalid-input"),
    ({"gpus": 2}, 422, "gpus-above-profile"),
    ({"gpus": 73, "profile": "gpu8"}, 422, "gpus-above-profile"),
    ({"gpus": 6, "profile": "gpu8"}, 422, "gpus-not-whole-trays"),
    ({"seconds": -5}, 422, "invalid-input"),
    ({"seconds": 10**12}, 422, "invalid-input"),
    ({"seconds": 5 * 3600}, 422, "seconds-out-of-range"),
    ({"label": "<script>alert(1)</script>"}, 422, "invalid-input"),
    ({"project": "<b>"}, 422, "invalid-input"),
    ({"user": "admin"}, 422, "invalid-input"),
    ({"opt-gpus": 4}, 422, "invalid-input"),
    ({"gpus": True}, 422, "invalid-input"),
    ({"gpus": "1"}, 422, "invalid-input"),
    ({"preemptible": 1}, 422, "invalid-input"),
    ({"preemptible": "yes"}, 422, "invalid-input"),
    ({"mailbox": None}, 422, "mailbox-missing"),
    ({"mailbox": {"address": "tcp://h:99999", "public_key": "k" * 40, "token": "t" * 40}}, 422, "invalid-input"),
    ({"mailbox": {"address": "file:///etc/passwd", "public_key": "k" * 40, "token": "t" * 40}}, 422, "invalid-input"),
]


@pytest.mark.parametrize(("body", "status", "slug"), BAD)
def test_bad_input_is_named_and_leaves_nothing(
    api: Client, portal: Kit, body: dict[str, Any], status: int, slug: str
) -> None:
    document = problem(api.ask(**body), status, slug)
    if status == 422:
        [field] = [name for name in body if name != "profile"]
        assert field.split("-")[0] in document["detail"]
    assert api("GET", "/leases?state=all").json()["total"] == 0
    assert portal.free() == 72
    assert portal.broken() == []


@pytest.mark.parametrize("key", ["", "x" * 81])
def test_a_start_needs_an_idempotency_key(api: Client, key: str) -> None:
    problem(api.ask(key=key), 422, "key-missing")


def test_a_key_with_another_body_is_a_conflict(api: Client) -> None:
    api.ask()
    problem(api.ask(profile="gpu2"), 409, "key-reused")


def test_a_refusal_carries_the_arithmetic_in_the_readers_language(api: Client) -> None:
    document = problem(api.ask(project="demo-small", profile="gpu8"), 409, "balance-too-low")
    assert (document["hold"], document["left"], document["largest_gpus"]) == (8 * 7200 * 1000, 2 * 3600 * 1000, 1)
    assert "http://x/more" in document["detail"]
    more = {"Idempotency-Key": "k9", "Accept-Language": "zh-TW,zh;q=0.9"}
    body = {"project": "demo-small", "profile": "gpu8", "mailbox": MAILBOX.model_dump()}
    chinese = api("POST", "/leases", json=body, headers=more).json()
    assert "專案" in chinese["detail"]


def test_a_refusal_says_that_a_start_could_be_preemptible(api: Client, portal: Kit) -> None:
    problem(api.ask(project="demo-small", preemptible=True), 409, "preemptible-off")
    with portal.store.writing() as unit:
        unit.set_programme("demo", at_zero="low_priority")
    document = problem(api.ask(project="demo-small", profile="gpu8"), 409, "balance-too-low")
    assert document["low_priority"] is True
    assert "pre-emptible" in document["detail"]
    offers = api("GET", "/offers?project=demo-small").json()["items"]
    assert [offer["low_priority"] for offer in offers if offer["profile"] == "gpu8"] == [True]
    lease = api.ask(project="demo-small", profile="gpu8", key="k2", preemptible=True).json()
    assert (lease["state"], lease["preemptible"], lease["preempt_at"], lease["held"]) == ("running", True, None, 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_a_mebibyte_is_not_read(api: Client, chunked: bool) -> None:
    big = b"x" * (1024 * 1024 + 1)
    content: Any = iter([big[: 2**19], big[2**19 :]]) if chunked else big
    problem(
        api("POST", "/leases", content=content, headers={"Content-Type": "application/json"}), 413, "body-too-large"
    )


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"null", b"[" * 5000])
def test_what_is_no_json_object_is_refused(api: Client, content: bytes) -> None:
    response = api(
        "POST", "/leases", content=content, headers={"Content-Type": "application/json", "Idempotency-Key": "k"}
    )
    assert response.status_code in {400, 422}
    assert response.json()["type"] in {"urn:nvlhub:problem:invalid-input", "urn:nvlhub:problem:not-json"}


@pytest.mark.parametrize("path", ["/leases/%00", "/leases/a%0Ab", "/ledger?lease=%00", f"/leases/{'x' * 65}"])
def test_a_name_that_cannot_be_one_is_refused_before_the_database(api: Client, path: str) -> None:
    problem(api("GET", path), 422, "invalid-input")


def test_unknown_addresses_and_methods_are_problems_too(api: Client) -> None:
    problem(api("GET", "/nothing"), 404, "not-found")
    problem(api("PUT", "/leases"), 405, "method-not-allowed")


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=0", "per_page=100000", "state=dead"])
def test_pages_out_of_range_are_refused(api: Client, query: str) -> None:
    problem(api("GET", f"/leases?{query}"), 422, "invalid-input")


ADMIN_ONLY = [
    ("POST", "/programmes", {"slug": "x", "name": "X"}),
    ("POST", "/projects", {"slug": "x", "name": "X", "programme": "demo"}),
    ("PUT", "/domains/main/nvl001", {"in_service": False}),
    ("POST", "/profiles", {"name": "x", "display_name": "X", "pool": "main", "gpus": 1, "longest": 60}),
    ("POST", "/profiles/gpu1/publish", {"version": 1}),
    ("GET", "/ledger/verify", None),
]
BATCH = {"project": "demo", "profile": "gpu1", "mailbox": MAILBOX.model_dump(), "count": 2}


def batch(api: Client, who: str = "researcher", key: str = "b1", **body: Any) -> httpx.Response:
    return api("POST", "/leases/batch", who, json=BATCH | body, headers={"Idempotency-Key": key})


def test_workers_are_asked_for_beaten_and_listed_together(api: Client) -> None:
    kernel = api.ask().json()["id"]
    made = batch(api, parent=kernel)
    assert made.status_code == 201
    assert batch(api, parent=kernel).status_code == 200
    ids = {lease["id"] for lease in made.json()["items"]}
    assert len(ids) == 2
    assert {lease["id"] for lease in api("GET", f"/leases?parent={kernel}").json()["items"]} == ids
    beats = {"beats": {lease: {"phase": "running"} for lease in [*ids, "nope"]}}
    assert {item["lease"]["id"] for item in api("POST", "/leases/heartbeats", json=beats).json()["items"]} == ids
    assert api("POST", "/leases/heartbeats", "outsider", json=beats).json()["items"] == []
    problem(batch(api, "outsider", "b2"), 404, "project-unknown")
    problem(batch(api, "hub", "b3"), 403, "not-allowed")
    problem(batch(api, "outsider", "b4", parent=kernel), 404, "lease-unknown")


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"count": 0}, 422, "invalid-input"),
        ({"count": 1001}, 422, "invalid-input"),
        ({"count": 1.5}, 422, "invalid-input"),
        ({"kind": "kernel"}, 422, "invalid-input"),
        ({"domain": "../x"}, 422, "invalid-input"),
        ({"domain": "moon", "pinned": True}, 404, "domain-unknown"),
        ({"parent": "nope"}, 404, "lease-unknown"),
        ({"count": 100}, 409, "never-fit-pool"),
    ],
)
def test_workers_that_cannot_be_leave_nothing(
    api: Client, portal: Kit, body: dict[str, Any], status: int, slug: str
) -> None:
    problem(batch(api, **body), status, slug)
    assert api("GET", "/leases?state=all").json()["total"] == 0
    assert portal.broken() == []


def test_extensions_at_the_same_moment_stay_within_the_limit_together(api: Client, portal: Kit) -> None:
    lease = api.ask().json()["id"]
    runner, later = portal.runner, []
    # All are allowed by what they see; only then the run loop hears of them.
    runner.tell = lambda *what: later.append(Runner.tell(runner, *what)) or later[-1]  # type: ignore[method-assign,func-returns-value]
    portal.desk._answer = lambda answer: runner.board.leases[lease]  # type: ignore[method-assign]
    for _ in range(3):
        assert api("POST", f"/leases/{lease}/extend", json={"seconds": 2 * 3600}).status_code == 200
    runner.step()
    assert [answer.exception() is None for answer in later] == [True, True, False]
    assert runner.board.leases[lease].seconds == 8 * 3600
    assert portal.broken() == []


@pytest.mark.parametrize(("method", "path", "body"), ADMIN_ONLY)
def test_only_administrators_run_the_portal(api: Client, method: str, path: str, body: Any) -> None:
    for who in ("researcher", "outsider", "hub"):
        problem(api(method, path, who, json=body), 403, "not-allowed")
    assert api(method, path, "admin", json=body).is_success


def test_outsiders_see_nothing_of_others(api: Client) -> None:
    lease = api.ask().json()["id"]
    problem(api("GET", f"/leases/{lease}", "outsider"), 404, "lease-unknown")
    problem(api("DELETE", f"/leases/{lease}", "outsider"), 404, "lease-unknown")
    problem(api("POST", f"/leases/{lease}/heartbeat", "outsider", json={"phase": "ended"}), 404, "lease-unknown")
    problem(api("POST", f"/leases/{lease}/extend", "outsider", json={"seconds": 60}), 404, "lease-unknown")
    problem(api("GET", "/leases?user=researcher", "outsider"), 403, "not-allowed")
    problem(api("GET", "/offers?user=researcher", "outsider"), 403, "not-allowed")
    problem(api("GET", "/projects/demo/usage", "outsider"), 404, "project-unknown")
    problem(api("POST", "/servers/researcher/-/stopped", "outsider"), 403, "not-allowed")
    for path in ("/offers", "/projects", "/awards", "/ledger", "/leases"):
        assert api("GET", path, "outsider").json()["items"] == []
    assert lease not in json.dumps(api("GET", "/domains", "outsider").json())


def test_an_admin_sees_and_ends_everybodys(api: Client) -> None:
    lease = api.ask().json()["id"]
    assert api("GET", "/leases", "admin").json()["total"] == 1
    assert lease in json.dumps(api("GET", "/domains", "admin").json())
    assert api("DELETE", f"/leases/{lease}", "admin").json()["end_reason"] == "admin"


def test_the_hub_asks_for_a_users_offers_and_reports_stopped_servers(api: Client, portal: Kit) -> None:
    assert len(api("GET", "/offers?user=researcher", "hub").json()["items"]) == 8
    lease = api.ask().json()["id"]
    assert api("POST", "/servers/researcher/-/stopped", "hub").json()["ended"] == [lease]
    portal.step(1)
    assert portal.free() == 72
    problem(api.ask("hub", "k2"), 403, "not-allowed")


def test_offers_tell_price_room_and_why_not(api: Client) -> None:
    offers = {(row["project"], row["profile"]): row for row in api("GET", "/offers").json()["items"]}
    row = offers["demo", "gpu2"]
    assert (row["price_milli"], row["free_now"], row["expected_wait"], row["why_not"]) == (2000, 36, 0, None)
    assert offers["demo-small", "gpu8"]["why_not"]["largest_gpus"] == 1


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"gpus": 73}, 422, "gpus-out-of-range"),
        ({"gpus": 0}, 422, "invalid-input"),
        ({"gpus": 5}, 422, "gpus-not-whole-trays"),
        ({"pool": "moon"}, 404, "pool-unknown"),
        ({"name": "Big One"}, 422, "invalid-input"),
        ({"display_name": "<img src=x>"}, 422, "invalid-input"),
        ({"longest": 0}, 422, "invalid-input"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(api: Client, body: dict[str, Any], status: int, slug: str) -> None:
    full = {"name": "x", "display_name": "X", "pool": "main", "gpus": 1, "longest": 3600} | body
    problem(api("POST", "/profiles", "admin", json=full), status, slug)


def test_profiles_are_versions_of_which_one_is_published(api: Client) -> None:
    full = {"name": "gpu1", "display_name": "One", "pool": "main", "gpus": 1, "longest": 600}
    newest = api("GET", "/profiles/gpu1", "admin").headers["ETag"]
    made = api("POST", "/profiles", "admin", json=full, headers={"If-Match": newest})
    assert (made.json()["version"], made.headers["ETag"] != newest) == (2, True)
    assert {row["version"] for row in api("GET", "/profiles").json()["items"] if row["name"] == "gpu1"} == {1}
    api("POST", "/profiles/gpu1/publish", "admin", json={"version": 2})
    assert api.ask().json()["seconds"] == 600
    problem(api("POST", "/profiles/gpu1/publish", "admin", json={"version": 9}), 404, "profile-unknown")
    assert api("GET", "/offers").json()["total"] == 8


def test_openapi_describes_every_path(api: Client) -> None:
    paths = api.http.get(f"{BASE}/openapi.json").json()["paths"]
    for path in ("/me", "/offers", "/leases", "/leases/{lease_id}", "/awards", "/domains", "/health"):
        assert BASE + path in paths


def test_a_fault_of_ours_is_a_problem_without_a_trace(
    api: Client, portal: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal.registry.directory, "me", lambda who: 1 / 0)
    response = api("GET", "/me")
    problem(response, 500, "portal-failed")
    assert "Traceback" not in response.text
    # Nothing leaves the application: the server would close the connection, on which the proxy sends the next request.
    response = TestClient(api.http.app).get(f"{BASE}/me", headers=dict(response.request.headers))
    assert response.status_code == 500


@pytest.mark.parametrize("path", ["/programmes/demo", "/projects/demo", "/institutions/demo", "/awards/1"])
def test_a_change_of_nothing_changes_nothing(api: Client, path: str) -> None:
    before = api("GET", path, "admin")
    after = api("PATCH", path, "admin", json={}, headers={"If-Match": before.headers["ETag"]})
    assert (after.status_code, after.json()) == (200, before.json())


def test_a_programmes_rules_are_changed_one_by_one(api: Client) -> None:
    for name, value in {"cap": 64, "share": 7, "priority": -3, "at_zero": "low_priority", "factor_milli": 250}.items():
        changed = api("PATCH", "/programmes/demo", "admin", json={name: value}, headers={"If-Match": "*"})
        assert changed.json()[name] == value
    assert api("GET", "/programmes/demo", "admin").json()["share"] == 7
