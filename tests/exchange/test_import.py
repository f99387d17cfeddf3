"""Files into the portal and out of it, on every database: all of a file or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.exchange import FileKind
from nvlhub.store import Store, Unit
from nvlhub.store import tables as t
from nvlhub.wire import MILLI_PER_GPU_HOUR
from tests import portal_kit
from tests.api.test_api import BASE, Client, identify, problem
from tests.conftest import START, HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at

DAY = 86_400
YEAR = 365 * DAY


class Portal(Client):
    """A portal as those see it who send files."""

    def __init__(self, portal: Kit) -> None:
        app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
        super().__init__(TestClient(app, raise_server_exceptions=False))
        self.kit = portal

    def send(self, content: str | bytes | dict[str, Any], who: str = "admin", **params: Any) -> httpx.Response:
        """Import; rows as Python has them go as YAML."""
        body = yaml.safe_dump(content) if isinstance(content, dict) else content
        form = {"format": "yaml"} if isinstance(content, dict) else {}
        headers = params.pop("headers", {})
        return self("POST", "/import", who, params=form | params, content=body, headers=headers)

    def take(self, content: str | bytes | dict[str, Any], **params: Any) -> dict[str, Any]:
        answer = self.send(content, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["kinds"]

    def refused(self, content: str | bytes | dict[str, Any], **params: Any) -> list[tuple[str, int, str]]:
        """Import what cannot be imported; return what is wrong, and see that nothing was."""
        before = self.rows()
        document = problem(self.send(content, **params), 422, "import-refused")
        assert document["total"] >= len(document["errors"]) > 0
        assert all(error["detail"] for error in document["errors"])
        assert self.rows() == before
        return [(error["kind"], error["row"], error["field"]) for error in document["errors"]]

    def export(self, **params: Any) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.file(format="yaml", **params))
        return found

    def file(self, **params: Any) -> bytes:
        answer = self("GET", "/export", "admin", params=params)
        assert answer.status_code == 200, answer.text
        return answer.content

    def rows(self) -> dict[str, Any]:
        """Return everything that the database holds."""
        with self.kit.store.reading() as unit:
            return {table.name: unit.connection.execute(sa.select(table)).all() for table in t.metadata.sorted_tables}


@pytest.fixture
def api(store: Store, clock: HandClock) -> Portal:
    return Portal(kit(store, clock))


@pytest.fixture
def empty(store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Portal:
    """A portal of which nothing is known but its pool."""
    monkeypatch.setattr(portal_kit, "seed", lambda *args: None)
    return Portal(kit(store, clock))


@pytest.fixture
def other(tmp_path: Path, clock: HandClock) -> Iterator[Portal]:
    """A portal elsewhere, with more than the demo."""
    store = store_at(tmp_path / "other.sqlite")
    portal = Portal(kit(store, clock))
    fill(portal)
    yield portal
    store.close()


def fill(portal: Portal) -> None:
    """Have something of every kind, and what is hard about it."""
    portal.take({
        "institutions": [{"slug": "no", "name": "國家實驗室", "ror": "https://ror.org/00abc"}, {"slug": "1-2", "name": "=1+1"}],
        "users": [{"name": "u ſer"}, {"name": "+886"}, {"name": "ünal", "cap": 8}],
        "pools": [{"name": "spare", "gpu_model": "@model", "factor_milli": 1500, "domain_gpus": 36}],
        "capacities": [
            {"pool": "main", "kind": "announced", "gpus": 10_008, "at": START, "source": "press, “quoted”"},
            {"pool": "main", "kind": "announced", "gpus": 72, "at": START + 1, "source": "-"},
        ],
        "programmes": [{"slug": "ai", "name": "'=x", "cap": 64, "share": 7, "priority": -3, "at_zero": "low_priority",
                        "factor_milli": 250}],
        "officers": [{"programme": "ai", "user": "+886"}],
        "budgets": [{"programme": "ai", "pool": "spare", "gpu_hours": 1000}],
        "projects": [{"slug": "on", "name": "A, B", "programme": "ai", "institution": "no", "cap": 5}],
        "members": [{"project": "on", "user": "ünal", "role": "pi"}, {"project": "on", "user": "+886", "cap": 2}],
        "profiles": [{"name": "draft", "display_name": "D", "pool": "spare", "gpus": 8, "longest": 60, "published": "false"},
                     {"name": "gpu1", "display_name": "One", "pool": "main", "gpus": 1, "longest": 600, "published": "true"}],
        "awards": [
            {"project": "on", "pool": "spare", "gpu_hours": 0, "milli_gpu_seconds": 1, "starts": START, "ends": START + YEAR},
            {"project": "demo", "pool": "main", "gpu_hours": 3, "starts": START - YEAR, "ends": START + DAY, "cap": 1},
        ],
    })  # fmt: skip


# --- what a round trip proves -------------------------------------------------------------------------------------


def without_ids(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "awards": [{**row, "id": None} for row in document["awards"]]}


def test_what_is_exported_makes_the_same_in_an_empty_portal(other: Portal, empty: Portal) -> None:
    moved = other.file(format="yaml", ids=False)
    counts = empty.take(moved, format="yaml")
    # The pool that runs here and the administrator who sends the file are there already.
    assert sum(row["unchanged"] for row in counts.values()) == 2
    assert sum(row["changed"] for row in counts.values()) == 0
    assert without_ids(empty.export()) == without_ids(other.export())
    assert empty.file(format="yaml", ids=False) == moved
    assert empty.kit.broken() == []


def test_csv_by_csv_makes_the_same_in_an_empty_portal(other: Portal, empty: Portal) -> None:
    for kind in FileKind:
        empty.take(other.file(format="csv", kind=kind.value, ids=False), format="csv", kind=kind.value)
    assert without_ids(empty.export()) == without_ids(other.export())


def test_an_export_changes_nothing_where_it_comes_from(api: Portal) -> None:
    fill(api)
    before = {name: rows for name, rows in api.rows().items() if name != "audit"}
    for counts in (
        api.take(api.file(format="yaml"), format="yaml"),
        *(api.take(api.file(format="csv", kind=kind.value), format="csv", kind=kind.value) for kind in FileKind),
    ):
        assert not any(row["created"] or row["changed"] for row in counts.values())
    assert {name: rows for name, rows in api.rows().items() if name != "audit"} == before
    assert api.kit.broken() == []


def test_awards_that_are_over_stay_where_they_are(api: Portal, empty: Portal, clock: HandClock) -> None:
    api("POST", "/awards/1/revoke", "admin", json={"reason": "r"})
    assert len(api.export()["awards"]) == 2
    assert [row["project"] for row in api.export(ids=False)["awards"]] == ["demo-small"]
    clock.forward(2 * YEAR)
    assert api.export(ids=False)["awards"] == []
    assert api.take(api.file(format="yaml"), format="yaml")["awards"] == {"created": 0, "changed": 0, "unchanged": 2}


NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="<>&"), min_size=1, max_size=12
)
SLUGS = st.from_regex(r"\A[a-z0-9](?:[a-z0-9-]{0,6}[a-z0-9])?\Z")
CAPS = st.none() | st.integers(1, 10_008)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a document that stands by itself."""
    institutions = draw(st.lists(SLUGS, unique=True, max_size=3))
    users = draw(st.lists(NAMES.filter(lambda name: "/" not in name), unique=True, min_size=1, max_size=4))
    programmes = draw(st.lists(SLUGS, unique=True, min_size=1, max_size=2))
    projects = draw(st.lists(SLUGS, unique=True, min_size=1, max_size=3))
    told = {
        "institutions": [{"slug": slug, "name": draw(NAMES)} for slug in institutions],
        "users": [{"name": name, "cap": draw(CAPS)} for name in users],
        "programmes": [
            {"slug": slug, "name": draw(NAMES), "cap": draw(CAPS), "share": draw(st.integers(1, 10_000)),
             "priority": draw(st.integers(-100, 100)), "factor_milli": draw(st.integers(1, 10**6))}
            for slug in programmes
        ],
        "officers": [{"programme": draw(st.sampled_from(programmes)), "user": draw(st.sampled_from(users))}],
        "budgets": [{"programme": slug, "pool": "main", "gpu_hours": 10**6} for slug in programmes],
        "projects": [
            {"slug": slug, "name": draw(NAMES), "programme": draw(st.sampled_from(programmes)), "cap": draw(CAPS),
             "institution": draw(st.sampled_from([*institutions, None]))}
            for slug in projects
        ],
        "members": [
            {"project": slug, "user": draw(st.sampled_from(users)), "cap": draw(CAPS),
             "role": draw(st.sampled_from(["pi", "manager", "member"]))}
            for slug in projects
        ],
        "awards": [
            {"project": slug, "pool": "main", "gpu_hours": draw(st.integers(1, 1000)), "cap": draw(CAPS),
             "milli_gpu_seconds": draw(st.integers(0, MILLI_PER_GPU_HOUR - 1)), "starts": START - draw(st.integers(0, YEAR)),
             "ends": START + draw(st.integers(1, YEAR))}
            for slug in projects
        ],
    }  # fmt: skip
    return told


@given(document=documents())
# Each example has a database of its own: shrinking one would take minutes.
@settings(
    max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_imported_comes_out_again_and_changes_nothing_then(empty: Portal, document: dict[str, Any]) -> None:
    empty.kit.store.migrate("base")
    empty.kit.store.migrate()
    empty = Portal(kit(empty.kit.store, HandClock()))
    empty.take(document)
    exported = empty.export()
    for kind, rows in document.items():
        sent = [row for row in rows if row.get("name") != "admin"]
        found = exported[kind]
        assert all(any(row.items() <= there.items() for there in found) for row in sent)
    again = empty.take(empty.file(format="yaml"), format="yaml")
    assert not any(row["created"] or row["changed"] for row in again.values())
    assert empty.kit.broken() == []


# --- all or nothing -----------------------------------------------------------------------------------------------

GOOD = {"institutions": [{"slug": "new", "name": "New"}]}


def test_one_bad_row_keeps_all_others_out(api: Portal) -> None:
    rows = [{"slug": f"p{n}", "name": "P", "programme": "demo"} for n in range(5)]
    wrong = api.refused({**GOOD, "projects": [*rows, {"slug": "q", "name": "Q", "programme": "nope"}]})
    assert wrong == [("projects", 6, "programme")]
    wrong = api.refused("slug,name,programme\nx,X,demo\ny,Y,nope\n", format="csv", kind="projects")
    assert wrong == [("projects", 3, "programme")]


def test_all_errors_are_told_by_row_and_field(api: Portal) -> None:
    wrong = api.refused({
        "institutions": [{"slug": "Bad", "name": ""}, {"slug": "ok", "name": "x", "colour": "red"}],
        "programmes": [{"slug": "demo", "name": "D", "at_zero": "explode", "share": 0}],
        "projects": [{"slug": "demo", "name": "D", "programme": "other"}, {"slug": "p", "name": "P", "programme": "demo", "institution": "no"}],
        "members": [{"project": "demo", "user": "nobody"}, {"project": "nope", "user": "admin"},
                    {"project": "demo", "user": "researcher", "role": "member"}],
        "pools": [{"name": "main", "gpu_model": "H100"}],
        "budgets": [{"programme": "demo", "pool": "main", "gpu_hours": 1}, {"programme": "demo", "pool": "moon", "gpu_hours": 1}],
        "officers": [{"programme": "demo", "user": "nobody"}, {"programme": "nope", "user": "admin"}],
        "capacities": [{"pool": "moon", "kind": "announced", "gpus": 1, "at": 0, "source": "s"}],
        "profiles": [
            {"name": "x", "display_name": "X", "pool": "main", "gpus": 5, "longest": 60, "published": "false"},
            {"name": "y", "display_name": "X", "pool": "main", "gpus": 144, "longest": 60, "published": "false"},
            {"name": "z", "display_name": "X", "pool": "moon", "gpus": 1, "longest": 60, "published": "false"},
        ],
    })  # fmt: skip
    assert wrong == [
        ("institutions", 1, "slug"), ("institutions", 1, "name"), ("institutions", 2, "colour"),
        ("pools", 1, "name"), ("capacities", 1, "pool"),
        ("programmes", 1, "share"), ("programmes", 1, "at_zero"),
        ("officers", 1, "user"), ("officers", 2, "programme"),
        ("budgets", 1, "gpu_hours"), ("budgets", 2, "pool"),
        ("projects", 1, "programme"), ("projects", 2, "institution"),
        ("members", 1, "user"), ("members", 2, "project"), ("members", 3, "role"),
        ("profiles", 1, "gpus"), ("profiles", 2, "gpus"), ("profiles", 3, "pool"),
    ]  # fmt: skip


AWARD = {"project": "demo", "pool": "main", "gpu_hours": 1, "starts": START, "ends": START + DAY}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"gpu_hours": 10**30}, "gpu_hours"),
        ({"gpu_hours": 10**10}, "gpu_hours"),
        ({"gpu_hours": 99_799}, "gpu_hours"),
        ({"gpu_hours": 99_798, "milli_gpu_seconds": 1}, "gpu_hours"),
        ({"gpu_hours": -1}, "gpu_hours"),
        ({"gpu_hours": 0}, "gpu_hours"),
        ({"gpu_hours": 1.5}, "gpu_hours"),
        ({"gpu_hours": "nan"}, "gpu_hours"),
        ({"starts": START + DAY, "ends": START}, "ends"),
        ({"ends": START}, "ends"),
        ({"starts": "2027-01-15", "ends": "2027-01-14"}, "ends"),
        ({"starts": START - YEAR, "ends": START - DAY}, "ends"),
        ({"starts": 2**41}, "starts"),
        ({"project": "dеmo"}, "project"),
        ({"project": "nope"}, "project"),
        ({"pool": "moon"}, "pool"),
        ({"cap": 0}, "cap"),
        ({"id": 99}, "id"),
    ],
)
def test_an_award_that_cannot_be_is_told_with_its_column(api: Portal, row: dict[str, Any], field: str) -> None:
    assert api.refused({**GOOD, "awards": [AWARD, {**AWARD, **row}]}) == [("awards", 2, field)]
    assert api.kit.broken() == []


def test_at_most_two_hundred_errors_are_listed_and_all_are_counted(api: Portal) -> None:
    answer = api.send({"users": [{"name": "<"} for _ in range(300)]})
    document = problem(answer, 422, "import-refused")
    assert (len(document["errors"]), document["total"]) == (200, 300)
    assert "300" in document["detail"]


def test_errors_are_told_in_the_readers_language(api: Portal) -> None:
    row = {"slug": "p", "name": "P", "programme": "nope"}
    document = api.send({"projects": [row]}, headers={"Accept-Language": "zh-TW"}).json()
    assert "沒有匯入" in document["detail"]
    assert "計畫" in document["errors"][0]["detail"]


def test_what_only_the_database_refuses_is_the_fault_of_its_row(api: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when somebody else adds the same project at the same moment."""

    def clash(self: Unit, slug: str, name: str, programme: str, **more: Any) -> None:
        self.connection.execute(t.projects.insert().values(slug="demo", name=name, programme=programme))

    monkeypatch.setattr(Unit, "add_project", clash)
    rows = [{"slug": "p", "name": "P", "programme": "demo"}, {"slug": "q", "name": "Q", "programme": "demo"}]
    unknown = {"project": "p", "user": "admin"}
    assert api.refused({**GOOD, "projects": rows, "members": [unknown]}) == [
        ("projects", 1, ""),
        ("projects", 2, ""),
        ("members", 1, "project"),
    ]


def test_a_database_that_cannot_is_our_failure_and_nothing_is_imported(
    api: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **more: Any) -> None:
        raise sa.exc.OperationalError("deadlock", None, Exception())

    monkeypatch.setattr(Unit, "add_project", broken)
    before = api.rows()
    problem(api.send({**GOOD, "projects": [{"slug": "p", "name": "P", "programme": "demo"}]}), 503, "portal-busy")
    assert api.rows() == before


def test_files_at_the_same_moment_get_in_one_after_the_other_or_are_told_to_come_again(api: Portal) -> None:
    """Several writers of the same rows in opposite orders, and of the same new ones: no half file, no fault of ours."""
    slugs = [f"p{n}" for n in range(20)]
    api.take({"projects": [{"slug": slug, "name": "P", "programme": "demo"} for slug in slugs]})

    def writer(number: int) -> int:
        ordered = slugs if number % 2 else slugs[::-1]
        rows = [{"slug": slug, "name": f"by {number}", "programme": "demo"} for slug in ordered]
        new = {"slug": "same", "name": f"by {number}", "programme": "demo"}
        return api.send({"projects": [*rows, new], "awards": [AWARD]}).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(writer, range(6)))
    assert set(statuses) <= {200, 422, 503}
    assert statuses.count(200) >= 1
    assert len({row["name"] for row in api.export()["projects"] if row["slug"] in {*slugs, "same"}}) == 1
    assert len(api.export()["awards"]) == 2 + statuses.count(200)
    assert api.kit.broken() == []


# --- what an import does ------------------------------------------------------------------------------------------


def test_a_trial_tells_what_would_be_done_and_does_nothing(api: Portal) -> None:
    before = api.rows()
    answer = api.send({**GOOD, "awards": [AWARD]}, dry_run=True, headers={"Idempotency-Key": "k"}).json()
    one = {"created": 1, "changed": 0, "unchanged": 0}
    assert answer == {"dry_run": True, "kinds": {"institutions": one, "awards": one}}
    assert api.rows() == before
    assert api.take({**GOOD, "awards": [AWARD]}) == answer["kinds"]


def test_a_file_that_is_sent_again_with_its_key_is_imported_once(api: Portal) -> None:
    sent = {"headers": {"Idempotency-Key": "k"}}
    first = api.take({"awards": [AWARD]}, **sent)
    before = api.rows()
    assert api.take({"awards": [AWARD]}, **sent) == first
    assert api.rows() == before
    problem(api.send({"awards": [{**AWARD, "gpu_hours": 2}]}, **sent), 409, "key-reused")
    assert len(api.export()["awards"]) == 3


def test_what_is_left_out_stays_and_what_is_empty_becomes_what_it_is_without(api: Portal) -> None:
    api.take({"projects": [{"slug": "demo", "name": "D", "programme": "demo", "cap": 7}]})
    assert api.take("slug,name,programme\ndemo,E,demo\n", format="csv", kind="projects")["projects"]["changed"] == 1
    row = {"slug": "demo", "name": "E", "programme": "demo", "institution": "demo", "cap": 7}
    assert api.export()["projects"][0] == row
    api.take("slug,name,programme,institution,cap\ndemo,E,demo,,\n", format="csv", kind="projects")
    assert api.export()["projects"][0] == {**row, "institution": None, "cap": None}


def test_nothing_is_deleted(api: Portal) -> None:
    before = api.export()
    api.take({kind.value: [] for kind in FileKind})
    api.take({"members": [{"project": "demo", "user": "admin"}]})
    after = api.export()
    assert [row["user"] for row in after["members"]][:3] == ["admin", "instructor", "researcher"]
    assert {kind: rows for kind, rows in after.items() if kind != "members"} == {
        kind: rows for kind, rows in before.items() if kind != "members"
    }


def test_a_project_is_handed_over_in_one_file_whatever_the_order_of_its_rows(api: Portal) -> None:
    api.take({
        "members": [
            {"project": "demo", "user": "researcher", "role": "member"},
            {"project": "demo", "user": "instructor", "role": "pi"},
        ]
    })  # fmt: skip
    assert [row["role"] for row in api.export()["members"] if row["project"] == "demo"] == ["pi", "member"]


def test_an_award_keeps_what_never_changes_and_takes_a_new_end_and_cap(api: Portal) -> None:
    [row, _] = api.export()["awards"]
    changed = {**row, "ends": row["ends"] + DAY, "cap": 3}
    assert api.take({"awards": [changed]})["awards"] == {"created": 0, "changed": 1, "unchanged": 0}
    assert api.export()["awards"][0] == changed
    for name, value in {"project": "demo-small", "gpu_hours": 1, "milli_gpu_seconds": 1, "starts": START}.items():
        assert api.refused({"awards": [{**changed, name: value}]}) == [("awards", 1, name)]
    assert api.refused({"awards": [{**changed, "ends": START - 1}]}) == [("awards", 1, "ends")]
    api("POST", "/awards/1/revoke", "admin", json={"reason": "r"})
    [over, _] = api.export()["awards"]
    assert api.refused({"awards": [{**over, "ends": over["ends"] + 1}]}) == [("awards", 1, "ends")]
    assert api.kit.broken() == []


def test_an_award_does_not_end_before_its_leases(api: Portal) -> None:
    api.kit.ask()
    [row, _] = api.export()["awards"]
    assert api.refused({"awards": [{**row, "ends": START + 60}]}) == [("awards", 1, "ends")]


def test_amounts_below_a_gpu_hour_are_not_lost(api: Portal) -> None:
    """An award that was revoked after some use is no whole number of GPU-hours."""
    lease = api.kit.ask()
    api.kit.step(7)
    api("DELETE", f"/leases/{lease.id}", "admin")
    api.kit.step(1)
    api("POST", "/awards/1/revoke", "admin", json={"reason": "r"})
    [row, _] = api.export()["awards"]
    assert (row["gpu_hours"], row["milli_gpu_seconds"]) == (0, 7000)
    assert api.take({"awards": [row]})["awards"]["unchanged"] == 1


def test_a_profile_gets_a_new_version_only_when_it_is_different(api: Portal) -> None:
    row = {"name": "gpu1", "display_name": "One", "pool": "main", "gpus": 1, "longest": 600, "idle": None}

    def versions() -> list[tuple[int, bool]]:
        return [
            (profile["version"], profile["published"])
            for profile in api("GET", "/profiles", "admin").json()["items"]
            if profile["name"] == "gpu1"
        ]

    for _ in range(2):
        api.take({"profiles": [{**row, "published": "false"}]})
        assert versions() == [(1, True), (2, False)]
    for _ in range(2):
        api.take({"profiles": [{**row, "published": "true"}]})
        assert versions() == [(1, False), (2, True)]
    api.take({"profiles": [{**row, "published": "false"}]})
    assert versions() == [(1, False), (2, True)]


def test_a_pool_that_no_engine_runs_here_can_be_changed(api: Portal) -> None:
    api.take({"pools": [{"name": "spare", "gpu_model": "X"}]})
    api.take({"pools": [{"name": "spare", "gpu_model": "Y", "factor_milli": 2000}]})
    [_, spare] = api.export()["pools"]
    assert spare == {"name": "spare", "gpu_model": "Y", "factor_milli": 2000, "domain_gpus": 72}


def test_the_last_word_on_capacity_counts_and_is_told(api: Portal) -> None:
    row = {"pool": "main", "kind": "announced", "gpus": 72, "at": START, "source": "s"}
    assert api.take({"capacities": [row]})["capacities"]["created"] == 1
    assert api.take({"capacities": [{**row, "gpus": 144}]})["capacities"]["changed"] == 1
    assert api.export()["capacities"] == [{**row, "gpus": 144}]
    assert api("GET", "/pools", "admin").json()["items"][0]["announced"] == 144


def test_every_changed_row_has_a_line_in_the_audit_trail_and_so_has_the_import(api: Portal) -> None:
    fill(api)
    api.take({"projects": [{"slug": "on", "name": "New", "programme": "ai"}]})
    trail = api("GET", "/audit?per_page=200", "admin").json()["items"]
    lines = [line for line in trail if line["actor"] != "demo"]
    assert [line["action"] for line in lines[:2]] == ["import", "project-change"]
    assert (lines[1]["before"]["name"], lines[1]["after"]["name"]) == ("A, B", "New")
    assert (lines[1]["programme"], lines[1]["project"]) == ("ai", "on")
    assert [line["action"] for line in reversed(lines[2:])] == [
        "institution-add", "institution-add", "user-add", "user-add", "user-add", "pool-add", "capacity-add", "capacity-add",
        "programme-add", "officer-add", "budget-change", "project-add", "member-set", "member-set", "profile-add", "profile-add",
        "award-add", "award-add", "import",
    ]  # fmt: skip
    award = lines[3]
    assert (award["object"], award["programme"], award["project"]) == ("award:4", "demo", "demo")
    assert api.kit.broken() == []


# --- who may, and what is asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["researcher", "outsider", "hub"])
def test_files_are_for_administrators(api: Portal, who: str) -> None:
    problem(api("GET", "/export?format=yaml", who), 403, "not-allowed")
    problem(api.send(GOOD, who), 403, "not-allowed")
    problem(api.send(b"\xff", who, format="csv"), 403, "not-allowed")


def test_files_are_for_nobody_without_a_login(api: Portal) -> None:
    problem(api.http.get(f"{BASE}/export?format=yaml"), 401, "login-needed")  # type: ignore[arg-type]
    problem(api.http.post(f"{BASE}/import?format=yaml", content=b""), 401, "login-needed")  # type: ignore[arg-type]


def test_an_officer_is_no_administrator(api: Portal) -> None:
    with api.kit.store.writing() as unit:
        unit.set_officer("demo", "researcher", is_one=True)
    problem(api.send(GOOD, "researcher"), 403, "not-allowed")


@pytest.mark.parametrize(
    ("params", "slug"),
    [
        ({"format": "csv"}, "import-kind-needed"),
        ({"format": "yaml", "kind": "projects"}, "import-kind-surplus"),
        ({"format": "xml"}, "invalid-input"),
        ({"format": "csv", "kind": "moons"}, "invalid-input"),
        ({}, "invalid-input"),
    ],
)
def test_what_a_file_is_has_to_be_said(api: Portal, params: dict[str, Any], slug: str) -> None:
    problem(api.send("slug,name\n", **params), 422, slug)


def test_an_export_as_csv_is_of_one_kind(api: Portal) -> None:
    problem(api("GET", "/export?format=csv", "admin"), 422, "import-kind-needed")
    answer = api("GET", "/export?format=csv&kind=users", "admin")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content == b"\xef\xbb\xbfname,cap\r\nadmin,\r\ninstructor,\r\nresearcher,\r\n"
    assert api("GET", "/export?format=yaml&kind=users", "admin").text.splitlines()[0] == "users:"


def test_a_file_above_a_mebibyte_is_not_read(api: Portal) -> None:
    problem(api.send(b"#" * (1024 * 1024 + 1), format="yaml"), 413, "body-too-large")


def test_an_export_opens_nothing_in_a_spreadsheet_and_comes_back(api: Portal) -> None:
    api.take({"institutions": [{"slug": "evil", "name": "=HYPERLINK(1)"}]})
    content = api.file(format="csv", kind="institutions")
    assert b"evil,'=HYPERLINK(1)," in content
    assert api.take(content, format="csv", kind="institutions")["institutions"]["unchanged"] == 2
