"""Makes what an assessment of the example course is judged by: ``python -m tests.course.hidden FOLDER --number N``.

`FOLDER` then holds the rubric, the hidden values for the class of that number, and the grader. It is the instructor's:
``nvlhub assessment set COURSE FOLDER/assessment.yml`` sends it; nothing of it belongs into the learners' repository.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.course.reference import ANSWERS, GRADER

COURSE = Path(__file__).parents[2] / "examples" / "course_accelerated_dataframes"
TEMPLATE = COURSE / "solution.py"
NUMBERS = 1_000
"""Numbers of classes that differ from each other."""


def completed(answers: str, number: int) -> str:
    """Return the learner's file with answers in it: functions of the same names take the place of those of the template."""
    template = TEMPLATE.read_text(encoding="utf-8")
    head, tail = template.split("def sample(", 1)
    return f"{head}{answers.strip()}\n\n\ndef sample({tail}".replace("CLASS_NUMBER = 0", f"CLASS_NUMBER = {number}")


def make(folder: Path, number: int) -> None:
    """Write rubric, hidden values and grader."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(COURSE / "assessment.yml", folder)
    (folder / "grade.py").write_text(GRADER.lstrip(), encoding="utf-8")
    program = completed(ANSWERS, number)
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, timeout=300)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make what an assessment is judged by.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=0, help=f"the class's, 0 to {NUMBERS - 1}")
    told = parser.parse_args()
    if not 0 <= told.number < NUMBERS:
        parser.error(f"--number is 0 to {NUMBERS - 1}")
    make(told.folder, told.number)
    for name in sorted(os.listdir(told.folder)):  # noqa: PTH208  # names are what is told
        print(told.folder / name)  # noqa: T201


if __name__ == "__main__":
    main()
