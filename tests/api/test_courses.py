"""Courses, runs and rosters over HTTP: repeated requests, entity tags, files."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.api.test_api import Client, problem
from tests.conftest import START
from tests.portal_kit import Kit

COURSE = {"slug": "frames", "project": "demo", "title": "Data frames", "profile": "gpu1", "instructors": ["instructor"]}
RUN = {
    "course": "frames", "name": "Spring", "zone": "Asia/Taipei", "starts": START + 7200, "ends": START + 14_400, "seats": 8
}  # fmt: skip
HEAD = "student_no,name_zh,name_latin,email_or_username,group,seat"


def made(api: Client) -> str:
    assert api("POST", "/courses", json=COURSE).status_code == 201
    return str(api("POST", "/runs", "instructor", json=RUN).json()["id"])


def test_what_is_asked_for_twice_with_one_key_is_made_once(api: Client, portal: Kit) -> None:
    key = {"Idempotency-Key": "k"}
    first = [api("POST", "/courses", json=COURSE, headers=key).json() for _ in range(2)]
    assert first[0] == first[1]
    problem(api("POST", "/courses", json=COURSE | {"title": "Other"}, headers=key), 409, "key-reused")
    problem(api("POST", "/courses", json=COURSE), 409, "course-exists")
    runs = [api("POST", "/runs", "instructor", json=RUN, headers=key).json() for _ in range(2)]
    assert runs[0]["id"] == runs[1]["id"]
    assert api("GET", "/runs", "instructor").json()["total"] == 1


def test_a_change_names_what_it_changes(api: Client) -> None:
    number = made(api)
    for path, patch in (("/courses/frames", {"title": "Frames"}), (f"/runs/{number}", {"seats": 7})):
        problem(api("PATCH", path, "instructor", json=patch), 428, "match-missing")
        tag = api("GET", path, "instructor").headers["ETag"]
        changed = api("PATCH", path, "instructor", json=patch, headers={"If-Match": tag})
        assert (changed.status_code, changed.json() | patch) == (200, changed.json())
        problem(api("PATCH", path, "instructor", json=patch, headers={"If-Match": tag}), 412, "match-stale")


def test_lists_are_paged_and_can_be_of_one_course_or_state(api: Client) -> None:
    made(api)
    api("POST", "/runs", "instructor", json=RUN | {"starts": START + 9000})
    assert [run["id"] for run in api("GET", "/runs?per_page=1&page=2", "instructor").json()["items"]] == ["1"]
    assert api("GET", "/runs?course=frames&state=draft", "instructor").json()["total"] == 2
    assert api("GET", "/runs?state=approved", "instructor").json()["total"] == 0
    assert api("GET", "/courses", "outsider").json()["items"] == []


def test_what_stands_behind_the_material_is_one_commit(api: Client) -> None:
    where = {"repository": "https://git.example.tw/a/b.git"}
    assert problem(api("POST", "/courses", json=COURSE | where), 422, "course-commit")["field"] == "commit"
    assert problem(api("POST", "/courses", json=COURSE | {"commit": "a" * 40}), 422, "course-repository")
    for wrong in (
        {"repository": "http://x.tw/y"},
        {"repository": "file:///etc"},
        {"repository": "https://lin:secret@git.example.tw/a/b.git"},
        {"repository": "https://token@git.example.tw"},
        {"commit": "main"},
        {"opens": "../x"},
    ):
        assert api("POST", "/courses", json=COURSE | where | {"commit": "a" * 40} | wrong).status_code == 422
    told = problem(
        api("POST", "/courses", json=COURSE | {"commit": "a" * 40, "repository": "https://a:b@x.tw/y"}),
        422,
        "invalid-input",
    )
    assert "password" in told["detail"]
    where = {"repository": "https://git.example.tw/@lin/b.git"}
    assert (
        api("POST", "/courses", json=COURSE | where | {"commit": "a" * 40, "opens": "lab/01.ipynb"}).status_code == 201
    )


def test_half_of_a_character_is_no_text_anywhere_in_a_body(api: Client) -> None:
    headers = {"Content-Type": "application/json"}
    for part in (
        '"title": "\\ud800"',
        '"assessment": {"run": ["\\udfff"]}',
        '"assessment": {"\\ud800": 1}',
        '"\\ud800": 1',
    ):
        body = json.dumps(COURSE)[:-1] + f", {part}}}"
        assert problem(api("POST", "/courses", content=body, headers=headers), 422, "invalid-input")
    whole = json.dumps(COURSE)[:-1] + ', "title": "\\ud83d\\ude00"}'
    assert api("POST", "/courses", content=whole, headers=headers).status_code == 201


def roster(api: Client, number: str, content: Any, **params: Any) -> Any:
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    return api("POST", f"/runs/{number}/roster", "instructor", content=content, params=params, headers=headers)


def test_a_roster_comes_as_a_file_or_in_json_and_goes_out_as_either(api: Client) -> None:
    number = made(api)
    text = f"{HEAD}\nB1,王小明,=1+1,ming,a,2\n"
    tried = roster(api, number, text.encode("utf-16"), dry_run=True).json()
    assert (tried["dry_run"], tried["added"]) == (True, 1)
    assert api("GET", f"/runs/{number}/roster", "instructor").json()["rows"] == []
    done = api("POST", f"/runs/{number}/roster", "instructor", json={"csv": text})
    assert done.json()["rows"] == tried["rows"] == api("GET", f"/runs/{number}/roster", "instructor").json()["rows"]
    file = api("GET", f"/runs/{number}/roster?format=csv", "instructor")
    assert file.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert file.content.decode("utf-8-sig").splitlines()[1] == "B1,王小明,'=1+1,ming,a,2,1"
    again = roster(api, number, file.content).json()
    assert (again["unchanged"], again["added"] + again["changed"] + again["dropped"]) == (1, 0)


def test_a_roster_with_faults_changes_nothing_and_names_each(api: Client, portal: Kit) -> None:
    number = made(api)
    roster(api, number, f"{HEAD}\nB1,王,,ming,,1\n".encode())
    told = problem(roster(api, number, f"{HEAD}\nB2,,,x,,\nB2,李,,X,,9\n".encode()), 422, "roster-refused")
    assert [(fault["row"], fault["field"]) for fault in told["errors"]] == [
        (2, "name_zh"), (3, "seat"), (3, "student_no"), (3, "email_or_username"),
    ]  # fmt: skip
    many = f"{HEAD}\n" + "".join(f"{n},,,,,\n" for n in range(2000))
    told = problem(roster(api, number, many.encode()), 422, "roster-refused")
    assert (len(told["errors"]), told["total"]) == (200, 2000)
    problem(roster(api, number, f"{HEAD}\nB1,王,,,,\n".encode("big5")), 422, "roster-encoding")
    begun = time.monotonic()
    long = problem(
        roster(api, number, (f"{HEAD}\n" + "".join(f"B{n},王小明,,u{n},,\n" for n in range(10_000))).encode()),
        422,
        "roster-too-long",
    )
    assert time.monotonic() - begun < 2
    assert "2000" in long["detail"]
    problem(
        api("POST", f"/runs/{number}/roster", "instructor", content=b"{", headers={"Content-Type": "application/json"}),
        422,
        "not-json",
    )
    assert [row["student_no"] for row in api("GET", f"/runs/{number}/roster", "instructor").json()["rows"]] == ["B1"]


def test_names_of_learners_are_told_to_those_who_teach_alone(api: Client, portal: Kit) -> None:
    number = made(api)
    roster(api, number, f"{HEAD}\nB1,王,,ming,,1\n".encode())
    problem(api("GET", f"/runs/{number}/roster", "outsider"), 404, "run-unknown")
    with portal.store.reading() as unit:
        lines = unit.everything("audit")
    assert all("王" not in str(line) and "ming" not in str(line) for line in lines)
