"""What leases, projects and the machine used, over the API: who sees what, in which order, and as which file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import sqlalchemy as sa

from nvlhub.flow.series import STEPS
from nvlhub.registry import telemetry
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import Beat, GpuSample, LeaseAsk, Sample
from tests.api.test_api import PEOPLE, Client
from tests.portal_kit import MAILBOX, RESEARCHER, Kit

LEAD, MEMBER, OFFICER = Visitor("lead"), Visitor("member"), Visitor("officer")
DAY = 86_400


@pytest.fixture(autouse=True)
def people(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second programme with a project of a lead and a member, and an officer of the programme."""
    for who in (LEAD, MEMBER, OFFICER):
        monkeypatch.setitem(PEOPLE, who.name, who)
    now = portal.clock.now()
    with portal.store.writing() as unit:
        for who in (LEAD, MEMBER, OFFICER):
            unit.know_user(who.name, now)
        unit.add_programme("chips", "Chips")
        unit.set_officer("chips", "officer", is_one=True)
        unit.set_budget("chips", "main", 10**15, ref="x", at=now, actor="admin")
        unit.add_project("wafers", "Wafers", "chips")
        unit.set_member("wafers", "lead", "manager")
        unit.set_member("wafers", "member", "member")
        unit.add_award("wafers", "main", 10**12, now, now + 400 * DAY, cap=None, at=now, actor="admin")
    portal.runner.capacity_changed()
    portal.step(0)


def run(portal: Kit, who: Visitor, project: str, seconds: int, busy: int | None, profile: str = "gpu4") -> str:
    """Run a lease for a while at a utilisation, and end it; return its id."""
    portal.keys += 1
    lease, _ = portal.desk.ask(who, LeaseAsk(project=project, profile=profile, mailbox=MAILBOX), f"t{portal.keys}")
    for _ in range(seconds // 10):
        portal.clock.forward(10)
        gpu = GpuSample(busy=busy or 0, memory=5, memory_total=10)
        sample = None if busy is None else Sample(real=False, gpus=(gpu,))
        portal.desk.beat(who, lease.id, Beat(sample=sample, idle_seconds=0 if busy else 10**6), "en")
        portal.runner.step()
    portal.desk.end(who, lease.id)
    portal.step(1)
    return lease.id


@pytest.fixture
def used(portal: Kit) -> dict[str, str]:
    """Leases of 4 GPUs: the researcher's busy, the lead's half idle, the member's never measured."""
    found = {
        "busy": run(portal, RESEARCHER, "demo", 100, 95),
        "half": run(portal, LEAD, "wafers", 200, 45),
        "unmeasured": run(portal, MEMBER, "wafers", 50, None),
    }
    portal.desk.telemetry.keep()
    return found


def ids(api: Client, who: str, query: str = "") -> list[str]:
    return [row["id"] for row in api("GET", f"/usage/leases?{query}", who).json()["items"]]


def test_leases_come_in_the_order_asked_for(api: Client, used: dict[str, str]) -> None:
    admin = "admin"
    assert ids(api, admin) == [used["half"], used["busy"], used["unmeasured"]]
    assert ids(api, admin, "sort=busy") == [used["busy"], used["half"], used["unmeasured"]]
    assert ids(api, admin, "sort=idle")[0] == used["unmeasured"]
    assert ids(api, admin, "per_page=1&page=2") == [used["busy"]]
    page = api("GET", "/usage/leases?per_page=1&page=2", admin).json()
    assert (page["page"], page["per_page"], page["total"]) == (2, 1, 3)
    [first] = api("GET", "/usage/leases?per_page=1", admin).json()["items"]
    assert (first["efficiency"], first["measured"], first["busy"], first["gpu_seconds"]) == (0.45, 800, 360, 800)
    assert (first["charged"], first["real"], first["state"]) == (800_000, False, "settled")


def test_a_lease_that_runs_is_listed_with_what_it_costs_so_far(api: Client, portal: Kit) -> None:
    lease = portal.ask("gpu2")
    portal.step(10)
    [row] = api("GET", "/usage/leases", RESEARCHER.name).json()["items"]
    assert (row["id"], row["charged"], row["gpu_seconds"], row["efficiency"]) == (lease.id, 20_000, 20, None)


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("researcher", {"busy"}),
        ("lead", {"half", "unmeasured"}),
        ("member", {"unmeasured"}),
        ("officer", {"half", "unmeasured"}),
    ],
)
def test_everybody_sees_what_is_theirs(api: Client, used: dict[str, str], who: str, sees: set[str]) -> None:
    seen = {used[name] for name in sees}
    assert set(ids(api, who)) == seen
    text = api("GET", "/usage/leases?format=csv", who).text
    assert {lease for lease in used.values() if lease in text} == seen
    report = api("GET", "/efficiency", who).json()
    assert sum(one["leases"] for one in report["bins"]) == len(sees - {"unmeasured"})
    statuses = {name: api("GET", f"/leases/{lease}/usage", who).status_code for name, lease in used.items()}
    assert {name for name, status in statuses.items() if status == 200} == sees
    assert set(statuses.values()) <= {200, 404}


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        ("member", "project=wafers", 200), ("member", "project=demo", 404), ("member", "user=lead", 403),
        ("member", "programme=demo", 404), ("lead", "user=member", 200), ("officer", "programme=chips", 200),
        ("officer", "programme=demo", 404), ("officer", "project=nothing", 404), ("researcher", "user=researcher", 200),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/usage/leases", "/efficiency", "/activity"])
def test_what_is_not_theirs_is_refused(
    api: Client, used: dict[str, str], path: str, who: str, query: str, status: int
) -> None:
    assert api("GET", f"{path}?{query}", who).status_code == status


def test_activity_is_ones_own_unless_more_is_asked_for(api: Client, used: dict[str, str]) -> None:
    def held(who: str, query: str = "") -> tuple[int, bool]:
        found = api("GET", f"/activity?{query}", who).json()
        return sum(one["held"] for one in found["items"]), found["complete"]

    assert held(LEAD.name) == (800, True)
    assert held(LEAD.name, "project=wafers") == (1000, True)
    assert held(MEMBER.name, "project=wafers") == (200, False)
    assert held(OFFICER.name) == (0, True)
    assert held(OFFICER.name, "programme=chips") == (1000, True)
    assert held("admin") == (0, True)
    assert held("admin", "everything=true") == (1400, True)
    quarters = api("GET", "/activity?hours=2", LEAD.name).json()
    assert len(quarters["items"]) == 8
    assert all(one["at"] % 900 == 0 for one in quarters["items"])
    assert api("GET", "/activity?hours=169", LEAD.name).status_code == 422


def test_efficiency_weighs_leases_by_what_they_held(api: Client, used: dict[str, str]) -> None:
    report = api("GET", "/efficiency", "admin").json()
    bins = {one["least"]: (one["leases"], one["gpu_seconds"]) for one in report["bins"] if one["leases"]}
    assert bins == {40: (1, 800), 90: (1, 400)}
    assert [one["most"] for one in report["bins"]] == list(range(10, 101, 10))
    assert (report["held"], report["measured"], report["busy"], report["unmeasured"]) == (1400, 1200, 740, 200)
    assert (report["simulated"], report["efficiency"]) == (True, round(740 / 1200, 4))
    assert report["idle"] == 200


def test_all_the_time_at_work_is_in_the_last_column(api: Client, portal: Kit) -> None:
    run(portal, RESEARCHER, "demo", 30, 100)
    portal.desk.telemetry.keep()
    assert api("GET", "/efficiency", RESEARCHER.name).json()["bins"][-1]["leases"] == 1


def test_what_the_idle_rule_gave_back_is_what_was_paid_for_and_not_run(api: Client, portal: Kit) -> None:
    lease = portal.ask("gpu4")
    for _ in range(361):
        portal.clock.forward(10)
        portal.desk.beat(RESEARCHER, lease.id, Beat(idle_seconds=10**6), "en")
        portal.runner.step()
    portal.step(1)
    assert portal.seen(lease).end_reason == "idle"
    found = api("GET", "/savings", "admin").json()
    assert (found["leases"], found["gpu_seconds"]) == (1, 4 * (4 * 3600 - 3600))
    early = portal.clock.now() - 10_000
    assert api("GET", f"/savings?since={early - DAY}&until={early}", "admin").json()["leases"] == 0
    assert api("GET", "/savings", RESEARCHER.name).status_code == 403


def test_a_story_of_a_lease(api: Client, portal: Kit) -> None:
    lease = portal.ask("gpu1")
    portal.step(20)
    assert api("POST", f"/leases/{lease.id}/extend", RESEARCHER.name, json={"seconds": 3600}).status_code == 200
    portal.step(20)
    assert api("GET", f"/leases/{lease.id}/usage", RESEARCHER.name).json()["charge"] == 40_000
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    body = {"lease": lease.id, "gpu_seconds": -10, "reason": "slow start"}
    assert api("POST", "/ledger/corrections", "admin", json=body, headers={"Idempotency-Key": "c1"}).status_code == 201
    found = api("GET", f"/leases/{lease.id}/usage", RESEARCHER.name).json()
    assert [event["kind"] for event in found["events"]] == [
        "asked", "placed", "started", "extended", "ended", "settled", "corrected"
    ]  # fmt: skip
    assert found["charge"] == 30_000
    texts = [event["text"] for event in found["events"]]
    assert "1.00 GPU-hours were set aside by researcher" in texts[3]
    assert texts[4] == "given back"
    assert "slow start" in texts[-1]
    assert "-0.00" in texts[-1]
    told = api("GET", f"/leases/{lease.id}/usage", RESEARCHER.name, headers={"Accept-Language": "zh-TW"}).json()
    assert told["events"][0]["text"] == "已提出，並預留了時數。"


def test_who_leads_sees_what_was_used_and_not_what_it_is_called(api: Client, portal: Kit) -> None:
    portal.keys += 1
    ask = LeaseAsk(project="wafers", profile="gpu1", mailbox=MAILBOX, label="my secret kernel")
    lease, _ = portal.desk.ask(Visitor("member", server="member/lab"), ask, "label")
    for who in ("lead", "officer"):
        shown = api("GET", f"/leases/{lease.id}/usage", who).json()["lease"]
        assert (shown["label"], shown["server"], shown["user"]) == ("", "", "member")
    own = api("GET", f"/leases/{lease.id}/usage", MEMBER.name).json()["lease"]
    assert (own["label"], own["server"]) == ("my secret kernel", "member/lab")


def test_a_long_series_is_told_in_as_many_points_as_a_screen_has(
    api: Client, portal: Kit, used: dict[str, str]
) -> None:
    count = STEPS[0][1] + STEPS[1][1]
    told = json.dumps([[[at * 10 for at in range(count)], [50] * count, [1] * count], [[], [], []], [[], [], []]])
    with portal.store.writing() as unit:
        unit.connection.execute(sa.update(t.lease_usage).values(series=json.loads(told)))
    points = api("GET", f"/leases/{used['busy']}/usage", RESEARCHER.name).json()["points"]
    assert 100 < len(points) <= telemetry.POINTS


def test_names_that_are_formulas_stay_text_in_a_spreadsheet(api: Client, portal: Kit) -> None:
    evil = Visitor("=HYPERLINK(1)")
    with portal.store.writing() as unit:
        unit.know_user(evil.name, portal.clock.now())
        unit.set_member("wafers", evil.name, "member")
    run(portal, evil, "wafers", 10, 50)
    portal.desk.telemetry.keep()
    answer = api("GET", "/usage/leases?format=csv", "admin")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["user"] for row in rows] == ["'=HYPERLINK(1)"]
    assert (rows[0]["measured_on"], rows[0]["efficiency"], rows[0]["gpus"]) == ("process", "0.5", "4")
    assert answer.headers["content-disposition"].startswith('attachment; filename="leases-')


@pytest.mark.parametrize("path", ["/usage/leases", "/efficiency", "/savings"])
def test_a_period_that_is_none_is_refused(api: Client, path: str) -> None:
    assert api("GET", f"{path}?since=10&until=5", "admin").status_code == 422
