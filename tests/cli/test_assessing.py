"""Commands on assessment."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from nvlhub.flow.rubric import read
from nvlhub.forms import NewAttempt
from nvlhub.visitor import Visitor
from tests.api.world import RUBRIC
from tests.cli.conftest import Terminal
from tests.conftest import START


def test_a_rubric_is_packed_with_its_files_and_looked_through(nvlhub: Terminal, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("y\n1\n")
    (tmp_path / "grade.py").write_text("def grade(outputs, hidden): return 1")
    rubric = {
        "files": ["solve.py"], "outputs": [{"name": "a.csv", "kind": "csv"}], "hidden": ["truth.csv"], "graders": ["grade.py"],
        "items": [
            {"name": "a", "check": "match", "output": "a.csv", "at": "y", "hidden": "truth.csv"},
            {"name": "b", "check": "grader", "grader": "grade.py"},
        ],
    }  # fmt: skip
    file = tmp_path / "rubric.yml"
    file.write_text(yaml.safe_dump(rubric))
    told = nvlhub.json("assessment", "check", str(file))
    assert (told["items"], told["run"]) == (2, "python solve.py")
    (tmp_path / "truth.csv").write_text("y\n2\n")
    assert nvlhub.json("assessment", "check", str(file))["grader"] != told["grader"]
    (tmp_path / "grade.py").write_text("def (")
    assert "cannot be read as Python" in nvlhub.run("assessment", "check", str(file), code=1)
    file.write_text(yaml.safe_dump({**rubric, "graders": [], "pass_percent": 200}))
    assert "assessment.pass_percent" in nvlhub.run("assessment", "check", str(file), code=1)


def test_nbgrader_s_notebook_begins_a_rubric(nvlhub: Terminal, tmp_path: Path) -> None:
    notebook = tmp_path / "lesson.ipynb"
    cell = {"metadata": {"nbgrader": {"grade": True, "grade_id": "one", "points": 4}}}
    notebook.write_text(json.dumps({"cells": [cell]}))
    told = yaml.safe_load(nvlhub.run("assessment", "from-notebook", str(notebook)))
    assert read({**told, "graders": {"grade.py": ""}}).items[0].weight == 4
    notebook.write_text("[]")
    assert "no cell" in nvlhub.run("assessment", "from-notebook", str(notebook), code=1)


def test_attempts_are_listed_and_shown(nvlhub: Terminal) -> None:
    with nvlhub.kit.store.writing() as unit:
        unit.add_course(
            ["researcher"], slug="lasers", project="demo", title="Lasers", profile="gpu1", assessment=RUBRIC,
            made_by="admin", made_at=START,
        )  # fmt: skip
        unit.add_run(
            ["Ant"], course="lasers", name="Spring", zone="UTC", starts=START, ends=START + 3600, seats=1, gpus=1, warm=0,
            flex=0, grace=0, no_show=0, code="LASERS23", roster_only=False, state="approved", made_by="admin", made_at=START,
        )  # fmt: skip
        unit.take_seat(1, "learner", START)
    body = NewAttempt(run=1, files={"solve.py": "eA=="})
    nvlhub.kit.registry.assessing.hand_in(Visitor("learner"), body, "en")
    [told] = nvlhub.json("assessment", "list", "--run", "1")
    assert (told["user"], told["state"]) == ("learner", "queued")
    assert "waits to be judged" in nvlhub.run("assessment", "show", told["id"])
