"""Those who answer for a project: what they see of its leases, what they end, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nvlhub.wire import EndReason, Kind
from tests.api.world import PEOPLE, Api, inhabit
from tests.conftest import HandClock
from tests.portal_kit import Kit
from tests.tables import store_at


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    yield inhabit(store, clock)
    store.close()


@pytest.fixture
def api(portal: Kit) -> Iterator[Api]:
    made = Api()
    made.serve(portal)
    with made.http:
        yield made


def test_an_end_by_a_lead_names_them_to_the_holder_and_in_the_audit_trail(api: Api, portal: Kit) -> None:
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(60)
    assert api("DELETE", f"/leases/{lease.id}", "manager").status_code == 200
    portal.step(1)
    ended = api("GET", f"/leases/{lease.id}", "member").json()
    assert (ended["end_reason"], ended["detail"]) == (EndReason.ADMIN, "manager, who answers for the project, ended it")
    assert ended["charged"] > 0
    line = api("GET", "/audit", "pi", params={"action": "lease-end"}).json()["items"][0]
    assert (line["actor"], line["object"], line["user"]) == ("manager", f"lease:{lease.id}", "member")
    assert portal.broken() == []


def test_an_end_by_an_administrator_names_nobody(api: Api, portal: Kit) -> None:
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    api("DELETE", f"/leases/{lease.id}", "admin")
    portal.step(1)
    assert api("GET", f"/leases/{lease.id}", "member").json()["detail"] == "an administrator ended it"


@pytest.mark.parametrize(("who", "status"), [("officer", 403), ("founder", 404), ("foreign", 404), ("other", 404)])
def test_nobody_else_ends_a_members_lease(api: Api, portal: Kit, who: str, status: int) -> None:
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    assert api("DELETE", f"/leases/{lease.id}", who).status_code == status
    assert portal.seen(lease).state == "running"


def test_signs_of_life_and_more_time_stay_the_holders(api: Api, portal: Kit) -> None:
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    for path, body in (("heartbeat", {"phase": "ended"}), ("extend", {"seconds": 600})):
        assert api("POST", f"/leases/{lease.id}/{path}", "pi", json=body).status_code == 404


def test_a_member_is_listed_their_own_leases_of_a_project(api: Api, portal: Kit) -> None:
    lease = portal.ask("gpu1", PEOPLE["pi"], "optics")
    portal.step(1)

    def seen(who: str) -> list[str]:
        answer = api("GET", "/leases", who, params={"project": "optics"}).json()
        return [item["id"] for item in answer["items"]]

    assert seen("member") == []
    assert seen("manager") == seen("officer") == seen("admin") == [lease.id]
    refused = api("GET", "/leases", "member", params={"project": "optics", "user": "pi"})
    assert refused.status_code == 403


def test_a_kernel_tells_how_many_workers_belong_to_it(api: Api, portal: Kit) -> None:
    kernel = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    for _ in range(3):
        portal.ask("gpu1", PEOPLE["member"], "optics", kind=Kind.WORKER, parent=kernel.id, seconds=600)
    heads = api("GET", "/leases", "member", params={"heads": "true"}).json()
    assert [(item["id"], item["workers"], item["worker_gpus"]) for item in heads["items"]] == [(kernel.id, 3, 3)]
    assert heads["total"] == 1
    assert api("GET", "/leases", "member").json()["total"] == 4


def test_me_tells_what_is_held(api: Api, portal: Kit) -> None:
    assert api("GET", "/me", "member").json()["holding"]["ends_at"] is None
    lease = portal.ask("gpu1", PEOPLE["member"], "optics")
    portal.step(1)
    portal.runner.beat(lease.id, 600)
    portal.runner.step()
    holding = api("GET", "/me", "member").json()["holding"]
    deadline = portal.seen(lease).deadline
    assert holding == {
        "leases": 1, "gpus": 1, "waiting": 0, "ends_at": deadline, "idle_gpus": 1, "now": portal.clock.now(),
    }  # fmt: skip
