"""Profiles over the API: who may start them, drafts, two who edit at once, publish and roll back, how starts went."""

from __future__ import annotations

from typing import Any

import pytest

from nvlhub.engines.base import Task
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.forms import NewProfile, Publish
from nvlhub.store import Store
from nvlhub.wire import Kind
from tests.api.test_api import Client, problem
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit

BODY = {"name": "gpu1", "display_name": "1 GPU", "pool": "main", "gpus": 1, "longest": 4 * 3600, "idle": 3600}


def add(api: Client, *, match: str = "", **values: Any) -> Any:
    tag = match or api("GET", "/profiles/gpu1", "admin").headers["ETag"]
    return api("POST", "/profiles", "admin", json={**BODY, **values}, headers={"If-Match": tag})


def publish(api: Client, version: int) -> None:
    assert api("POST", "/profiles/gpu1/publish", "admin", json={"version": version}).status_code == 200


def published(api: Client) -> int:
    shown: int = api("GET", "/profiles/gpu1", "admin").json()["published"]
    return shown


# --- who may start it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "projects"),
    [
        ({}, {"demo", "demo-small"}),
        ({"programmes": ["demo"]}, {"demo", "demo-small"}),
        ({"projects": ["demo"]}, {"demo"}),
        ({"programmes": ["other"], "projects": ["demo-small"]}, {"demo-small"}),
        ({"programmes": ["other"]}, set()),
    ],
)
def test_a_profile_is_offered_to_its_audience_and_refused_to_others(
    api: Client, audience: dict[str, list[str]], projects: set[str]
) -> None:
    api("POST", "/programmes", "admin", json={"slug": "other", "name": "Other"})
    assert add(api, audience=audience).status_code == 201
    publish(api, 2)
    offers = api("GET", "/offers").json()["items"]
    assert {row["project"] for row in offers if row["profile"] == "gpu1"} == projects
    for number, project in enumerate(("demo", "demo-small")):
        answer = api.ask(project=project, key=f"k{number}", seconds=600)
        if project in projects:
            assert answer.status_code == 201
        else:
            assert "is not for project" in problem(answer, 403, "profile-not-for")["detail"]
    shown = [row["name"] for row in api("GET", "/profiles").json()["items"]]
    assert ("gpu1" in shown) is bool(projects)


def test_users_see_of_an_audience_what_is_theirs_and_nothing_for_administrators(api: Client) -> None:
    for slug in ("other", "third"):
        api("POST", "/programmes", "admin", json={"slug": slug, "name": slug})
    api("POST", "/projects", "admin", json={"slug": "secret", "name": "Secret", "programme": "other"})
    audience = {"programmes": ["demo", "third"], "projects": ["demo", "secret"]}
    add(api, audience=audience, note="for them", hints={"slurm": {"partition": "x"}})
    publish(api, 2)
    [theirs] = api("GET", "/profiles/gpu1").json()["versions"]
    assert theirs["audience"] == {"programmes": ["demo"], "projects": ["demo"]}
    assert (theirs["note"], theirs["hints"], theirs["made_by"]) == ("", {}, "")
    newest = api("GET", "/profiles/gpu1", "admin").json()["versions"][0]
    assert newest["audience"] == audience
    assert (newest["note"], newest["made_by"], newest["made_at"] > 0) == ("for them", "admin", True)
    problem(api("GET", "/profiles/gpu1", "outsider"), 404, "profile-unknown")


@pytest.mark.parametrize(
    ("values", "status", "slug"),
    [
        ({"audience": {"programmes": ["nope"]}}, 404, "programme-unknown"),
        ({"audience": {"projects": ["nope"]}}, 404, "project-unknown"),
        ({"audience": {"users": ["x"]}}, 422, "invalid-input"),
        *(({"environment": {name: "x"}}, 422, "profile-variable-reserved") for name in (
            "PATH", "LD_PRELOAD", "PYTHONPATH", "JUPYTERHUB_API_TOKEN", "NVLHUB_LEASE", "CUDA_VISIBLE_DEVICES", "HOME")),
        *(({"environment": {name: "x"}}, 422, "invalid-input") for name in ("a", "1A", "A-B", "A=B", "")),
        ({"environment": {"A": "x\ny"}}, 422, "invalid-input"),
        ({"environment": {"A": "x" * 1001}}, 422, "invalid-input"),
        ({"environment": {f"V{number}": "" for number in range(51)}}, 422, "invalid-input"),
        ({"hints": {"pbs": {}}}, 422, "invalid-input"),
        ({"hints": {"slurm": {"a": {"b": 1}}}}, 422, "invalid-input"),
        ({"hints": {"slurm": {"a": None}}}, 422, "invalid-input"),
        ({"note": "<b>"}, 422, "invalid-input"),
    ],
)  # fmt: skip
def test_what_a_profile_cannot_have_is_refused(api: Client, values: dict[str, Any], status: int, slug: str) -> None:
    problem(add(api, **values), status, slug)
    assert len(api("GET", "/profiles/gpu1", "admin").json()["versions"]) == 1


# --- drafts -----------------------------------------------------------------------------------------------------------


def test_only_administrators_start_a_draft(api: Client) -> None:
    add(api, longest=600)
    problem(api.ask(version=2), 403, "profile-draft")
    assert api.ask(version=1).json()["version"] == 1
    tried = api.ask("admin", "k2", project="demo-small", version=2).json()
    assert (tried["version"], tried["seconds"]) == (2, 600)
    problem(api.ask("admin", "k3", project="demo-small", version=9), 404, "profile-unknown")


def test_a_draft_in_a_pool_that_no_engine_runs_here_is_kept_and_never_started(api: Client) -> None:
    api("POST", "/pools", "admin", json={"name": "spare", "gpu_model": "X"})
    assert add(api, pool="spare").status_code == 201
    problem(api.ask("admin", project="demo-small", version=2), 409, "pool-not-here")
    problem(api("POST", "/profiles/gpu1/publish", "admin", json={"version": 2}), 409, "pool-not-here")
    assert published(api) == 1


def test_the_second_of_two_who_edit_gets_the_difference_and_nothing_is_lost(api: Client) -> None:
    read = api("GET", "/profiles/gpu1", "admin").headers["ETag"]
    first = add(api, match=read, longest=600, environment={"A": "1"}, note="first")
    assert first.status_code == 201
    told = problem(add(api, match=read, longest=1200), 412, "profile-stale")
    assert (told["version"], told["base"], told["made_by"]) == (2, 1, "admin")
    assert told["current"] == first.headers["ETag"]
    assert {(row["field"], row["before"], row["after"]) for row in told["diff"]} == {
        ("longest", 14_400, 600), ("environment.A", None, "1"), ("note", "", "first"),
    }  # fmt: skip
    assert len(api("GET", "/profiles/gpu1", "admin").json()["versions"]) == 2
    assert add(api, match=told["current"], longest=1200).json()["version"] == 3
    unknown = problem(add(api, match='"of another portal"', longest=60), 412, "profile-stale")
    assert unknown["base"] is None
    assert ("longest", 60, 1200) in {(row["field"], row["before"], row["after"]) for row in unknown["diff"]}


def test_a_new_version_says_from_which_it_was_made_and_a_new_profile_need_not(api: Client) -> None:
    problem(api("POST", "/profiles", "admin", json=BODY), 428, "match-missing")
    assert api("POST", "/profiles", "admin", json={**BODY, "name": "fresh"}).status_code == 201


def test_publishing_changes_no_entity_tag(api: Client) -> None:
    made = add(api, longest=600)
    publish(api, 2)
    publish(api, 1)
    assert api("GET", "/profiles/gpu1", "admin").headers["ETag"] == made.headers["ETag"]


# --- publish and roll back --------------------------------------------------------------------------------------------


def roll_back(api: Client, now: int) -> Any:
    return api("POST", "/profiles/gpu1/rollback", "admin", json={"published": now})


def test_a_roll_back_publishes_what_was_published_before(api: Client) -> None:
    problem(roll_back(api, 1), 409, "profile-no-earlier")
    for seconds in (600, 1200, 1800):
        add(api, longest=seconds)
    publish(api, 3)
    publish(api, 2)
    assert api("GET", "/profiles/gpu1", "admin").json()["rollback"] == 3
    assert roll_back(api, 2).json()["version"] == 3
    problem(roll_back(api, 2), 409, "profile-published-other")
    assert published(api) == 3
    assert roll_back(api, 3).json()["version"] == 2
    trail = api("GET", "/audit", "admin").json()["items"]
    assert [line["action"] for line in trail[:2]] == ["profile-rollback", "profile-rollback"]
    problem(api("POST", "/profiles/nope/rollback", "admin", json={"published": 1}), 404, "profile-unknown")


def test_any_two_versions_can_be_compared(api: Client) -> None:
    add(api, gpus=2, audience={"projects": ["demo"]})
    told = api("GET", "/profiles/gpu1/diff", "admin", params={"a": 2, "b": 1}).json()
    assert {(row["field"], str(row["before"]), str(row["after"])) for row in told["changes"]} == {
        ("gpus", "2", "1"), ("audience.projects", "['demo']", "[]"),
    }  # fmt: skip
    problem(api("GET", "/profiles/gpu1/diff", "admin", params={"a": 1, "b": 9}), 404, "profile-unknown")


def test_an_extension_goes_by_the_version_that_the_lease_has(api: Client, portal: Kit) -> None:
    lease = api.ask(seconds=600).json()
    portal.step()
    add(api, longest=600)
    publish(api, 2)
    extended = api("POST", f"/leases/{lease['id']}/extend", json={"seconds": 4 * 3600})
    assert extended.status_code == 200, extended.text


# --- what is typed ----------------------------------------------------------------------------------------------------


def check(api: Client, **body: Any) -> Any:
    answer = api("POST", "/profiles/check", "admin", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_draft_that_is_good_is_told_its_price_and_who_may(api: Client) -> None:
    api("PATCH", "/programmes/demo", "admin", json={"factor_milli": 2000}, headers={"If-Match": "*"})
    told = check(
        api, yaml="name: gpu1\nversion: 1\ndisplay_name: 1 GPU\npool: main\ngpus: 4\nlongest: 14400\nidle: 3600\n"
    )
    assert (told["ok"], told["errors"], told["price_milli"], told["free_now"]) == (True, [], 4000, 18)
    assert told["prices"] == [{"programme": "demo", "price_milli": 8000, "projects": 2}]
    assert [(row["field"], row["before"], row["after"]) for row in told["changes"]] == [("gpus", 1, 4)]
    assert told["tag"] == api("GET", "/profiles/gpu1", "admin").headers["ETag"]
    made = api("POST", "/profiles", "admin", json=told["profile"], headers={"If-Match": told["tag"]})
    assert made.status_code == 201
    # The draft was made from version 1, and now there is 2.
    stale = check(api, fields={**told["fields"], "gpus": "2"})
    assert stale["newest"] == 2
    problem(
        api("POST", "/profiles", "admin", json=stale["profile"], headers={"If-Match": stale["tag"]}),
        412,
        "profile-stale",
    )


def test_a_draft_that_is_bad_is_told_what_is_wrong_by_field_in_the_readers_language(api: Client) -> None:
    fields = {
        "name": "x", "display_name": "X", "pool": "moon", "gpus": "5", "longest": "60", "programmes": "nope",
        "environment": "PATH=/tmp",
    }  # fmt: skip
    told = check(api, fields=fields)
    assert {row["field"] for row in told["errors"]} == {"pool", "environment.PATH", "audience.programmes"}
    assert (told["ok"], told["profile"], told["price_milli"], told["fields"]) == (False, None, None, fields)
    assert "pool: moon" in told["yaml"]
    chinese = api(
        "POST", "/profiles/check", "admin", json={"yaml": "a: *x"}, headers={"Accept-Language": "zh-TW"}
    ).json()
    assert (chinese["fields"], chinese["yaml"]) == (None, "a: *x")
    assert "第 1 行" in chinese["errors"][0]["detail"]
    assert check(api, fields={**fields, "pool": "main"})["errors"][0]["field"] == "gpus"


def test_a_draft_that_can_not_be_published_yet_says_why(api: Client) -> None:
    api("POST", "/pools", "admin", json={"name": "spare", "gpu_model": "X"})
    told = check(api, fields={"name": "x", "display_name": "X", "pool": "spare", "gpus": "4", "longest": "60"})
    assert (told["ok"], told["free_now"]) == (True, 0)
    assert "no engine" in told["unready"]


@pytest.mark.parametrize("body", [{}, {"yaml": "a", "fields": {}}])
def test_a_draft_is_sent_once(api: Client, body: dict[str, Any]) -> None:
    problem(api("POST", "/profiles/check", "admin", json=body), 422, "profile-one-draft")


# --- how starts went --------------------------------------------------------------------------------------------------


def test_the_starts_of_every_version_are_counted_and_timed(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, {"researcher": Script(pending=3), "instructor": Script(refuses="no disk")})
    for _ in range(3):
        lease = portal.ask()
        for _ in range(5):
            portal.step()
    portal.desk.end(RESEARCHER, lease.id)
    failing = portal.ask(who=type(RESEARCHER)("instructor", server="instructor/"))
    portal.step()
    assert portal.seen(failing).end_reason == "engine"
    [stats] = portal.registry.profiles.stats(ADMIN, "gpu1")
    assert (stats.version, stats.starts, stats.failures, stats.running) == (1, 4, 1, 2)
    assert stats.median == stats.p95 == 3
    assert portal.registry.profiles.stats(ADMIN, "gpu2") == []
    assert [row.name for row in portal.registry.profiles.stats(ADMIN)] == ["gpu1"]


# --- what is started with it ------------------------------------------------------------------------------------------


class Listening(ScriptedEngine):
    """Remembers what it was told."""

    def start(self, task: Task) -> Any:
        self.told: list[Task] = [*getattr(self, "told", []), task]
        return super().start(task)


def test_variables_and_hints_of_the_version_reach_the_engine_of_every_lease(store: Store, clock: HandClock) -> None:
    engine = Listening(SimulatedFloor(1), {}, now=clock.now)
    portal = Kit(store, clock, engine)
    hints = {"scripted": {"lane": "fast", "n": 2}, "slurm": {"partition": "x"}}
    new = NewProfile(**BODY, environment={"A": "1"}, hints=hints)  # type: ignore[arg-type]
    portal.registry.profiles.add_profile(ADMIN, new, "*")
    kernel = portal.ask()
    portal.step()
    portal.registry.profiles.publish(ADMIN, "gpu1", Publish(version=2))
    portal.ask(kind=Kind.WORKER, parent=kernel.id)
    portal.step()
    assert [(dict(task.environment), dict(task.hints)) for task in engine.told] == [
        ({}, {}), ({"A": "1"}, {"lane": "fast", "n": 2}),
    ]  # fmt: skip
