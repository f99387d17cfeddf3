"""Profiles from the command line: files are checked, compared, applied, published, rolled back, tried."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Terminal
from tests.portal_kit import ADMIN

FILE = "name: gpu1\ndisplay_name: 1 GPU\npool: main\ngpus: 1\nlongest: 600\nidle: 60\nenvironment: {A: 1}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "gpu1.yaml"
    made.write_text(FILE, encoding="utf-8")
    return made


def versions(nvlhub: Terminal) -> list[tuple[int, bool]]:
    return [(row["version"], row["published"]) for row in nvlhub.json("profile", "show", "gpu1")]


def test_a_file_is_applied_published_and_rolled_back(nvlhub: Terminal, file: Path) -> None:
    said = nvlhub.run("profile", "apply", "-f", str(file))
    assert "environment.A" in said
    assert "version 2 is a draft" in said
    assert "Nothing is different from version 2" in nvlhub.run("profile", "apply", "-f", str(file))
    assert versions(nvlhub) == [(2, False), (1, True)]
    assert nvlhub.json("profile", "apply", "-f", str(file), "--publish")["published"]
    assert "version 1 is published again" in nvlhub.run("profile", "rollback", "gpu1")
    assert nvlhub.json("profile", "rollback", "gpu1")["version"] == 2
    assert nvlhub.json("profile", "publish", "gpu1", "1")["version"] == 1
    assert "everybody" in nvlhub.run("profile", "list")


def test_what_is_shown_as_yaml_can_be_applied(nvlhub: Terminal, file: Path) -> None:
    text = nvlhub.run("profile", "show", "gpu1", "--yaml")
    assert yaml.safe_load(text) == {
        "name": "gpu1", "version": 1, "display_name": "1 GPU", "pool": "main", "gpus": 1, "span": "domain", "longest": 14400, "idle": 3600,
    }  # fmt: skip
    file.write_text(text, encoding="utf-8")
    assert "Nothing is different from version 1" in nvlhub.run("profile", "apply", "-f", str(file))
    assert "has no version 7" in nvlhub.run("profile", "show", "gpu1", "--yaml", "--version", "7", code=1)


def test_a_file_made_from_an_older_version_is_not_put_over_a_newer_one(nvlhub: Terminal, file: Path) -> None:
    nvlhub.run("profile", "apply", "-f", str(file))
    file.write_text(FILE.replace("600", "900") + "version: 1\n", encoding="utf-8")
    said = nvlhub.run("profile", "apply", "-f", str(file), code=1)
    assert "What there is now (version 2)" in said
    assert "--over" in said
    assert len(versions(nvlhub)) == 2
    nvlhub.run("profile", "apply", "-f", str(file), "--over")
    assert len(versions(nvlhub)) == 3


def test_versions_and_files_are_compared(nvlhub: Terminal, file: Path) -> None:
    assert [row["field"] for row in nvlhub.json("profile", "diff", "--file", str(file))] == [
        "longest", "idle", "environment.A",
    ]  # fmt: skip
    nvlhub.run("profile", "apply", "-f", str(file))
    assert [row["after"] for row in nvlhub.json("profile", "diff", "gpu1")] == [600, 60, "1"]
    assert nvlhub.json("profile", "diff", "gpu1", "-a", "2", "-b", "1")[0]["before"] == 600
    assert "not gpu2" in nvlhub.run("profile", "diff", "gpu2", "--file", str(file), code=1)
    assert "Name a profile" in nvlhub.run("profile", "diff", code=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE + "gpuz: 1\n", "gpuz"), ("a: &a [x]\nb: *a\n", "anchors"), (FILE + "gpus: 2\n", "twice"),
        (FILE.replace("{A: 1}", "{PATH: x}"), "PATH cannot be set"), ("x" * 70_000, "larger than"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_changes_nothing_and_says_why(nvlhub: Terminal, file: Path, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    assert said in nvlhub.run("profile", "apply", "-f", str(file), code=1)
    assert versions(nvlhub) == [(1, True)]


def test_a_file_that_cannot_be_read_says_why(nvlhub: Terminal, file: Path) -> None:
    assert "cannot be read" in nvlhub.run("profile", "apply", "-f", "/nowhere/x.yaml", code=1)
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in nvlhub.run("profile", "apply", "-f", str(file), code=1)


def test_how_the_starts_of_a_version_went_is_shown(nvlhub: Terminal) -> None:
    nvlhub.kit.ask()
    nvlhub.kit.step()
    [row] = nvlhub.json("profile", "show", "gpu1")
    assert (row["stats"]["starts"], row["stats"]["running"], row["stats"]["failures"]) == (1, 1, 0)
    nvlhub.run("profile", "add", "gpu1", "Again", "1", "--publish")
    assert versions(nvlhub) == [(2, True), (1, False)]


def test_a_trial_that_is_refused_says_why(nvlhub: Terminal) -> None:
    said = nvlhub.run("profile", "test", "gpu1", "--project", "nope", code=1)
    assert "there is no project" in said
    assert "at most 0.08 GPU-hours" in said
    steps = nvlhub.run("profile", "test", "gpu1", "--project", "nope", "--json", code=1)
    assert '"ok": false' in steps
    assert nvlhub.kit.registry.profiles.stats(ADMIN) == []
