"""Commands on assessment."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from nvlhub.cli.base import SLOW, Json, call, change, fail, fields, group, items, path_of, show, tell
from nvlhub.errors import BadInputError
from nvlhub.exchange import rubric_file
from nvlhub.explain import sentence
from nvlhub.flow import rubric as rubrics

assessment = group("assessment", "What learners hand in, and what it is worth.")

RubricFile = Annotated[
    Path, typer.Argument(help="YAML or JSON, with hidden data and graders as names of files beside it.")
]
COLUMNS = ("id", "run", "seat", "user", "number", "state", "score_milli", "at", "certificate")


@assessment.command("set")
def assessment_set(course: str, file: RubricFile, as_json: Json = False) -> None:
    """Give a course that you teach its rubric, with all that belongs to it."""
    rubric = packed(file)
    _read(rubric)
    change(path_of("courses", course), {"assessment": rubric})
    tell({"course": course, "grader": rubrics.digest(rubric)}, as_json=as_json)


@assessment.command("check")
def assessment_check(file: RubricFile, as_json: Json = False) -> None:
    """Look through a rubric without sending it."""
    rubric = packed(file)
    read = _read(rubric)
    tell({"items": len(read.items), "run": " ".join(read.command), "grader": rubrics.digest(rubric)}, as_json=as_json)


@assessment.command("try")
def assessment_try(
    course: str, folder: Annotated[Path, typer.Argument(help="Where the files are that would be handed in.")],
    as_json: Json = False,
) -> None:  # fmt: skip
    """Have files judged as if they were handed in; the status is 1 when they do not pass."""
    rubric = _read(call("GET", path_of("courses", course))["assessment"])
    paths = {path.relative_to(folder).as_posix(): path for glob in rubric.files for path in folder.glob(glob)}
    files = {name: _base64(path) for name, path in sorted(paths.items()) if path.is_file()}
    if not files:
        fail(f"{folder} holds none of the files that are handed in: {', '.join(rubric.files)}.")
    told = call("POST", path_of("courses", course, "assessment", "try"), json={"files": files}, patience=SLOW * 4)
    _show(told, as_json=as_json)
    if told["state"] != "passed":
        raise typer.Exit(1)


@assessment.command("from-notebook")
def assessment_from_notebook(
    notebook: Annotated[Path, typer.Argument(help="A notebook with nbgrader's cells.")],
) -> None:
    """Print the beginning of a rubric: an item for each graded cell, its points as the weight."""
    try:
        told = json.loads(notebook.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{notebook} cannot be read as a notebook: {error}.")
    try:
        rubric = rubrics.from_notebook(told if isinstance(told, dict) else {}, notebook.name)
    except BadInputError as error:
        fail(sentence(error.slug, "en", **error.members))
    typer.echo(yaml.safe_dump({**rubric, "graders": ["grade.py"]}, allow_unicode=True, sort_keys=False), nl=False)


@assessment.command("list")
def assessment_list(
    run: Annotated[int | None, typer.Option(help="That of a run that you teach; left out: what you handed in.")] = None,
    as_json: Json = False,
) -> None:
    """List what was handed in, the newest first."""
    show(items("/attempts" if run is None else f"/runs/{run}/attempts"), fields(*COLUMNS), as_json=as_json)


@assessment.command("show")
def assessment_show(attempt: int, as_json: Json = False) -> None:
    """Show what was handed in: item by item, and what was printed."""
    _show(call("GET", f"/attempts/{attempt}"), as_json=as_json)


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        tell(told, as_json=True)
        return
    tell(
        {name: told[name] for name in ("id", "user", "state", "said", "score_milli", "log", "grader_log")},
        as_json=False,
    )
    show(told["items"], fields("name", "weight", "share_milli", "said", "text"), as_json=False)


def packed(file: Path) -> dict[str, Any]:
    """Return a rubric with the files that it names inside."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read: {error}.")
    try:
        return rubric_file.packed(text, lambda what, name: _content(file.parent / name, what))
    except BadInputError as error:
        fail(sentence(error.slug, "en", **error.members))


def _content(path: Path, what: str) -> str:
    if what == "hidden":
        return _base64(path)
    try:
        text = path.read_text(encoding="utf-8")
        compile(text, path.name, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError) as error:
        fail(f"{path} cannot be read as Python: {error}.")
    return text


def _base64(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}.")


def _read(rubric: dict[str, Any]) -> rubrics.Rubric:
    try:
        return rubrics.read(rubric)
    except BadInputError as error:
        fail(sentence(error.slug, "en", **error.members))
