"""The assessment of the example course, judged as a portal judges it: in cages, by values made for one class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nvlhub.arena import Judgement, LocalArena
from nvlhub.cli.assessing import packed
from nvlhub.flow import rubric as rubrics
from tests.conftest import missing
from tests.course.hidden import COURSE, TEMPLATE, completed, make
from tests.course.reference import ANSWERS

NUMBER = 417
WRONG = (
    # A sum for a share, an inner join that drops flights, ages of a year later, groups that are too small.
    ANSWERS.replace('on=key, how="left"', "on=key")
    .replace('["share"].mean()', '["share"].sum()')
    .replace("2013 - ", "2014 - ")
    .replace(">= 100", ">= 0")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hidden")
    make(made, NUMBER)
    return made


@pytest.fixture(scope="module")
def rubric(folder: Path) -> rubrics.Rubric:
    return rubrics.read(packed(folder / "assessment.yml"))


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> LocalArena:
    made = LocalArena(tmp_path_factory.mktemp("arena"))
    if why := made.lacks():
        missing(f"isolation of attempts ({why})")
    return made


def scored(rubric: rubrics.Rubric, judged: Judgement) -> tuple[int, dict[str, int]]:
    assert judged.ran.ended == "done", judged.ran.log
    shares = {item.name: mark.share_milli for item, mark in zip(rubric.items, judged.marks, strict=True)}
    return rubric.score(list(shares.values())), shares


def test_the_reference_passes_with_every_item(arena: LocalArena, rubric: rubrics.Rubric) -> None:
    judged = arena.judge({"solution.py": completed(ANSWERS, NUMBER).encode()}, rubric)
    score, shares = scored(rubric, judged)
    assert score == 1000, shares


def test_wrong_answers_fail_and_their_writer_learns_no_hidden_value(
    arena: LocalArena, rubric: rubrics.Rubric, folder: Path
) -> None:
    judged = arena.judge({"solution.py": completed(WRONG, NUMBER).encode()}, rubric)
    score, shares = scored(rubric, judged)
    assert score < rubric.pass_milli
    assert [name for name, share in shares.items() if share == 1000] == ["rain", "seat-hours", "quick"]
    assert 0 < shares["late"] < 1000
    told = judged.ran.log + "".join(f"{mark.text} {dict(mark.members)}" for mark in judged.marks)
    hidden = {
        number
        for file in folder.glob("*.*s*")
        for number in re.findall(r"\d+\.\d{3,}", file.read_text(encoding="utf-8"))
    }
    assert len(hidden) > 80
    assert not {number for number in hidden if number in told}


def test_the_file_as_it_is_given_out_runs_and_is_worth_no_more_than_its_speed(
    arena: LocalArena, rubric: rubrics.Rubric
) -> None:
    score, shares = scored(rubric, arena.judge({"solution.py": TEMPLATE.read_bytes()}, rubric))
    assert [name for name, share in shares.items() if share] == ["quick"]
    assert score == 100


def test_answers_of_another_class_do_not_pass(arena: LocalArena, rubric: rubrics.Rubric) -> None:
    judged = arena.judge({"solution.py": completed(ANSWERS, NUMBER + 1).encode()}, rubric)
    assert scored(rubric, judged)[0] < rubric.pass_milli


def test_hidden_values_are_the_same_however_often_they_are_made(folder: Path, tmp_path: Path) -> None:
    make(tmp_path, NUMBER)
    for file in folder.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_what_is_hidden_does_not_lie_where_learners_are() -> None:
    shipped = {file.name for file in COURSE.rglob("*") if "__pycache__" not in file.parts}
    assert (
        shipped & {"grade.py", "reference.py", "solutions.py", "hidden.py", "cancelled.csv", "ages.csv", "rain.json"}
        == set()
    )
