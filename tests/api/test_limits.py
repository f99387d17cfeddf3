"""How often visitors may come to the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from nvlhub.api import Doors, limiter, make_app
from nvlhub.api.limiter import Limiter, TooManyError
from nvlhub.flow.bucket import Pace
from tests.api.test_api import BASE, Client, api, identify, portal, problem
from tests.portal_kit import Kit

__all__ = ["api", "portal"]
RATE, BURST = 2, 10


@dataclass
class Watch:
    at: float = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def limited(portal: Kit, watch: Watch) -> Iterator[Client]:
    doors = Doors(portal.desk, portal.registry, identify, Limiter(Pace(RATE, BURST), watch))
    with TestClient(make_app(doors, "/services/portal/"), raise_server_exceptions=False) as http:
        yield Client(http)


def test_a_visitor_who_comes_too_often_is_told_when_to_come_again(limited: Client, watch: Watch) -> None:
    assert [limited("GET", "/me").status_code for _ in range(BURST)] == [200] * BURST
    refused = limited("GET", "/me")
    document = problem(refused, 429, "too-many-requests")
    assert refused.headers["Retry-After"] == "1"
    assert document["wait"] == 1
    assert "Wait 1 s" in document["detail"]
    chinese = limited("GET", "/me", headers={"Accept-Language": "zh-TW"}).json()
    assert "1 秒" in chinese["detail"]
    watch.at += int(refused.headers["Retry-After"])
    assert [limited("GET", "/me").status_code for _ in range(RATE + 1)] == [200] * RATE + [429]


def test_what_one_visitor_does_costs_no_other(limited: Client) -> None:
    for _ in range(2 * BURST):
        limited("GET", "/me")
    assert limited("GET", "/me").status_code == 429
    assert limited("GET", "/me", "admin").is_success


def test_the_hub_may_always_come(limited: Client) -> None:
    for _ in range(3 * BURST):
        assert limited("GET", "/offers?user=researcher", "hub").is_success


def test_a_refused_request_does_nothing(limited: Client, portal: Kit) -> None:
    for _ in range(BURST):
        limited("GET", "/me")
    problem(limited.ask(), 429, "too-many-requests")
    assert portal.free() == 72
    assert portal.runner.board.leases == {}


def test_signs_of_life_pass_however_often_their_user_calls(limited: Client) -> None:
    lease = limited.ask().json()["id"]
    for _ in range(2 * BURST):
        limited("GET", "/me")
    assert limited("POST", f"/leases/{lease}/heartbeat", json={}).is_success
    beats = {"beats": {lease: {}}}
    answers = [limited("POST", "/leases/heartbeats", json=beats).status_code for _ in range(BURST)]
    assert answers == [200] * (BURST - 1) + [429]


def test_those_whom_nobody_knows_are_limited_by_address_and_sooner(limited: Client, watch: Watch) -> None:
    def come(token: str) -> int:
        return limited("GET", "/me", token).status_code

    assert [come(f"guess-{number}") for number in range(4)] == [401, 401, 429, 429]
    refused = limited("GET", "/me", "guess")
    assert refused.headers["Retry-After"] == "3"
    # Others behind the same address are not kept out by it, nor is who watches the portal.
    assert come("researcher") == 200
    assert limited.http.get(f"{BASE}/health").is_success
    watch.at += 3
    assert [come("guess"), come("guess")] == [401, 429]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("testclient", "", False),
    ],
)
def test_a_host_with_a_network_of_addresses_is_one_stranger(one: str, other: str, shared: bool) -> None:
    limits = Limiter(Pace(1, 5), Watch())
    limits.stranger(one)
    if shared:
        with pytest.raises(TooManyError):
            limits.stranger(other)
    else:
        limits.stranger(other)


def test_buckets_that_are_full_again_are_forgotten_and_there_are_never_too_many(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limiter(Pace(RATE, BURST), watch)
    for number in range(1000):
        limits.call(f"user{number}")
    assert len(limits._buckets) == 1000
    watch.at += BURST / RATE
    limits.call("last")
    assert len(limits._buckets) == 1
    monkeypatch.setattr(limiter, "REMEMBERED", 100)
    for number in range(1000):
        limits.stranger(f"2001:db8:{number:x}::1")
    assert len(limits._buckets) == 100


def test_without_a_limiter_everybody_may_come(api: Client) -> None:
    assert {api("GET", "/health").status_code for _ in range(300)} == {200}
