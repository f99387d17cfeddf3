"""Requests, reviews, awards and budgets over HTTP: what cannot be is named and leaves nothing, what can be adds up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nvlhub.store import Store
from nvlhub.wire import MILLI_PER_GPU_HOUR
from tests.api.world import BASE, DAY, PEOPLE, YEAR, Api, Template, build, inhabit
from tests.conftest import START, HandClock
from tests.portal_kit import Kit

HOUR = 3600
LATIN, CYRILLIC = "optics", "оptics"
NEW_AWARD = {"project": "optics", "pool": "main", "gpu_hours": 10, "starts": START, "ends": START + YEAR}
ASKED = {**NEW_AWARD, "kind": "new", "reasons": "A mirror.\nAnd a lens."}
ABOUT = {"project": "optics", "award": "1", "reasons": "More."}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    made = Api()
    with made.http:
        yield made


@pytest.fixture
def portal(api: Api, template: Template, tmp_path: Path) -> Iterator[Kit]:
    """A world on SQLite in which leases run and requests wait; whatever was done in it, its ledger is right."""
    with api.world(template, tmp_path) as portal:
        yield portal
        assert portal.broken() == []


@pytest.fixture
def council(api: Api, store: Store, clock: HandClock) -> Iterator[Kit]:
    """The same world before anybody asks, on each database."""
    portal = inhabit(store, clock)
    api.serve(portal)
    yield portal
    assert portal.broken() == []


def done(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json()


def refused(response: httpx.Response, status: int, slug: str, field: str = "") -> dict[str, Any]:
    """Check a refusal, and that it names the field."""
    assert response.status_code == status, response.text
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:nvlhub:problem:{slug}"
    assert document["detail"].startswith(field)
    return document


def budget(api: Api, pool: str = "main") -> tuple[int, int]:
    """Return what programme science has to award and what of it is awarded, in GPU-hours."""
    [row] = [row for row in done(api("GET", "/programmes/science", "admin"))["budgets"] if row["pool"] == pool]
    return row["granted"] // MILLI_PER_GPU_HOUR, row["awarded"] // MILLI_PER_GPU_HOUR


def tag(api: Api, path: str, who: str = "admin") -> dict[str, str]:
    """Return the header of a change of what is there now."""
    return {"If-Match": api("GET", path, who).headers["etag"]}


def asked(api: Api, who: str = "pi", **body: Any) -> str:
    return str(done(api("POST", "/requests", who, json=body or ASKED))["id"])


def reviewed(api: Api, number: str, verdict: str = "approve", who: str = "officer", **more: Any) -> httpx.Response:
    return api("POST", f"/requests/{number}/reviews", who, json={"verdict": verdict, "reason": "Because.", **more})


def run(portal: Kit, seconds: int, who: str = "member", project: str = "optics") -> str:
    """Hold a GPU for some seconds; return the settled lease."""
    lease = portal.ask("gpu1", PEOPLE[who], project)
    portal.step(seconds)
    portal.desk.end(PEOPLE[who], lease.id)
    portal.step(1)
    return lease.id


def at_once(count: int, do: Callable[[int], Any]) -> list[Any]:
    """Do something in several threads at the same moment; return what came of it."""
    gate, told = threading.Barrier(count), []

    def one(number: int) -> None:
        gate.wait()
        told.append(do(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


# --- what cannot be ---------------------------------------------------------------------------------------------------

AMOUNTS = [-1, 0, 1.5, 10**30, 10**11, 1e300, "10", True, None, [], float("nan"), float("inf")]
DATES = [
    ({"ends": START - 60}, "dates-reversed", "ends"),
    ({"starts": START + DAY, "ends": START + DAY}, "dates-reversed", "ends"),
    ({"starts": START - 120, "ends": START - 60}, "dates-past", "ends"),
    ({"starts": START - 2 * DAY}, "dates-past", "starts"),
    ({"starts": -1}, "invalid-input", "starts"),
    ({"ends": 2**63}, "invalid-input", "ends"),
    ({"ends": START + 0.5}, "invalid-input", "ends"),
    ({"ends": "tomorrow"}, "invalid-input", "ends"),
    ({"ends": None}, "invalid-input", "ends"),
]
NO_TEXTS = ["", "a\x00b", "\ud800", "a" * 4001, 7, None]
NO_NAMES = [*NO_TEXTS, "\u202eevil", "<b>", "two\nlines"]
TEXTS = [
    ("pi", "POST", "/requests", ASKED, "reasons", NO_TEXTS),
    ("officer", "POST", "/requests/1/reviews", {"verdict": "decline"}, "reason", NO_TEXTS),
    ("officer", "POST", "/awards/1/revoke", {}, "reason", NO_NAMES),
    ("admin", "PATCH", "/institutions/uni", {}, "name", NO_NAMES),
    ("admin", "PATCH", "/projects/optics", {}, "name", NO_NAMES),
    ("admin", "PATCH", "/programmes/science", {}, "name", NO_NAMES),
]


def as_sent(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body as JSON that our own client would refuse to write: NaN, halves of characters."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json", "If-Match": "*"}}


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        ("officer", "/awards", NEW_AWARD),
        ("pi", "/requests", ASKED),
        ("officer", "/requests/1/reviews", {"verdict": "approve", "reason": "x"}),
        ("admin", "/programmes/science/budgets/main", {}),
    ],
)
def test_an_amount_that_cannot_be_is_refused(
    api: Api, portal: Kit, who: str, path: str, body: dict[str, Any], amount: Any
) -> None:
    before = budget(api)
    method = "PUT" if "budgets" in path else "POST"
    response = api(method, path, who, **as_sent(body | {"gpu_hours": amount}))
    if amount is None and path == "/requests":
        refused(response, 422, "request-needs", "gpu_hours: ")
    elif (amount is None and "reviews" in path) or (amount == 0 and method == "PUT"):
        # An approval without an amount awards what was asked for; 0 is a budget, here below what is awarded.
        assert response.status_code in {200, 409}
        return
    else:
        refused(response, 422, "invalid-input", "gpu_hours: ")
    assert budget(api) == before


@pytest.mark.parametrize(("values", "slug", "field"), DATES)
def test_dates_that_cannot_be_are_refused(api: Api, portal: Kit, values: dict[str, Any], slug: str, field: str) -> None:
    refused(api("POST", "/awards", "officer", json=NEW_AWARD | values), 422, slug, f"{field}: ")
    if values != {"ends": None}:
        refused(api("POST", "/requests", "pi", json=ASKED | values), 422, slug, f"{field}: ")
    assert api("GET", "/awards", "admin").json()["total"] == 2


@pytest.mark.parametrize(("who", "method", "path", "body", "field", "texts"), TEXTS)
def test_a_text_that_cannot_be_is_refused(
    api: Api, portal: Kit, who: str, method: str, path: str, body: dict[str, Any], field: str, texts: list[Any]
) -> None:
    for text in texts:
        refused(api(method, path, who, **as_sent(body | {field: text})), 422, "invalid-input", f"{field}: ")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/awards", NEW_AWARD | {"colour": 1}, "colour"),
        ("POST", "/requests", ASKED | {"state": "approved"}, "state"),
        ("POST", "/requests", ASKED | {"\ud800": 1}, "body"),
        ("POST", "/requests", ASKED | {"query": 1}, "query"),
        ("POST", "/requests", ASKED | {"kind": "gift"}, "kind"),
        ("POST", "/requests/1/reviews", {"verdict": "maybe", "reason": "x"}, "verdict"),
        ("PATCH", "/awards/1", {"awarded": 10**6}, "awarded"),
        ("PATCH", "/awards/1", {"ends": None}, "ends"),
        ("PATCH", "/awards/1", {"cap": 0}, "cap"),
        ("PATCH", "/awards/1", {"cap": -1}, "cap"),
        ("PATCH", "/programmes/science", {"share": None}, "share"),
        ("PATCH", "/programmes/science", {"at_zero": None}, "at_zero"),
        ("PATCH", "/programmes/science", {"slug": "mine"}, "slug"),
        ("PATCH", "/projects/optics", {"programme": "industry"}, "programme"),
        ("PATCH", "/users/member", {}, "cap"),
        ("PATCH", "/institutions/uni", {"ror": None}, "ror"),
        ("PUT", "/projects/optics/members/other", {"role": "owner"}, "role"),
        ("PUT", "/projects/optics/members/other", {"role": None}, "role"),
        ("POST", "/ledger/corrections", {"lease": "x", "gpu_seconds": 0.5, "reason": "x"}, "gpu_seconds"),
        ("POST", "/ledger/corrections", {"lease": "x", "gpu_seconds": 10**13, "reason": "x"}, "gpu_seconds"),
        ("POST", "/ledger/corrections", {"lease": "x\x00", "gpu_seconds": 5, "reason": "x"}, "lease"),
    ],
)
def test_a_field_that_is_not_there_or_not_so_is_named(
    api: Api, portal: Kit, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    refused(api(method, path, "admin", **as_sent(body)), 422, "invalid-input", f"{field}: ")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/awards", NEW_AWARD | {"project": CYRILLIC}, "project"),
        ("POST", "/projects", {"slug": CYRILLIC, "name": "X", "programme": "science"}, "slug"),
        ("POST", "/programmes", {"slug": "sсience", "name": "X"}, "slug"),
        ("POST", "/pools", {"name": "mаin", "gpu_model": "X"}, "name"),
        ("GET", f"/projects/{CYRILLIC}", None, "slug"),
    ],
)
def test_a_short_name_that_looks_like_another_is_refused(
    api: Api, portal: Kit, method: str, path: str, body: Any, field: str
) -> None:
    assert CYRILLIC != LATIN
    refused(api(method, path, "admin", json=body), 422, "invalid-input", f"{field}: ")


@pytest.mark.parametrize(
    ("kind", "without", "surplus"),
    [
        ("new", ["pool", "gpu_hours", "starts", "ends"], {"award": "1"}),
        ("renewal", ["award", "pool", "gpu_hours", "starts", "ends"], {}),
        ("extension", ["award", "ends"], {"gpu_hours": 5, "pool": "main", "cap": 4, "starts": START}),
        ("supplement", ["award", "gpu_hours"], {"pool": "main", "cap": 4, "ends": START + YEAR}),
        ("transfer", ["award", "gpu_hours", "pool"], {"starts": START, "ends": START + YEAR}),
    ],
)
def test_each_kind_of_request_has_its_fields_and_no_others(
    api: Api, portal: Kit, kind: str, without: list[str], surplus: dict[str, Any]
) -> None:
    values = {**NEW_AWARD, "award": "1", "ends": START + 2 * YEAR, "pool": "cloud" if kind == "transfer" else "main"}
    full = {name: values[name] for name in without} | {"project": "optics", "kind": kind, "reasons": "x"}
    for name in without:
        document = refused(
            api("POST", "/requests", "pi", json={**full, name: None}), 422, "request-needs", f"{name}: "
        )  # fmt: skip
        assert document["kind"] == kind
    for name, value in surplus.items():
        refused(api("POST", "/requests", "pi", json=full | {name: value}), 422, "request-has-not", f"{name}: ")
    assert done(api("POST", "/requests", "pi", json=full))["state"] == "submitted"


@pytest.mark.parametrize(
    ("body", "status", "slug", "field"),
    [
        (ABOUT | {"kind": "extension", "ends": START + YEAR}, 422, "extension-not-later", "ends: "),
        (ABOUT | {"kind": "extension", "ends": START + DAY}, 422, "extension-not-later", "ends: "),
        (ABOUT | {"kind": "transfer", "gpu_hours": 5, "pool": "main"}, 422, "transfer-same-pool", "pool: "),
        (ABOUT | {"kind": "transfer", "gpu_hours": 5, "pool": "moon"}, 404, "pool-unknown", "pool: "),
        (ABOUT | {"kind": "supplement", "gpu_hours": 5, "award": "2"}, 422, "award-of-other", "award: "),
        (ABOUT | {"kind": "supplement", "gpu_hours": 5, "award": "99"}, 422, "award-of-other", "award: "),
        (ABOUT | {"kind": "supplement", "gpu_hours": 5, "award": "1; DROP"}, 422, "invalid-input", "award: "),
        (ASKED | {"project": "casting"}, 404, "project-unknown", "project: "),
        (ASKED | {"pool": "moon"}, 404, "pool-unknown", "pool: "),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    api: Api, portal: Kit, body: dict[str, Any], status: int, slug: str, field: str
) -> None:
    refused(api("POST", "/requests", "pi", json=body), status, slug, field)
    assert api("GET", "/requests", "pi").json()["total"] == 2


def test_nothing_is_awarded_beyond_the_programmes_budget(api: Api, portal: Kit) -> None:
    assert budget(api) == (1000, 100)
    body = NEW_AWARD | {"gpu_hours": 901}
    document = refused(api("POST", "/awards", "officer", json=body), 409, "budget-too-small", "gpu_hours: ")
    assert document["left"] == 900 * MILLI_PER_GPU_HOUR
    number = asked(api, **ASKED | {"gpu_hours": 901})
    refused(reviewed(api, number), 409, "budget-too-small", "gpu_hours: ")
    assert done(api("GET", f"/requests/{number}", "pi"))["state"] == "submitted"
    refused(
        api("PUT", "/programmes/science/budgets/main", "admin", json={"gpu_hours": 99}), 409, "budget-below-awarded",
        "gpu_hours: ",
    )  # fmt: skip
    assert budget(api) == (1000, 100)
    done(api("POST", "/awards", "officer", json=NEW_AWARD | {"gpu_hours": 900}))
    assert budget(api) == (1000, 1000)


def test_nobody_decides_for_themselves(api: Api, portal: Kit) -> None:
    own = asked(api, "officer")
    refused(reviewed(api, own), 403, "decision-own")
    for who in ("officer", "admin"):
        done(api("PUT", f"/projects/optics/members/{who}", "pi", json={"role": "member"}))
        refused(reviewed(api, "1", who=who), 403, "decision-own")
    refused(api("POST", "/awards", "officer", json=NEW_AWARD), 403, "decision-own")
    refused(api("PATCH", "/awards/1", "officer", json={"cap": None}, headers={"If-Match": "*"}), 403, "decision-own")
    for who in ("pi", "manager", "member"):
        refused(reviewed(api, "1", who=who), 403, "not-allowed")
    assert done(api("GET", "/requests/1", "pi"))["reviews"] == []


def test_a_decision_is_made_once(api: Api, portal: Kit) -> None:
    done(reviewed(api, "1", "decline"))
    for verdict in ("approve", "decline", "revise"):
        refused(reviewed(api, "1", verdict), 409, "request-cannot")
    refused(api("POST", "/requests/1/withdraw", "pi"), 409, "request-cannot")
    refused(
        api("PUT", "/requests/1", "pi", json=ASKED, headers=tag(api, "/requests/1")), 409, "request-cannot"
    )  # fmt: skip
    assert budget(api) == (1000, 100)


def test_an_amount_goes_with_an_approval_of_gpu_hours_alone(api: Api, portal: Kit) -> None:
    refused(reviewed(api, "1", "decline", gpu_hours=5), 422, "review-no-amount", "gpu_hours: ")
    refused(reviewed(api, "1", gpu_hours=11), 422, "review-too-much", "gpu_hours: ")
    longer = asked(api, **ABOUT, kind="extension", ends=START + 2 * YEAR)
    refused(reviewed(api, longer, gpu_hours=5), 422, "review-no-amount", "gpu_hours: ")
    assert {row["state"] for row in api("GET", "/requests?project=optics", "pi").json()["items"]} == {
        "submitted", "revision",
    }  # fmt: skip


def test_an_award_that_is_over_stays_over(api: Api, portal: Kit) -> None:
    done(api("POST", "/awards/1/revoke", "officer", json={"reason": "The project moved away."}))
    refused(api("POST", "/awards/1/revoke", "officer", json={"reason": "Again."}), 409, "award-over")
    match = {"If-Match": "*"}
    refused(api("PATCH", "/awards/1", "officer", json={"ends": START + 2 * YEAR}, headers=match), 409, "award-over")
    for body in ({"kind": "extension", "ends": START + 2 * YEAR}, {"kind": "supplement", "gpu_hours": 5}):
        refused(api("POST", "/requests", "pi", json=ABOUT | body), 409, "award-over")


@pytest.mark.parametrize(
    ("ends", "status", "slug"),
    [(START - 1, 422, "dates-past"), (START + 1, 422, "dates-past"), (START + HOUR, 409, "award-ends-before-leases")],
)
def test_an_award_ends_neither_in_the_past_nor_before_its_leases(
    api: Api, portal: Kit, ends: int, status: int, slug: str
) -> None:
    document = refused(
        api("PATCH", "/awards/1", "officer", json={"ends": ends}, headers=tag(api, "/awards/1")), status, slug, "ends: "
    )  # fmt: skip
    assert document.get("count", 1) == 1


def test_an_award_of_the_future_ends_after_its_start(api: Api, portal: Kit) -> None:
    later = done(api("POST", "/awards", "officer", json=NEW_AWARD | {"starts": START + 9 * DAY}))["id"]
    path = f"/awards/{later}"
    response = api("PATCH", path, "officer", json={"ends": START + 8 * DAY}, headers=tag(api, path))
    refused(response, 422, "dates-reversed", "ends: ")


# --- members ----------------------------------------------------------------------------------------------------------


def test_only_those_who_are_known_become_members(api: Api, portal: Kit) -> None:
    for name in ("nobody", "mеmber"):
        response = api("PUT", f"/projects/optics/members/{name}", "pi", json={"role": "member"})
        assert refused(response, 404, "user-unknown", "user: ")["user"] == name
    refused(api("DELETE", "/projects/optics/members/other", "pi"), 404, "member-unknown", "user: ")
    refused(api("PUT", "/programmes/science/officers/nobody", "admin"), 404, "user-unknown", "user: ")


def test_a_manager_makes_and_unmakes_no_manager_and_no_pi(api: Api, portal: Kit) -> None:
    for user, role in (("other", "pi"), ("member", "manager"), ("manager", "pi"), ("manager", "member"), ("pi", "pi")):
        refused(
            api("PUT", f"/projects/optics/members/{user}", "manager", json={"role": role}), 403, "not-allowed"
        )  # fmt: skip
    refused(api("DELETE", "/projects/optics/members/pi", "manager"), 403, "not-allowed")
    done(api("PUT", "/projects/optics/members/member", "manager", json={"role": "member", "cap": 2}))


@pytest.mark.parametrize("who", ["pi", "officer", "admin"])
def test_a_project_keeps_somebody_who_answers_for_it(api: Api, portal: Kit, who: str) -> None:
    refused(api("DELETE", "/projects/optics/members/pi", who), 409, "last-pi", "role: ")
    for role in ("manager", "member"):
        refused(api("PUT", "/projects/optics/members/pi", who, json={"role": role}), 409, "last-pi", "role: ")
    done(api("PUT", "/projects/optics/members/manager", who, json={"role": "pi"}))
    assert api("DELETE", "/projects/optics/members/pi", who).status_code == 204


def test_who_leaves_a_project_keeps_what_they_hold_until_it_ends(api: Api, portal: Kit, template: Template) -> None:
    lease = template.names["running"]
    assert api("DELETE", "/projects/optics/members/member", "manager").status_code == 204
    assert done(api("GET", f"/leases/{lease}", "member"))["state"] == "running"
    refused(api("POST", f"/leases/{lease}/extend", "member", json={"seconds": 60}), 404, "project-unknown")
    done(api("GET", f"/ledger?lease={lease}", "member"))
    assert done(api("DELETE", f"/leases/{lease}", "member"))["end_reason"] == "user"


# --- two at once ------------------------------------------------------------------------------------------------------

CHANGES = [
    ("/awards/1", "PATCH", {"cap": 8}, {"cap": 4}),
    ("/users/member", "PATCH", {"cap": 8}, {"cap": 4}),
    ("/projects/optics", "PATCH", {"name": "Lenses"}, {"name": "Mirrors"}),
    ("/programmes/science", "PATCH", {"share": 200}, {"share": 300}),
    ("/institutions/uni", "PATCH", {"name": "First"}, {"name": "Second"}),
    ("/requests/2", "PUT", ASKED | {"gpu_hours": 20}, ASKED | {"gpu_hours": 30}),
]


@pytest.mark.parametrize(("path", "method", "first", "second"), CHANGES, ids=lambda value: str(value)[:20])
def test_a_change_is_made_from_what_is_there_or_not_at_all(
    api: Api, portal: Kit, path: str, method: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    for headers in ({}, {"If-Match": ""}, {"If-Match": " "}):
        refused(api(method, path, "admin", json=first, headers=headers), 428, "match-missing", "Header If-Match: ")
    refused(api(method, path, "admin", json=first, headers={"If-Match": '"stale"'}), 412, "match-stale")
    before = tag(api, path)
    changed = api(method, path, "admin", json=first, headers=before)
    done(changed)
    if method == "PATCH":
        assert tag(api, path)["If-Match"] == changed.headers["etag"]
    expected = 412 if method == "PATCH" else 409
    assert api(method, path, "admin", json=second, headers=before).status_code == expected


def test_of_two_administrators_who_change_the_same_one_is_told_to_look_again(api: Api, council: Kit) -> None:
    for path, body in (("/awards/1", {"cap": 8}), ("/users/member", {"cap": 8}), ("/programmes/science", {"share": 7})):
        before = tag(api, path)
        told = at_once(4, lambda number, path=path, body=body, before=before: api(
            "PATCH", path, "admin", json=body | ({"cap": 1 + number} if "cap" in body else {"share": 1 + number}),
            headers=before,
        ).status_code)  # fmt: skip
        assert sorted(told) == [200, 412, 412, 412], path


@pytest.mark.parametrize(
    ("path", "body", "who"),
    [
        ("/projects", {"slug": "lenses", "name": "Lenses", "programme": "science"}, "officer"),
        ("/programmes", {"slug": "teaching", "name": "Teaching"}, "admin"),
        ("/institutions", {"slug": "lab", "name": "Laboratory"}, "admin"),
        ("/pools", {"name": "next", "gpu_model": "GB300"}, "admin"),
    ],
)
def test_what_several_make_at_once_is_made_once(
    api: Api, council: Kit, path: str, body: dict[str, Any], who: str
) -> None:
    told = at_once(4, lambda number: api("POST", path, who, json=body).status_code)
    assert sorted(told) == [201, 409, 409, 409]


def test_versions_of_a_profile_that_are_made_at_once_follow_each_other(api: Api, council: Kit) -> None:
    body = {"name": "gpu1", "display_name": "One", "pool": "main", "gpus": 1, "longest": 600}

    def add(match: str) -> list[tuple[int, int | None]]:
        def one(number: int) -> tuple[int, int | None]:
            answer = api("POST", "/profiles", "admin", json=body, headers={"If-Match": match})
            return answer.status_code, answer.json().get("version")

        return sorted(at_once(4, one))

    assert add("*") == [(201, 2), (201, 3), (201, 4), (201, 5)]
    newest = api("GET", "/profiles/gpu1", "admin").headers["ETag"]
    assert add(newest) == [(201, 6), (412, 6), (412, 6), (412, 6)]


def test_the_last_of_a_budget_goes_to_as_many_as_there_is_for(api: Api, council: Kit) -> None:
    told = at_once(6, lambda number: api("POST", "/awards", "officer", json=NEW_AWARD | {"gpu_hours": 300}).status_code)
    assert sorted(told) == [201, 201, 201, 409, 409, 409]
    assert budget(api) == (1000, 1000)


def test_a_request_that_two_approve_at_once_is_awarded_once(api: Api, council: Kit) -> None:
    done(api("PUT", "/programmes/science/officers/other", "admin"))
    number = asked(api)
    told = at_once(4, lambda turn: reviewed(api, number, who=("officer", "other", "admin", "admin")[turn]).status_code)
    assert sorted(told) == [200, 409, 409, 409]
    assert budget(api) == (1000, 110)


# --- the good ways ----------------------------------------------------------------------------------------------------


def test_a_new_award_is_asked_for_approved_and_used(api: Api, council: Kit) -> None:
    number = asked(api, **ASKED | {"cap": 4})
    assert done(api("GET", f"/requests/{number}", "member"))["asked_by"] == "pi"
    decided = done(reviewed(api, number, gpu_hours=8))
    assert (decided["state"], decided["reviews"][0]["amount"]) == ("approved", 8 * MILLI_PER_GPU_HOUR)
    award = done(api("GET", f"/awards/{decided['result']}", "pi"))
    assert (award["state"], award["left"], award["cap"], award["request"]) == (
        "active", 8 * MILLI_PER_GPU_HOUR, 4, number,
    )  # fmt: skip
    assert budget(api) == (1000, 108)
    run(council, 100)
    assert sum(row["charged"] for row in api("GET", "/awards?project=optics", "pi").json()["items"]) == 100_000


def test_a_renewal_is_a_further_award(api: Api, council: Kit) -> None:
    body = {"kind": "renewal", "pool": "main", "gpu_hours": 50, "starts": START + YEAR, "ends": START + 2 * YEAR}
    result = done(reviewed(api, asked(api, **ABOUT | body)))["result"]
    award = done(api("GET", f"/awards/{result}", "pi"))
    assert (award["state"], award["awarded"], award["starts"]) == ("new", 50 * MILLI_PER_GPU_HOUR, START + YEAR)
    council.clock.forward(YEAR + 1)
    council.step(0)
    assert done(api("GET", f"/awards/{result}", "pi"))["state"] == "active"
    assert done(api("GET", "/awards/1", "pi"))["state"] == "expired"


def test_an_extension_gives_an_award_a_later_end(api: Api, council: Kit) -> None:
    number = asked(api, **ABOUT, kind="extension", ends=START + 2 * YEAR)
    assert done(reviewed(api, number))["result"] == "1"
    assert done(api("GET", "/awards/1", "pi"))["ends"] == START + 2 * YEAR
    assert budget(api) == (1000, 100)


def test_a_supplement_gives_an_award_more(api: Api, council: Kit) -> None:
    for _ in range(2):
        done(reviewed(api, asked(api, **ABOUT, kind="supplement", gpu_hours=20), gpu_hours=15))
    assert done(api("GET", "/awards/1", "pi"))["awarded"] == 130 * MILLI_PER_GPU_HOUR
    assert budget(api) == (1000, 130)


def test_a_transfer_moves_gpu_hours_to_another_pool(api: Api, council: Kit) -> None:
    run(council, 3600)
    number = asked(api, **ABOUT, kind="transfer", gpu_hours=40, pool="cloud", cap=8)
    moved = done(api("GET", f"/awards/{done(reviewed(api, number))['result']}", "pi"))
    here = done(api("GET", "/awards/1", "pi"))
    assert (moved["pool"], moved["awarded"], moved["cap"], moved["ends"]) == (
        "cloud", 40 * MILLI_PER_GPU_HOUR, 8, here["ends"],
    )  # fmt: skip
    assert (here["left"], here["returned"]) == (59 * MILLI_PER_GPU_HOUR, 40 * MILLI_PER_GPU_HOUR)
    assert (budget(api), budget(api, "cloud")) == ((1000, 60), (1000, 40))
    more = asked(api, **ABOUT, kind="transfer", gpu_hours=60, pool="cloud")
    refused(reviewed(api, more), 409, "transfer-balance", "gpu_hours: ")
    assert (budget(api), budget(api, "cloud")) == ((1000, 60), (1000, 40))


def test_transfers_in_both_directions_at_once_do_not_wait_for_each_other(api: Api, council: Kit) -> None:
    done(reviewed(api, asked(api, **ABOUT, kind="transfer", gpu_hours=40, pool="cloud")))
    there = str(api("GET", "/awards?pool=cloud", "pi").json()["items"][0]["id"])
    numbers = [asked(api, **ABOUT, kind="transfer", gpu_hours=5, pool="cloud") for _ in range(3)]
    numbers += [asked(api, **ABOUT | {"award": there}, kind="transfer", gpu_hours=5, pool="main") for _ in range(3)]
    told = at_once(6, lambda turn: reviewed(api, numbers[turn]).status_code)
    assert told == [200] * 6
    assert (budget(api), budget(api, "cloud")) == ((1000, 60), (1000, 40))


def test_a_request_is_sent_back_mended_and_sent_again(api: Api, council: Kit) -> None:
    number = asked(api)
    path = f"/requests/{number}"
    first = tag(api, path)
    refused(api("PUT", path, "pi", json=ASKED, headers=first), 409, "request-cannot")
    assert done(reviewed(api, number, "revise"))["state"] == "revision"
    refused(reviewed(api, number), 409, "request-cannot")
    again = ASKED | {"gpu_hours": 5, "reasons": "Half of it is enough."}
    refused(api("PUT", path, "pi", json=again, headers=first), 412, "match-stale")
    refused(
        api("PUT", path, "pi", json=again | {"project": "casting"}, headers=tag(api, path)), 422, "request-project",
        "project: ",
    )  # fmt: skip
    sent = done(api("PUT", path, "manager", json=again, headers=tag(api, path)))
    assert (sent["state"], sent["amount"], sent["asked_by"]) == ("submitted", 5 * MILLI_PER_GPU_HOUR, "manager")
    decided = done(reviewed(api, number))
    assert [(one["reviewer"], one["verdict"]) for one in decided["reviews"]] == [
        ("officer", "revise"), ("officer", "approve"),
    ]  # fmt: skip
    assert budget(api) == (1000, 105)


@pytest.mark.parametrize("revised", [False, True])
def test_a_request_is_taken_back(api: Api, council: Kit, revised: bool) -> None:
    number = asked(api)
    if revised:
        done(reviewed(api, number, "revise"))
    refused(api("POST", f"/requests/{number}/withdraw", "member"), 403, "not-allowed")
    assert done(api("POST", f"/requests/{number}/withdraw", "manager"))["state"] == "withdrawn"
    refused(reviewed(api, number), 409, "request-cannot")
    refused(api("POST", f"/requests/{number}/withdraw", "pi"), 409, "request-cannot")


def test_what_a_revoked_award_has_left_goes_back_at_once_and_what_is_held_when_its_leases_end(
    api: Api, council: Kit
) -> None:
    run(council, HOUR)
    lease = council.ask("gpu1", PEOPLE["member"], "optics")
    council.step(HOUR)
    award = done(api("POST", "/awards/1/revoke", "officer", json={"reason": "Moved away."}))
    assert (award["state"], award["left"], award["held"]) == ("revoked", 0, 4 * MILLI_PER_GPU_HOUR)
    assert budget(api) == (1000, 5)
    with pytest.raises(Exception, match="no-award"):
        council.ask("gpu1", PEOPLE["member"], "optics")
    council.desk.end(PEOPLE["member"], lease.id)
    council.step(1)
    council.step(1)
    assert budget(api)[1] == 2
    assert [row["reason"] for row in api("GET", "/ledger?entry=return", "pi").json()["items"]] == [
        "revoked: Moved away.", "revoked",
    ]  # fmt: skip


def test_what_an_expired_award_has_left_goes_back_and_can_be_awarded_again(api: Api, council: Kit) -> None:
    run(council, 10 * HOUR // 4)
    done(api("POST", "/awards", "officer", json=NEW_AWARD | {"gpu_hours": 900}))
    fresh = NEW_AWARD | {"starts": START + 2 * YEAR, "ends": START + 3 * YEAR, "gpu_hours": 990}
    refused(api("POST", "/awards", "officer", json=fresh), 409, "budget-too-small", "gpu_hours: ")
    council.clock.forward(YEAR)
    council.step(1)
    assert done(api("GET", "/awards/1", "pi"))["state"] == "expired"
    granted, awarded = budget(api)
    assert (granted, awarded) == (1000, 2)
    done(api("POST", "/awards", "officer", json=fresh))
    assert budget(api) == (1000, 992)


def test_an_award_is_given_a_later_end_and_a_cap_and_loses_it_again(api: Api, portal: Kit) -> None:
    path = "/awards/1"
    changed = api("PATCH", path, "officer", json={"ends": START + 2 * YEAR, "cap": 1}, headers=tag(api, path))
    assert (done(changed)["ends"], changed.json()["cap"]) == (START + 2 * YEAR, 1)
    with pytest.raises(Exception, match="cap-award"):
        portal.ask("gpu1", PEOPLE["pi"], "optics")
    match = {"If-Match": changed.headers["etag"]}
    assert done(api("PATCH", path, "officer", json={"cap": None}, headers=match))["cap"] is None
    portal.ask("gpu1", PEOPLE["pi"], "optics")
    assert done(api("PATCH", path, "officer", json={}, headers=tag(api, path)))["ends"] == START + 2 * YEAR


def test_a_whole_number_may_be_written_with_a_point(api: Api, portal: Kit) -> None:
    award = done(api("POST", "/awards", "officer", **as_sent(NEW_AWARD | {"gpu_hours": 5.0})))
    assert award["awarded"] == 5 * MILLI_PER_GPU_HOUR


# --- repeated ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "who", "other"),
    [
        ("/awards", NEW_AWARD, "officer", {"gpu_hours": 11}),
        ("/requests", ASKED, "pi", {"reasons": "Other ones."}),
        ("/ledger/corrections", {"gpu_seconds": -7, "reason": "Slow start."}, "admin", {"gpu_seconds": -8}),
    ],
)
def test_what_is_sent_fifty_times_with_one_key_is_done_once(
    api: Api, council: Kit, path: str, body: dict[str, Any], who: str, other: dict[str, Any]
) -> None:
    lease = run(council, 100)
    body = body | ({"lease": lease} if "corrections" in path else {})
    key = {"Idempotency-Key": "one-of-fifty"}
    before = len(audit(api, "admin"))
    told = at_once(10, lambda number: [api("POST", path, who, json=body, headers=key) for _ in range(5)])
    answers = [response for several in told for response in several]
    assert {response.status_code for response in answers} == {201}
    assert len({response.json()["id"] for response in answers}) == 1
    assert len(audit(api, "admin")) == before + 1
    refused(api("POST", path, who, json=body | other, headers=key), 409, "key-reused")
    # Still so when its dates have passed.
    council.clock.forward(2 * YEAR)
    assert done(api("POST", path, who, json=body, headers=key))["id"] == answers[0].json()["id"]
    # A key belongs to whoever made it.
    assert api("POST", path, "other", json=body, headers=key).status_code in {403, 404}


@pytest.mark.parametrize("key", ["x" * 81, "é", "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(api: Api, portal: Kit, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1")), (b"authorization", b"token officer")]
    response = api.http.request("POST", f"{BASE}/awards", json=NEW_AWARD, headers=headers)
    refused(response, 422, "key-missing", "Header Idempotency-Key: ")  # type: ignore[arg-type]


# --- corrections, audit -----------------------------------------------------------------------------------------------


def test_a_settled_lease_is_corrected_in_both_directions_and_within_bounds(api: Api, council: Kit) -> None:
    lease = run(council, 100)

    def corrected(seconds: int) -> httpx.Response:
        body = {"lease": lease, "gpu_seconds": seconds, "reason": "The engine says so."}
        return api("POST", "/ledger/corrections", "admin", json=body)

    done(corrected(-30))
    assert done(api("GET", "/awards/1", "pi"))["charged"] == 70_000
    done(corrected(20))
    assert done(api("GET", "/awards/1", "pi"))["charged"] == 90_000
    refused(corrected(-91), 409, "correct-too-much", "gpu_seconds: ")
    refused(corrected(100 * HOUR), 409, "correct-balance", "gpu_seconds: ")
    refused(corrected(0), 422, "correct-nothing", "gpu_seconds: ")
    rows = api("GET", f"/ledger?lease={lease}", "pi").json()["items"]
    assert [(row["entry"], row["corrects"]) for row in rows[-2:]] == [("correct", f"settle:{lease}")] * 2
    assert done(api("GET", "/ledger/verify", "admin"))["ok"] is True


def test_a_lease_that_runs_or_is_not_there_is_not_corrected(api: Api, portal: Kit, template: Template) -> None:
    for lease, status, slug in ((template.names["running"], 409, "correct-unsettled"), ("nope", 404, "lease-unknown")):
        body = {"lease": lease, "gpu_seconds": 5, "reason": "x"}
        refused(api("POST", "/ledger/corrections", "admin", json=body), status, slug)


def test_a_correction_after_the_end_of_an_award_goes_back_to_the_programme(api: Api, council: Kit) -> None:
    lease = run(council, HOUR)
    council.clock.forward(YEAR)
    council.step(1)
    assert budget(api) == (1000, 1)
    body = {"lease": lease, "gpu_seconds": -HOUR, "reason": "It computed nothing."}
    done(api("POST", "/ledger/corrections", "admin", json=body))
    council.step(1)
    assert budget(api) == (1000, 0)
    refused(
        api("POST", "/ledger/corrections", "admin", json=body | {"gpu_seconds": 1}), 409, "correct-balance",
        "gpu_seconds: ",
    )  # fmt: skip


def audit(api: Api, who: str, **query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = done(api("GET", "/audit", who, params={"per_page": "200", **query}))["items"]
    return rows


def test_what_was_changed_is_told_to_those_whose_business_it_is(api: Api, council: Kit) -> None:
    number = asked(api)
    done(reviewed(api, number, gpu_hours=9))
    done(api("PATCH", "/users/other", "admin", json={"cap": 3}, headers={"If-Match": "*"}))
    done(api("PUT", "/projects/optics/members/other", "pi", json={"role": "member", "cap": 2}))
    done(api("PUT", "/programmes/science/budgets/main", "admin", json={"gpu_hours": 2000}))
    done(api("POST", "/awards/2/revoke", "foreign", json={"reason": "x"}))
    actions = {who: [row["action"] for row in audit(api, who)] for who in ("admin", "officer", "pi", "foreign")}
    assert actions["admin"] == [
        "award-revoke", "budget-change", "member-set", "user-change", "request-approve", "request-add",
    ]  # fmt: skip
    assert actions["officer"] == ["budget-change", "member-set", "request-approve", "request-add"]
    assert actions["pi"] == ["member-set", "request-approve", "request-add"]
    assert actions["foreign"] == ["award-revoke"]
    assert [row["action"] for row in audit(api, "other", actor="admin")] == ["user-change"]
    assert audit(api, "instructor", object=f"request:{number}") == []
    [approved] = [row for row in audit(api, "pi") if row["action"] == "request-approve"]
    assert (approved["actor"], approved["before"]["state"], approved["after"]["state"]) == (
        "officer", "submitted", "approved",
    )  # fmt: skip


# --- what somebody tried ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [32_503_680_001, 2**40])
def test_no_date_lies_beyond_what_a_page_can_show(api: Api, portal: Kit, ends: int) -> None:
    refused(api("POST", "/requests", "pi", json={**ASKED, "ends": ends}), 422, "invalid-input", "ends")
    refused(api("POST", "/awards", "officer", json={**NEW_AWARD, "ends": ends}), 422, "invalid-input", "ends")


def test_budgets_together_stay_far_below_what_64_bits_add_up(api: Api, portal: Kit) -> None:
    for number in range(11):
        done(api("POST", "/programmes", "admin", json={"slug": f"p{number}", "name": "P"}))
        answer = api("PUT", f"/programmes/p{number}/budgets/main", "admin", json={"gpu_hours": 10**9})
        if number < 9:
            done(answer)
    refused(answer, 409, "supply-too-large", "gpu_hours")
    assert done(api("GET", "/ledger/verify", "admin"))["ok"]


def test_who_leaves_a_project_to_decide_on_it_does_not(api: Api, portal: Kit) -> None:
    for change in (
        lambda: api("PUT", "/projects/optics/members/officer", "officer", json={"role": "member"}),
        lambda: api("DELETE", "/projects/optics/members/officer", "officer"),
    ):
        assert change().is_success
    review = {"verdict": "approve", "reason": "good"}
    refused(api("POST", "/requests/1/reviews", "officer", json=review), 403, "decision-own")
    refused(api("POST", "/awards", "officer", json=NEW_AWARD), 403, "decision-own")
    portal.clock.forward(31 * DAY)
    done(api("POST", "/awards", "officer", json={**NEW_AWARD, "starts": portal.clock.now()}))


@pytest.mark.parametrize("sign", ["\u009b", "\u0085", "\u202e", "\u200b"])
def test_nothing_in_reasons_steers_a_terminal_or_turns_the_text(api: Api, portal: Kit, sign: str) -> None:
    refused(api("POST", "/requests", "pi", json={**ASKED, "reasons": f"a{sign}b"}), 422, "invalid-input", "reasons")


def test_a_proof_that_cannot_be_made_is_none(api: Api, portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    proofs: list[bool] = []
    monkeypatch.setattr("nvlhub.registry.ledger.prove", lambda unit: 1 / 0)
    monkeypatch.setattr(portal.desk.observer, "verified", lambda at, *, ok: proofs.append(ok), raising=False)
    assert api("GET", "/ledger/verify", "admin").status_code == 500
    assert proofs == [False]
