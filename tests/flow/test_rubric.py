"""What a rubric says, what it may not say, and what it is worth."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.errors import BadInputError
from nvlhub.flow.rubric import digest, from_notebook, read
from nvlhub.snapshots import name_of, pack, unpack

GOOD: dict[str, Any] = {
    "files": ["solve.py", "results/*.csv"],
    "outputs": [{"name": "labels.csv", "kind": "csv"}, {"name": "metrics.json", "kind": "json"}],
    "items": [
        {"name": "labels", "weight": 3, "check": "match", "output": "labels.csv", "at": "y", "hidden": "truth.csv"},
        {"name": "score", "check": "number", "output": "metrics.json", "at": "score", "min": 0.92},
        {"name": "quick", "check": "time", "max": 0.9},
        {"name": "style", "check": "grader", "grader": "grade.py"},
    ],
    "hidden": {"truth.csv": base64.b64encode(b"y\n1\n").decode()},
    "graders": {"grade.py": "def grade(outputs, hidden): return 1"},
}


def test_a_rubric_runs_the_one_program_that_is_handed_in() -> None:
    assert read(GOOD).command == ["python", "solve.py"]
    assert read({**GOOD, "files": ["lesson.ipynb", "*.csv"]}).command == ["notebook", "lesson.ipynb"]
    assert read({**GOOD, "run": ["python", "-m", "solve"]}).command == ["python", "-m", "solve"]


def test_a_rubric_knows_what_is_handed_in() -> None:
    rubric = read(GOOD)
    assert rubric.wants("solve.py")
    assert rubric.wants("results/a.csv")
    assert not any(map(rubric.wants, ("results/a/b.csv", "a.csv", "results", "solve.pyc", "../solve.py")))


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"files": []}, "assessment.files", "at least 1"),
        ({"files": ["../secret"]}, "assessment.files.0", "pattern"),
        ({"files": ["/etc/passwd"]}, "assessment.files.0", "pattern"),
        ({"files": [".bashrc"]}, "assessment.files.0", "pattern"),
        ({"files": ["a/../b"]}, "assessment.files.0", "pattern"),
        ({"files": ["*.py"]}, "assessment", "run begins with"),
        ({"run": ["bash", "-c", "true"]}, "assessment", "run begins with"),
        ({"outputs": [{"name": "a.pkl", "kind": "pickle"}]}, "assessment.outputs.0.kind", "json"),
        ({"outputs": []}, "assessment", "labels.csv, which is not among outputs"),
        ({"hidden": {}}, "assessment", "truth.csv, which is not among hidden"),
        ({"graders": {}}, "assessment", "grade.py, which is not among graders"),
        ({"hidden": {"truth.csv": "é"}}, "assessment", "hidden.truth.csv is not base64"),
        ({"hidden": {**GOOD["hidden"], "more": "A" * 660_000}}, "assessment", "more than"),
        ({"pass_percent": 101}, "assessment.pass_percent", "less than or equal to 100"),
        ({"attempts": 0}, "assessment.attempts", "greater than or equal to 1"),
        ({"limits": {"seconds": 10**6}}, "assessment.limits.seconds", "1800"),
        ({"items": [{"name": "a", "check": "number", "output": "metrics.json"}]}, "assessment.items.0", "min or max"),
        ({"items": [{"name": "a", "check": "time"}]}, "assessment.items.0", "needs max"),
        ({"items": [{"name": "a", "check": "grader"}]}, "assessment.items.0", "needs grader"),
        ({"items": [{"name": "a", "check": "match", "output": "labels.csv"}]}, "assessment.items.0", "needs hidden"),
        ({"items": [{"name": "a", "check": "time", "max": 1}] * 2}, "assessment", "items has a name twice"),
        ({"items": [{"name": "a", "check": "time", "max": float("nan")}]}, "assessment.items.0.max", "finite"),
        ({"colour": []}, "assessment.colour", "not permitted"),
    ],
)
def test_a_wrong_rubric_is_refused_by_its_field(change: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(BadInputError) as refused:
        read({**GOOD, **change})
    assert refused.value.members["field"] == field
    assert why in str(refused.value.members["allowed_text"])


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_a_score_lies_between_the_shares_and_only_all_makes_it_whole(shares: list[int]) -> None:
    score = read(GOOD).score(shares)
    assert min(shares) <= score <= max(shares)
    assert (score == 1000) == (shares == [1000] * 4)


def test_weights_count() -> None:
    assert read(GOOD).score([1000, 0, 0, 0]) == 500
    assert read(GOOD).pass_milli == 700


def test_the_digest_tells_every_change() -> None:
    other = {**GOOD, "hidden": {"truth.csv": base64.b64encode(b"y\n2\n").decode()}}
    graded = {**GOOD, "graders": {"grade.py": "def grade(outputs, hidden): return 0"}}
    assert len({digest(GOOD), digest(other), digest(graded), digest({**GOOD, "attempts": 4})}) == 4
    assert digest(dict(reversed(GOOD.items()))) == digest(GOOD)


def test_nbgrader_s_points_become_weights_and_its_cells_are_not_run() -> None:
    def cell(**told: Any) -> dict[str, Any]:
        return {"cell_type": "code", "source": "raise SystemExit", "metadata": {"nbgrader": told}}

    notebook = {
        "cells": [
            cell(grade=False, solution=True, grade_id="exercise"), cell(grade=True, grade_id="test one", points=3),
            cell(grade=True, grade_id="weird <b>", points=0.4), cell(grade=True, grade_id="none", points=0),
            cell(grade=True, points=True), {"metadata": {"nbgrader": []}}, "no cell", {},
        ]
    }  # fmt: skip
    told = from_notebook(notebook, "lesson.ipynb")
    assert [(item["name"], item["weight"]) for item in told["items"]] == [("1-test-one", 3), ("2-weird--b", 1)]
    assert read({**told, "graders": GOOD["graders"]}).command == ["notebook", "lesson.ipynb"]


@pytest.mark.parametrize("notebook", [{}, {"cells": []}, {"cells": "x"}, {"cells": [{"metadata": None}]}])
def test_a_notebook_without_graded_cells_is_refused(notebook: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="rubric-ungraded"):
        from_notebook(notebook, "lesson.ipynb")


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary(max_size=2000), max_size=5)
)
def test_equal_files_are_equal_bytes(files: dict[str, bytes]) -> None:
    packed = pack(files)
    assert pack(dict(reversed(files.items()))) == packed
    assert unpack(packed) == files
    assert len(name_of(packed)) == 64
