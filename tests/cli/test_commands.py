"""The command line against a portal over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from nvlhub.cli import app
from nvlhub.engines.scripted import Script
from nvlhub.flow.queue import Running, Wait
from nvlhub.wire import Share
from tests.cli.conftest import Terminal
from tests.conftest import START

DAY = 86_400


def commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    if inner := getattr(command, "commands", None):
        for name, one in inner.items():
            yield from commands(one, *path, name)
    else:
        yield " ".join(path), command


def test_every_command_prints_json_when_asked() -> None:
    without = {
        name
        for name, command in commands(typer.main.get_command(app))
        if not any("--json" in option.opts for option in command.params)
    }
    # What they print is a file, or a portal that runs until it is stopped.
    assert without == {"export", "ledger backup", "assessment from-notebook", "up", "demo"}


def test_users_are_added_listed_and_capped(nvlhub: Terminal) -> None:
    assert nvlhub.json("user", "add", "a b/c".replace("/", "-"), "--cap", "4")["cap"] == 4
    assert nvlhub.json("user", "cap", "a b-c", "8")["cap"] == 8
    assert nvlhub.json("user", "cap", "a b-c", "--no-cap")["cap"] is None
    assert [row["name"] for row in nvlhub.json("user", "list", "--named", "b-")] == ["a b-c"]
    assert "2027-01-15" in nvlhub.run("user", "list")
    assert "Nothing to change" in nvlhub.run("user", "cap", "a b-c", code=1)
    assert "exclude each other" in nvlhub.run("user", "cap", "a b-c", "8", "--no-cap", code=1)


def test_institutions_are_added_and_listed(nvlhub: Terminal) -> None:
    nvlhub.run("institution", "add", "lab", "國家實驗室", "--ror", "https://ror.org/00abc")
    assert [row["slug"] for row in nvlhub.json("institution", "list")] == ["demo", "lab"]
    assert "國家實驗室" in nvlhub.run("institution", "list")


def test_a_programme_is_made_changed_staffed_and_funded(nvlhub: Terminal) -> None:
    nvlhub.run("programme", "add", "ai", "AI", "--share", "7", "--priority", "-3", "--at-zero", "low_priority")
    assert nvlhub.json("programme", "set", "ai", "--cap", "64", "--factor", "250")["factor_milli"] == 250
    nvlhub.run("programme", "officer-add", "ai", "researcher")
    nvlhub.run("programme", "budget", "ai", "1000")
    shown = nvlhub.json("programme", "show", "ai")
    assert (shown["share"], shown["priority"], shown["at_zero"], shown["cap"]) == (7, -3, "low_priority", 64)
    assert (shown["officers"], shown["budgets"][0]["granted"]) == (["researcher"], 1000 * 3_600_000)
    assert "granted: 1000.00" in nvlhub.run("programme", "show", "ai")
    assert nvlhub.json("programme", "set", "ai", "--no-cap", who="researcher")["cap"] is None
    assert nvlhub.json("programme", "officer-drop", "ai", "researcher")["officers"] == []
    assert [row["slug"] for row in nvlhub.json("programme", "list")] == ["ai", "demo"]


def test_a_project_is_made_changed_and_joined(nvlhub: Terminal) -> None:
    nvlhub.run("project", "add", "storms", "Typhoon tracks", "demo", "--institution", "demo", "--cap", "4")
    nvlhub.run("project", "set", "storms", "--name", "Storms", "--no-cap")
    shown = nvlhub.json("project", "show", "storms")
    assert (shown["name"], shown["institution"], shown["cap"]) == ("Storms", "demo", None)
    nvlhub.run("project", "member", "storms", "researcher", "--role", "pi")
    nvlhub.run("project", "member", "storms", "instructor", "--cap", "2", who="researcher")
    assert [(row["user"], row["cap"]) for row in nvlhub.json("project", "members", "storms")] == [
        ("instructor", 2),
        ("researcher", None),
    ]
    nvlhub.run("project", "member-drop", "storms", "instructor")
    assert len(nvlhub.json("project", "members", "storms")) == 1
    assert "Make somebody else pi first" in nvlhub.run("project", "member-drop", "storms", "researcher", code=1)
    assert [row["slug"] for row in nvlhub.json("project", "list", "--named", "storm")] == ["storms"]


def request(nvlhub: Terminal, kind: str, *more: str) -> Any:
    return nvlhub.json("request", "add", "demo", "--kind", kind, "--reasons", "r", *more, who="researcher")


def test_a_request_of_each_kind_is_made_and_decided(nvlhub: Terminal) -> None:
    new = request(nvlhub, "new", "--pool", "main", "--gpu-hours", "10", "--ends", "2027-06-01")
    assert (new["starts"], new["ends"], new["state"]) == (START, 1_811_808_000, "submitted")
    nvlhub.run("pool", "add", "spare", "GB200")
    nvlhub.run("programme", "budget", "demo", "100", "--pool", "spare")
    request(
        nvlhub,
        "renewal",
        "--award",
        "1",
        "--pool",
        "main",
        "--gpu-hours",
        "5",
        "--starts",
        "2028-01-15",
        "--ends",
        "2029-01-15",
    )
    request(nvlhub, "extension", "--award", "1", "--ends", "2029-01-01")
    request(nvlhub, "supplement", "--award", "1", "--gpu-hours", "7")
    request(nvlhub, "transfer", "--award", "1", "--gpu-hours", "3", "--pool", "spare")
    for number in ("2", "3", "4", "5"):
        nvlhub.run("request", "review", number, "--approve", "--reason", "fine")
    decided = nvlhub.json("request", "review", "1", "--approve", "--gpu-hours", "4", "--reason", "less")
    assert (decided["state"], decided["reviews"][0]["amount"]) == ("approved", 4 * 3_600_000)
    assert "reviewer: admin, verdict: approve, amount: 4.00" in nvlhub.run("request", "show", "1")
    awards = {row["id"]: row for row in nvlhub.json("award", "list")}
    assert awards["1"]["awarded"] == 204 * 3_600_000
    assert nvlhub.kit.broken() == []


def test_a_request_is_sent_back_declined_and_withdrawn(nvlhub: Terminal) -> None:
    asked = ("--pool", "main", "--gpu-hours", "10", "--ends", "2027-06-01")
    for _ in range(2):
        request(nvlhub, "new", *asked)
    nvlhub.run("request", "review", "1", "--revise", "--reason", "why so much?")
    assert nvlhub.json("request", "withdraw", "1", who="researcher")["state"] == "withdrawn"
    nvlhub.run("request", "review", "2", "--decline", "--reason", "no")
    assert [row["id"] for row in nvlhub.json("request", "list", "--state", "declined")] == ["2"]
    assert "10.00" in nvlhub.run("request", "list")
    assert "Say one of" in nvlhub.run("request", "review", "2", "--reason", "r", code=1)
    assert "Say one of" in nvlhub.run("request", "review", "2", "--approve", "--revise", "--reason", "r", code=1)
    assert "cannot be changed" in nvlhub.run("request", "review", "2", "--approve", "--reason", "r", code=1)


def test_an_award_is_made_changed_and_revoked(nvlhub: Terminal) -> None:
    assert nvlhub.run("award", "add", "demo", "5") == "award 3: 5 GPU-hours to demo\n"
    [made] = [row for row in nvlhub.json("award", "list", "--project", "demo") if row["id"] == "3"]
    assert (made["starts"], made["ends"]) == (START, START + 365 * DAY)
    made = nvlhub.json("award", "add", "demo", "5", "--starts", "2027-02-01", "--ends", "2027-03-01", "--cap", "2")
    assert (made["starts"], made["ends"], made["cap"]) == (1_801_440_000, 1_803_859_200, 2)
    changed = nvlhub.json("award", "set", "4", "--ends", "2027-04-01", "--no-cap")
    assert (changed["ends"], changed["cap"]) == (1_806_537_600, None)
    assert nvlhub.json("award", "revoke", "4", "--reason", "mistake")["state"] == "revoked"
    shown = nvlhub.run("award", "show", "4")
    assert "2027-04-01 00:00:00" in shown
    assert "5.00" in shown


@pytest.mark.parametrize("time", ["tomorrow", "2027-02-30", "1e9", "2027-1-1", "01.02.2027"])
def test_a_time_that_is_none_is_told_what_would_be_one(nvlhub: Terminal, time: str) -> None:
    told = nvlhub.run("award", "add", "demo", "5", "--ends", time, code=2)
    assert "YYYY-MM-DD" in told
    assert len(nvlhub.json("award", "list")) == 2


def test_pools_and_their_capacity_are_told(nvlhub: Terminal) -> None:
    assert nvlhub.json("pool", "add", "spare", "GB200", "--factor", "500", "--domain-gpus", "36")["factor_milli"] == 500
    nvlhub.run("pool", "capacity", "spare", "--announced", "720", "--at", "2027-07-01", "--source", "press release")
    assert nvlhub.json("pool", "capacity", "spare", "--installed", "36", "--source", "rack list")["at"] == START
    rows = nvlhub.json("pool", "capacity", "spare")
    assert [(row["kind"], row["gpus"]) for row in rows] == [("announced", 720), ("installed", 36)]
    assert "press release" in nvlhub.run("pool", "capacity", "spare")
    assert "--source" in nvlhub.run("pool", "capacity", "spare", "--installed", "36", code=1)
    assert [row["name"] for row in nvlhub.json("pool", "list")] == ["main", "spare"]


def test_a_settled_lease_is_corrected_and_the_ledger_is_searched(nvlhub: Terminal) -> None:
    lease = nvlhub.kit.ask().id
    nvlhub.kit.step(10)
    nvlhub.run("lease", "end", lease)
    nvlhub.kit.step()
    nvlhub.run("ledger", "correct", lease, "-4", "--reason", "half of it was wasted")
    nvlhub.run("ledger", "correct", lease, "1", "--reason", "but not that much")
    entries = [row["entry"] for row in nvlhub.json("ledger", "list", "--lease", lease)]
    assert entries == ["hold", "settle", "correct", "correct"]
    assert len(nvlhub.json("ledger", "list", "--award", "1", "--entry", "correct")) == 2
    assert nvlhub.json("ledger", "list", "--since", "2027-02-01") == []
    assert "every invariant holds" in nvlhub.run("ledger", "verify")
    assert nvlhub.json("lease", "show", lease)["state"] == "settled"


def test_the_audit_trail_is_searched(nvlhub: Terminal) -> None:
    nvlhub.run("project", "set", "demo", "--cap", "4")
    [line] = nvlhub.json("audit", "list", "--object", "project:demo", "--actor", "admin")
    assert (line["action"], line["after"]["cap"]) == ("project-change", 4)
    assert nvlhub.json("audit", "list", "--actor", "nobody") == []
    assert "project-change" in nvlhub.run("audit", "list")


def test_a_change_is_made_from_what_was_read_just_before(nvlhub: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nvlhub.kit.registry.directory.project

    def overtaken(*args: Any) -> Any:
        found = real(*args)
        with nvlhub.kit.store.writing() as unit:
            unit.set_project("demo", cap=3)
        return found

    monkeypatch.setattr(nvlhub.kit.registry.directory, "project", overtaken)
    assert "Somebody else has changed this" in nvlhub.run("project", "set", "demo", "--name", "Mine", code=1)


def test_errors_of_the_portal_are_told_in_its_words(nvlhub: Terminal) -> None:
    assert "there is no project “nope”" in nvlhub.run("project", "show", "nope", code=1)
    assert "Your account may not do this" in nvlhub.run("user", "add", "x", who="researcher", code=1)
    assert "not logged in" in nvlhub.run("project", "list", who="nobody", code=1)
    nvlhub.url = "http://127.0.0.1:9"
    assert "does not answer" in nvlhub.run("project", "list", code=1)


# --- files --------------------------------------------------------------------------------------------------------


def test_everything_goes_to_a_file_and_in_again(nvlhub: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    assert nvlhub.run("export", "--output", str(file)) == ""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert nvlhub.run("export") == file.read_text(encoding="utf-8")
    assert [row["id"] for row in document["awards"]] == ["1", "2"]
    assert "id: null" in nvlhub.run("export", "--no-ids", "--kind", "awards")
    done = nvlhub.json("import", str(file))["kinds"]
    assert all(row["created"] == row["changed"] == 0 for row in done.values())
    document["projects"][0]["name"] = "專案"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    assert "this was a trial" in nvlhub.run("import", str(file), "--dry-run")
    assert nvlhub.json("project", "show", "demo")["name"] == "Demo project"
    assert "Imported." in nvlhub.run("import", str(file))
    assert nvlhub.json("project", "show", "demo")["name"] == "專案"


def test_a_csv_file_holds_the_kind_that_is_named(nvlhub: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "projects.csv"
    nvlhub.run("export", "--format", "csv", "--kind", "projects", "--output", str(file))
    assert nvlhub.json("import", str(file), "--kind", "projects")["kinds"]["projects"]["unchanged"] == 2
    assert "kind: a CSV file holds one kind of rows" in nvlhub.run("import", str(file), code=1)


def test_what_is_wrong_with_a_file_is_listed_by_row(nvlhub: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("slug,name,programme\nok,OK,demo\nBad,B,demo\nx,X,nope\n", encoding="utf-8")
    told = nvlhub.run("import", str(file), "--kind", "projects", code=1)
    assert "Nothing was imported" in told
    assert "programme: there is no programme “nope”" in told
    document = nvlhub.json("import", str(file), "--kind", "projects", code=1)
    assert [(error["row"], error["field"]) for error in document["errors"]] == [(3, "slug"), (4, "programme")]
    assert len(nvlhub.json("project", "list")) == 2


def test_a_file_that_is_not_there_or_says_not_what_it_is_is_told(nvlhub: Terminal, tmp_path: Path) -> None:
    assert "cannot be read" in nvlhub.run("import", str(tmp_path / "none.yaml"), code=1)
    assert "Call it .yaml, .yml or .csv" in nvlhub.run("import", str(tmp_path / "x.xlsx"), code=1)


def test_what_a_queue_a_stranger_or_the_engine_holds_up_is_listed(
    nvlhub: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, engine = nvlhub.kit, nvlhub.kit.engine
    wait = Wait("slurm-wait-resources", portal.clock.now() + 600)
    theirs = (Share(domain="nvl001", tray=4, gpus=(0, 1, 2)),)
    monkeypatch.setattr(engine, "scripts", {"*": Script(pending=9, wait=wait)})
    monkeypatch.setattr(engine, "outside", (Running(theirs, portal.clock.now() + 60),))
    [domain] = engine.capacity()
    down = tuple(
        replace(tray, in_service=tray.index not in {2, 3}, reason="fan" * (tray.index > 2)) for tray in domain.trays
    )
    monkeypatch.setattr(engine, "capacity", lambda: (replace(domain, trays=down),))
    nvlhub.run("domain", "drain", "nvl001", "--tray", "18")
    portal.ask()
    portal.step()
    # A narrow terminal breaks the sentence anywhere.
    assert "waits for" in nvlhub.run("lease", "list")
    assert nvlhub.json("lease", "list")[0]["expected_start"] == wait.start
    assert "engine: 2, 3 (fan)" in nvlhub.run("domain", "list")
    [row] = nvlhub.json("domain", "list")
    assert (row["outside"], row["free"]) == (3, 72 - 12 - 3 - 1)
    assert nvlhub.json("pool", "list")[0]["outside"] == 3
    assert "outside" in nvlhub.run("pool", "list")
