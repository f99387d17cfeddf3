"""Usage reports and statements over the API: who sees what, and what becomes of names that are meant to do harm."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from nvlhub.api import plots
from nvlhub.flow.report import By
from nvlhub.registry import reports
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import LeaseAsk
from tests.api.test_api import PEOPLE, Client, problem
from tests.conftest import HandClock
from tests.portal_kit import MAILBOX, RESEARCHER, Kit

LEAD, MEMBER, OFFICER = Visitor("lead"), Visitor("member"), Visitor("officer")
DAY = 86_400


@pytest.fixture(autouse=True)
def people(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second programme with a project of a lead and a member, who are in no other; an officer of the programme."""
    for who in (LEAD, MEMBER, OFFICER):
        monkeypatch.setitem(PEOPLE, who.name, who)
    with portal.store.writing() as unit:
        for who in (LEAD, MEMBER, OFFICER):
            unit.know_user(who.name, portal.clock.now())
        unit.add_programme("chips", "Chips")
        unit.set_officer("chips", "officer", is_one=True)
        unit.set_budget("chips", "main", 10**15, ref="x", at=portal.clock.now(), actor="admin")
        unit.add_project("wafers", "Wafers", "chips")
        unit.set_member("wafers", "lead", "manager")
        unit.set_member("wafers", "member", "member")
        now = portal.clock.now()
        unit.add_award("wafers", "main", 10**12, now, now + 400 * DAY, cap=None, at=now, actor="admin")
    portal.runner.capacity_changed()
    portal.step(0)


def run(portal: Kit, who: Visitor, project: str = "demo", seconds: int = 100, profile: str = "gpu4") -> None:
    portal.keys += 1
    lease, _ = portal.desk.ask(who, LeaseAsk(project=project, profile=profile, mailbox=MAILBOX), f"r{portal.keys}")
    portal.step(seconds)
    portal.desk.end(who, lease.id)
    portal.step(1)


@pytest.fixture
def used(portal: Kit) -> Kit:
    """100 s on 4 GPUs by each of three people."""
    run(portal, RESEARCHER)
    run(portal, LEAD, "wafers")
    run(portal, MEMBER, "wafers")
    return portal


def groups(api: Client, who: str, query: str = "by=user") -> dict[str, int]:
    report = api("GET", f"/usage?{query}", who)
    assert report.status_code == 200, report.text
    return {row["group"]: row["gpu_seconds"] for row in report.json()["rows"]}


SEEN = [
    ("admin", "by=user", {"researcher", "lead", "member"}, True),
    ("officer", "by=user", {"lead", "member"}, False),
    ("officer", "by=user&programme=chips", {"lead", "member"}, True),
    ("officer", "by=user&institution=demo", set(), False),
    ("lead", "by=user", {"lead", "member"}, False),
    ("lead", "by=user&project=wafers", {"lead", "member"}, True),
    ("lead", "by=user&project=wafers&user=member", {"member"}, True),
    ("lead", "by=user&programme=chips", {"lead", "member"}, False),
    ("member", "by=user", {"member"}, False),
    ("member", "by=user&project=wafers", {"member"}, False),
    ("member", "by=user&user=member", {"member"}, True),
    ("outsider", "by=user", set(), False),
]
UNSEEN = [
    ("member", "user=lead", 403, "not-allowed"),
    ("outsider", "user=researcher", 403, "not-allowed"),
    ("member", "project=wafers&user=lead", 403, "not-allowed"),
    ("lead", "project=demo", 404, "project-unknown"),
    ("lead", "project=nothing", 404, "project-unknown"),
    ("lead", "programme=demo", 404, "programme-unknown"),
    ("officer", "programme=nothing", 404, "programme-unknown"),
    ("admin", "programme=nothing", 404, "programme-unknown"),
    ("admin", "institution=nothing", 404, "institution-unknown"),
    ("admin", "pool=nothing", 404, "pool-unknown"),
]


def test_everybody_gets_what_is_theirs_to_see(api: Client, used: Kit) -> None:
    for who, query, seen, complete in SEEN:
        assert (who, query, groups(api, who, query)) == (who, query, dict.fromkeys(seen, 400))
        assert (who, query, api("GET", f"/usage?{query}", who).json()["complete"]) == (who, query, complete)


def test_what_is_not_theirs_is_refused(api: Client, used: Kit) -> None:
    for who, query, status, slug in UNSEEN:
        problem(api("GET", f"/usage?{query}", who), status, slug)


BAD = [
    ("since=1800000000&until=1800000000", "until", "period-reversed"),
    ("since=1800000001&until=1800000000", "until", "period-reversed"),
    ("since=1900000000", "until", "period-reversed"),
    ("since=0&until=1800000000", "since", "period-too-long"),
    ("since=yesterday", "since", "invalid-input"),
    ("since=-1", "since", "invalid-input"),
    ("until=99999999999999", "until", "invalid-input"),
    ("until=1.5", "until", "invalid-input"),
    ("format=xls", "format", "invalid-input"),
    ("colour=red", "colour", "invalid-input"),
]


@pytest.mark.parametrize("path", ["/usage", "/projects/demo/statement"])
def test_a_bad_question_is_told_which_field_is_wrong(api: Client, path: str) -> None:
    for query, field, slug in BAD:
        document = problem(api("GET", f"{path}?{query}"), 422, slug)
        assert document["field"] == field
        assert document["detail"].startswith(field)


def test_a_report_has_the_sums_and_means_of_what_ran(api: Client, used: Kit) -> None:
    report = api("GET", "/usage?by=project", "admin").json()
    assert report["until"] - report["since"] == 30 * DAY
    assert [(row["group"], row["name"]) for row in report["rows"]] == [("wafers", "Wafers"), ("demo", "Demo project")]
    total = report["total"]
    assert (total["gpu_seconds"], total["charged"], total["users"], total["leases_ended"]) == (1200, 1_200_000, 3, 3)
    assert (total["gpus_weighted"], total["gpu_hours_per_lease"], total["failed_share"]) == (4, 0.1111, 0)
    assert len(report["over_time"]) == 31
    assert sum(row["gpu_seconds"] for row in report["over_time"]) == 1200


def test_use_is_compared_with_what_was_in_service_and_nothing_is_made_up(api: Client, used: Kit) -> None:
    """The portal has written down 72 GPUs when it began; nobody has said what is installed or announced."""
    report = api("GET", "/usage", "admin").json()
    whole = {row["kind"]: row for row in report["utilisation"] if not row["pool"]}
    ran = whole["in_service"]
    assert (ran["used"], ran["available"]) == (1200, 72 * (used.clock.now() - ran["since"]))
    assert ran["share"] == pytest.approx(1200 / ran["available"], abs=1e-4)
    for kind in ("installed", "announced"):
        assert [whole[kind][name] for name in ("since", "available", "used", "share")] == [None] * 4


def test_longer_periods_are_shown_by_month(api: Client, used: Kit) -> None:
    query = f"since={used.clock.now() - 3650 * DAY}"
    course = [row["group"] for row in api("GET", f"/usage?{query}", "admin").json()["over_time"]]
    assert len(course) == len(set(course)) == 121
    assert course == sorted(course)
    assert course[-1] == f"{datetime.fromtimestamp(used.clock.now() - 1, UTC):%Y-%m}"
    days = api("GET", f"/usage?{query}&by=day", "admin").json()["rows"]
    assert len(days) == 3651
    assert sum(row["gpu_seconds"] for row in days) == 1200


def test_every_grouping_sums_to_the_total_in_every_format(api: Client, used: Kit) -> None:
    for by in By:
        assert sum(groups(api, "admin", f"by={by}").values()) == 1200
        answer = api("GET", f"/usage?by={by}&format=csv", "admin")
        assert sum(int(row["gpu_seconds"]) for row in table(answer.text)) == 1200
        page = api("GET", f"/usage?by={by}&format=html", "admin")
        assert page.status_code == 200
        assert "0.33" in page.text


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


EVIL = [
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    '"quoted", and\r\na line',
    "<script>alert(1)</script>",
    "正體中文",
]


def rename(portal: Kit, name: str) -> None:
    """Past the API, which refuses such names: what is in the database already must do no harm either."""
    with portal.store.writing() as unit:
        unit.set_project("demo", name=name)
        unit.connection.execute(t.leases.update().values(user=name))


def test_no_name_becomes_a_formula_of_a_spreadsheet(api: Client, used: Kit) -> None:
    for name in EVIL:
        rename(used, name)
        expected = f"'{name}" if name[0] in "=+-@\t\r" else name
        for by in ("project", "user"):
            rows = table(api("GET", f"/usage?by={by}&project=demo&format=csv", "admin").text)
            assert [row["name"] for row in rows] == [expected]


def test_a_csv_is_a_file_with_a_header_and_lines_as_the_standard_has_them(api: Client, used: Kit) -> None:
    answer = api("GET", "/usage?format=csv&since=1799971200&until=1800057600", "admin")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-by-project-2027-01-15-2027-01-16.csv"'
    assert answer.content.startswith(b"group,name,gpu_hours,")
    assert answer.content.count(b"\n") == answer.content.count(b"\r\n") == 3


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_a_page_holds_no_script_and_escapes_every_name(api: Client, used: Kit, lang: str) -> None:
    for name in EVIL:
        rename(used, name)
        for by in ("project", "user"):
            page = api("GET", f"/usage?by={by}&format=html", "admin", headers={"Accept-Language": lang})
            assert page.headers["content-language"] == lang
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert "script" not in page.text.replace("&lt;script&gt;", "").replace("&lt;/script&gt;", "")
            assert not re.search(r"""(src|href)=|url\(|@import|\son\w+=""", page.text)


def test_a_page_says_what_it_leaves_out(api: Client, used: Kit) -> None:
    part = "holds only what is yours to see"
    assert part in api("GET", "/usage?format=html&by=total", "member").text
    assert part not in api("GET", "/usage?format=html&by=total", "admin").text
    assert "Only project “wafers”" in api("GET", "/usage?format=html&project=wafers", "admin").text


def test_a_page_about_nothing_is_a_page(api: Client) -> None:
    page = api("GET", "/usage?format=html&since=1000000000&until=1000000001&by=domain", "admin")
    assert page.status_code == 200
    assert "not known" in page.text


@pytest.mark.parametrize(
    ("most", "step"), [(0, 1), (0.004, 0.001), (1, 0.2), (5.9, 1), (6, 2), (1234, 200), (1e9, 2e8)]
)
def test_rules_of_a_plot_stand_at_round_numbers(most: float, step: float) -> None:
    assert plots._step(most) == pytest.approx(step)
    assert "</svg>" in plots.columns([("a", most), ("b", 0)], "x")


# --- statements ---------------------------------------------------------------------------------------------------


def test_a_statement_leads_from_the_opening_to_the_closing_balance(api: Client, used: Kit, clock: HandClock) -> None:
    middle = clock.now()
    clock.forward(10)
    run(used, LEAD, "wafers")
    whole = api("GET", "/projects/wafers/statement", "member").json()["awards"][0]
    assert [line["entry"] for line in whole["movements"]] == [
        "award",
        "hold",
        "settle",
        "hold",
        "settle",
        "hold",
        "settle",
    ]
    assert whole["opening"] == {"left": 0, "held": 0, "charged": 0}
    award = api("GET", f"/awards/{whole['award']}", "lead").json()
    assert whole["closing"] == {name: award[name] for name in ("left", "held", "charged")} == {
        "left": 10**12 - 1_200_000, "held": 0, "charged": 1_200_000,
    }  # fmt: skip
    later = api("GET", f"/projects/wafers/statement?since={middle}", "member").json()["awards"][0]
    assert later["opening"] == whole["movements"][4]["balance"]
    assert later["closing"] == whole["closing"]
    assert later["movements"] == whole["movements"][5:]
    assert later["movements"][1]["change"] == {
        "left": 4 * 4 * 3_600_000 - 400_000,
        "held": -4 * 4 * 3_600_000,
        "charged": 400_000,
    }


def test_a_statement_as_csv_says_the_same_as_json(api: Client, used: Kit) -> None:
    with used.store.writing() as unit:
        unit.give_back(unit.award(1), 1000, "=1+1", at=used.clock.now() - 1, actor="admin")
    told = api("GET", "/projects/demo/statement").json()["awards"][0]
    answer = api("GET", "/projects/demo/statement?format=csv")
    assert 'filename="statement-demo-' in answer.headers["content-disposition"]
    rows = table(answer.text)
    assert [row["entry"] for row in rows] == ["opening", *(line["entry"] for line in told["movements"]), "closing"]
    for row, line in zip(rows[1:-1], told["movements"], strict=True):
        for column, amount in (("into_left", line["change"]["left"]), ("held", line["balance"]["held"])):
            assert float(row[column]) * 1000 == amount
    assert rows[-2]["reason"] == "'=1+1"
    assert rows[-2]["into_left"] == "-1.000"
    assert {column: float(rows[-1][column]) * 1000 for column in told["closing"]} == told["closing"]


def test_a_statement_is_for_those_who_see_the_project(api: Client, used: Kit) -> None:
    for form in ("json", "csv"):
        for who in ("researcher", "outsider"):
            problem(api("GET", f"/projects/wafers/statement?format={form}", who), 404, "project-unknown")
        for who in ("member", "lead", "officer", "admin"):
            assert api("GET", f"/projects/wafers/statement?format={form}", who).status_code == 200


def test_a_statement_that_is_too_long_for_json_says_what_to_do(
    api: Client, used: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_MOVEMENTS", 2)
    document = problem(api("GET", "/projects/demo/statement"), 422, "statement-too-long")
    assert (document["count"], document["most"]) == (3, 2)
    assert "format=csv" in document["detail"]
    assert len(table(api("GET", "/projects/demo/statement?format=csv").text)) == 5


def test_a_failure_while_a_file_is_made_is_told_and_no_half_a_file_is_sent(
    api: Client, used: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        yield from ()
        raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(reports, "balanced", broken)
    problem(api("GET", "/projects/demo/statement?format=csv"), 500, "portal-failed")


def test_the_usage_by_day_and_user_of_a_project_stays(api: Client, used: Kit) -> None:
    [row] = api("GET", "/projects/demo/usage").json()["items"]
    assert (row["user"], row["gpu_seconds"]) == ("researcher", 400)
