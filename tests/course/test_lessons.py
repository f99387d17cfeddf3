"""The lessons of the example course, as learners have them and with answers in: on CPUs, without a hub."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.course.solutions import SOLUTIONS

COURSE = Path(__file__).parents[2] / "examples" / "course_accelerated_dataframes"
LESSONS = sorted(COURSE.glob("0*.ipynb"))


def lesson(path: Path, *, answered: bool) -> tuple[Any, list[str]]:
    """Return a lesson, with the answers in it or without, and the names of its exercises."""
    read = nbformat.read(path, as_version=4)
    names = [tag for cell in read.cells for tag in cell.metadata.get("tags", []) if tag.startswith("ex-")]
    for cell in read.cells:
        for tag in cell.metadata.get("tags", []):
            if answered and tag in SOLUTIONS:
                cell.source = SOLUTIONS[tag]
    return read, names


async def run(book: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Run a notebook in a folder of its own beside the checks; return what it printed, and how many pictures it drew."""
    (folder / "checks.py").write_text((COURSE / "checks.py").read_text(encoding="utf-8"), encoding="utf-8")
    for name in [name for name in os.environ if name.startswith(("NVLHUB_", "JUPYTERHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NVLHUB_LANGUAGE", "en")
    client = NotebookClient(book, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(folder)}})
    await client.async_execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    return text, sum("image/png" in output.get("data", {}) for output in outputs)


def of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", LESSONS, ids=of)
async def test_with_the_answers_in_it_every_check_of_a_lesson_is_right(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, exercises = lesson(path, answered=True)
    assert exercises
    assert set(exercises) <= SOLUTIONS.keys()
    text, pictures = await run(book, tmp_path, monkeypatch)
    assert "✘" not in text
    assert text.count("✔") >= 2 * len(exercises)
    assert "step 4 of 4" in text
    assert pictures == 1


async def test_without_answers_a_lesson_runs_to_its_end_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one stands for all: their exercise cells are made alike (the next test)."""
    book, exercises = lesson(LESSONS[0], answered=False)
    text, pictures = await run(book, tmp_path, monkeypatch)
    assert [line for line in text.splitlines() if line.startswith("✘ 1.1 cancelled: not yet. One number for each")]
    assert text.count("✘") >= len(exercises)
    assert pictures == 1


def test_each_exercise_is_one_cell_to_fill_in_followed_by_its_check_and_solved_here() -> None:
    found = []
    for path in LESSONS:
        cells = nbformat.read(path, as_version=4).cells
        assert "中文摘要" in cells[0].source
        for cell, after in itertools.pairwise(cells):
            if any(tag.startswith("ex-") for tag in cell.metadata.get("tags", [])):
                found += cell.metadata["tags"]
                assert "# your code" in cell.source
                assert after.metadata["tags"] == ["check"]
                assert "check(" in after.source
    assert found == list(SOLUTIONS)


def test_checks_only_report_and_no_answer_can_stop_a_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(COURSE))
    told: list[tuple[object, ...]] = []

    class Board:
        def check(self, *what: object) -> None:
            told.append(what)

        def step(self, *what: object) -> None:
            sys.stdout.write("said by the portal")
            told.append(what)
            raise OSError("no network")

    checks = importlib.import_module("checks")
    monkeypatch.setattr(checks, "course", Board())
    checks.check("alone", True)
    monkeypatch.setattr(checks, "IN_CLASS", True)
    checks.check("one", 1 + 1 == 2)
    checks.check("two", lambda: {}["missing"], "Look again.")
    checks.step(1, 4)
    printed = capsys.readouterr().out
    assert "✔ one: right" in printed
    assert "✘ two: not yet. Look again. (KeyError: 'missing')" in printed
    assert "said by the portal" not in printed
    assert told == [("one", True), ("two", False), (1, 4)]
    monkeypatch.delitem(sys.modules, "checks")


async def test_the_practice_run_of_the_assessment_says_which_files_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "solution.py").write_text((COURSE / "solution.py").read_text(encoding="utf-8"), encoding="utf-8")
    book = nbformat.read(COURSE / "assessment.ipynb", as_version=4)
    text, _ = await run(book, tmp_path, monkeypatch)
    assert "✔ it runs" in text
    assert "✘ cancelled.csv: not yet" in text


@pytest.mark.parametrize("path", sorted(COURSE.glob("*.ipynb")), ids=of)
def test_the_notebooks_of_the_course_ship_without_outputs(path: Path) -> None:
    read = nbformat.read(path, as_version=4)
    nbformat.validate(read)
    assert not [cell for cell in read.cells if cell.get("outputs") or cell.get("execution_count")]
