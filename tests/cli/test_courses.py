"""`nvlhub course`."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

from typer.testing import CliRunner

from nvlhub.cli import app
from nvlhub.dates import moment
from tests.api.world import RUBRIC
from tests.cli.conftest import Terminal
from tests.conftest import START
from tests.courses_kit import HOUR, approved, make_course, sit

TAIPEI = ZoneInfo("Asia/Taipei")
MAKE = ("course", "add", "frames", "Data frames", "demo", "gpu1", "--instructor", "instructor")
RUN = (
    "course",
    "run-add",
    "frames",
    "Spring",
    "--starts",
    "2027-03-14T09:00",
    "--ends",
    "2027-03-14T12:00",
    "--seats",
    "8",
)


def test_a_course_is_made_changed_and_retired(nvlhub: Terminal, tmp_path: Path) -> None:
    nvlhub.run(*MAKE, who="researcher")
    assert nvlhub.json("course", "show", "frames", who="instructor")["instructors"] == ["instructor"]
    (tmp_path / "a.json").write_text(json.dumps(RUBRIC))
    facts = ("--title-zh", "資料框", "--assessment", str(tmp_path / "a.json"), "--keep-days", "30")
    changed = nvlhub.json("course", "change", "frames", *facts, who="instructor")
    assert (changed["title_zh"], changed["assessment"], changed["keep_days"]) == ("資料框", RUBRIC, 30)
    assert "commit: missing" in nvlhub.run(
        "course", "change", "frames", "--repository", "https://x.tw/y", who="admin", code=1
    )
    assert "Data frames" in nvlhub.run("course", "list", who="instructor")
    assert nvlhub.json("course", "retire", "frames", who="researcher")["retired_at"] == START
    assert "is retired" in nvlhub.run(*RUN, who="instructor", code=1)
    assert nvlhub.json("course", "retire", "frames", "--undo", who="researcher")["retired_at"] is None
    assert nvlhub.json("course", "change", "frames", "--no-instructors", who="researcher")["instructors"] == []
    assert "a course “frames” already" in nvlhub.run(*MAKE, who="admin", code=1)


def test_a_run_is_tried_made_asked_for_approved_moved_and_cancelled(nvlhub: Terminal) -> None:
    nvlhub.kit.desk.zone = "Asia/Taipei"
    nvlhub.run(*MAKE, who="researcher")
    nvlhub.run("programme", "set", "demo", "--charge-slot")
    tried = nvlhub.run(*RUN, "--dry-run", who="instructor")
    for words in ("2027-03-14 09:00 CST", "3 h 0 min", "the whole slot", "8 GPU, 28", "yes: nvl001: 1-2"):
        assert words in tried
    assert nvlhub.json("course", "runs", who="instructor") == []
    made = nvlhub.json(*RUN, who="instructor")
    assert (made["starts"], made["zone"]) == (moment("2027-03-14T09:00", TAIPEI), "Asia/Taipei")
    assert nvlhub.json("course", "request", "1", "--note", "please", who="instructor")["state"] == "requested"
    decided = nvlhub.json("course", "decide", "1", "--approve", "--reason", "good")
    assert (decided["state"], decided["held"]) == ("approved", 8 * 3.5 * 3_600_000)
    moved = nvlhub.json("course", "run-change", "1", "--starts", "2027-03-15T09:00", who="instructor")
    assert moved["ends"] - moved["starts"] == 3 * 3600
    assert "nvl001: 1-2" in nvlhub.run("course", "run-show", "1", who="instructor")
    code = nvlhub.json("course", "code", "1", who="instructor")["code"]
    assert code in nvlhub.run("course", "runs", "--course", "frames", "--state", "approved", who="instructor")
    assert "slot-hold:1:2" in nvlhub.run(
        "project", "statement", "demo", "--since", "2027-01-01", "--until", "2027-02-01", who="researcher"
    )
    assert "slot-end" in nvlhub.run("ledger", "list", "--entry", "slot-end")
    assert "Cancel it" in nvlhub.run("course", "close", "1", who="instructor", code=1)
    assert nvlhub.json("course", "cancel", "1", "--note", "ill", who="instructor")["reason"] == "ill"
    assert "every invariant holds" in nvlhub.run("ledger", "verify")


def test_what_cannot_be_is_told_in_words(nvlhub: Terminal) -> None:
    nvlhub.run(*MAKE, who="researcher")
    for zone, time, words in (
        ("Europe/Berlin", "2027-03-28T02:30", "does not exist in Europe/Berlin"),
        ("Europe/Berlin", "2027-10-31T02:30", "exists twice in Europe/Berlin"),
        ("Europe/Berlin", "tomorrow", "is no time"), ("Mars", "2027-03-14T02:30", "no time zone “Mars”"),
        ("UTC", "2020-01-01T00:00", "lies in the past"),
    ):  # fmt: skip
        assert words in nvlhub.run(*RUN, "--zone", zone, "--starts", time, who="instructor", code=1)
    assert "not yours to see" in nvlhub.run("course", "run-show", "1", who="outsider", code=1)
    big = nvlhub.run(*RUN, "--zone", "UTC", "--gpus", "4", "--seats", "100", who="instructor")
    assert "no: 72 of 400 GPU" in big
    assert "There is no room" in nvlhub.run("course", "request", "1", who="instructor", code=1)


def test_a_roster_is_tried_then_applied_and_told_as_it_is(nvlhub: Terminal, tmp_path: Path) -> None:
    nvlhub.run(*MAKE, who="researcher")
    nvlhub.run(*RUN, "--zone", "UTC", who="instructor")
    file = tmp_path / "roster.csv"
    file.write_bytes("學號,student_no,name_zh,name_latin,email_or_username\nx,B1,王小明,=1+1,ming\n".encode("utf-16"))
    told = nvlhub.run("course", "roster", "1", str(file), who="instructor")
    assert "學號" in told
    assert "--apply changes it" in told
    assert nvlhub.json("course", "roster", "1", who="instructor")["rows"] == []
    done = nvlhub.json("course", "roster", "1", str(file), "--apply", who="instructor")
    assert (done["added"], done["rows"][0]["name_latin"]) == (1, "=1+1")
    printed = nvlhub.run("course", "roster", "1", who="instructor")
    assert "B1,王小明,'=1+1,ming,,,1" in printed
    file.write_text("student_no,name_zh,seat\nB1,,9\nB1,李,\n", encoding="utf-8")
    refused = nvlhub.run("course", "roster", "1", str(file), "--apply", who="instructor", code=1)
    assert "both names are empty" in refused
    assert "stands in row 2" in refused
    faults = json.loads(nvlhub.run("course", "roster", "1", str(file), "--json", who="instructor", code=1))
    assert (faults["total"], [fault["row"] for fault in faults["errors"]]) == (3, [2, 2, 3])
    file.write_text("student_no,name_zh\nB1,王\n", encoding="utf-16-le")
    assert "not in UTF-8" in nvlhub.run("course", "roster", "1", str(file), who="instructor", code=1)
    assert nvlhub.json("course", "roster", "1", who="instructor")["rows"][0]["row"] == 1


def test_a_class_is_watched_told_extended_and_ended(nvlhub: Terminal) -> None:
    make_course(nvlhub.kit)
    run = approved(nvlhub.kit)
    nvlhub.kit.step(3 * HOUR, beats=False)
    sit(nvlhub.kit, run, "ann")
    shown = nvlhub.run("course", "board", "1", who="instructor")
    for words in ("60 min left", "7 free", "1 warming", "ann"):
        assert words in shown
    assert "ann" not in nvlhub.run("course", "board", "1", "--pseudonyms", who="instructor")
    assert nvlhub.json("course", "message", "1", "Break until ten", "--seat", "1", who="instructor")["seat"] == 1
    assert "yes" in nvlhub.run("course", "extend", "1", "30", "--dry-run", who="instructor")
    assert nvlhub.json("course", "extend", "1", "30", who="instructor")["ends"] == run.ends + 1800
    assert nvlhub.json("course", "extend", "1", "15", "--seat", "1", who="instructor")["ends"] == run.ends + 2700
    assert "not there" in nvlhub.run("course", "board", "1", who="outsider", code=1)
    assert "approved" in nvlhub.run("course", "ready", "1", who="instructor")
    assert nvlhub.run("course", "results", "1", who="instructor").splitlines()[1].startswith(",1,")
    assert "closed" in nvlhub.run("course", "end", "1", who="instructor")


def test_whoever_verifies_a_certificate_needs_no_token(nvlhub: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps({"document": "{}", "signature": "x"}))
    for words, said in (
        (("verify", str(file)), "unknown"), (("verify", "3" * 16), "is not there"), (("keys",), "public"),
    ):  # fmt: skip
        done = CliRunner().invoke(app, ["certificate", *words], env={"NVLHUB_URL": nvlhub.url, "NVLHUB_TOKEN": ""})
        assert said in done.output
        assert "No portal known" not in done.output
