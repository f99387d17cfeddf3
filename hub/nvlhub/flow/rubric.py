"""What is assessed: the files that are handed in, how they are run, what is read of it, and what that is worth.

A rubric is the JSON of ``courses.assessment``; people write it as YAML. Its hidden data and the instructor's own graders
stand in it, too: one digest tells by what an attempt was judged.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StringConstraints, ValidationError, model_validator

from nvlhub.errors import BadInputError
from nvlhub.wire import Strict

MIB = 1024 * 1024
MOST_HANDED_IN = 5 * MIB
"""Bytes of all files of an attempt together."""
MOST_HIDDEN = 640 * 1024
"""Bytes of hidden data and graders together: they travel in the body of one request."""

_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_WILD = r"[A-Za-z0-9_*-][A-Za-z0-9_.*-]*"
FileName = Annotated[str, StringConstraints(max_length=120, pattern=rf"^{_PART}(/{_PART}){{0,5}}$")]
"""A path below where one works: plain letters, and no part of it begins with a dot."""
Glob = Annotated[str, StringConstraints(max_length=120, pattern=rf"^{_WILD}(/{_WILD}){{0,5}}$")]
"""The same, in which ``*`` stands for anything but a slash."""
PlainName = Annotated[str, StringConstraints(max_length=80, pattern=rf"^{_PART}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Title = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f<>&]*$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Output(Strict):
    """A file that is read when the command has ended."""

    name: FileName
    kind: Literal["json", "csv", "npy", "text"]
    largest: Annotated[int, Field(ge=1, le=16 * MIB)] = MIB
    """Bytes."""


class Limits(Strict):
    """What a run of the command may take; durations in seconds."""

    seconds: Annotated[int, Field(ge=1, le=1800)] = 120
    memory_mib: Annotated[int, Field(ge=64, le=65_536)] = 2048
    processes: Annotated[int, Field(ge=4, le=512)] = 64
    disk_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    output_kib: Annotated[int, Field(ge=1, le=256)] = 32
    """What is kept of what it prints."""
    grader_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    grader_memory_mib: Annotated[int, Field(ge=128, le=16_384)] = 1024


class Item(Strict):
    """One thing that is judged."""

    name: PlainName
    title: Title = ""
    title_zh: Title = ""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    check: Literal["number", "match", "time", "grader"]
    output: FileName | None = None
    at: Annotated[str, StringConstraints(max_length=120)] = ""
    """JSON: names and places, joined by dots. CSV: a column (`number` wants one row in it)."""
    min: Finite | None = None
    max: Finite | None = None
    """For `time`: seconds that the run may take, as the runner measures it."""
    hidden: PlainName | None = None
    """What `match` compares with: hidden data of the same kind."""
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """So much of it has to match."""
    grader: PlainName | None = None

    @model_validator(mode="after")
    def _complete(self) -> Item:
        wants = {
            "number": {"output"}, "match": {"output", "hidden"}, "time": {"max"}, "grader": {"grader"},
        }[self.check]  # fmt: skip
        for name in sorted(wants):
            if getattr(self, name) is None:
                raise ValueError(f"a check “{self.check}” needs {name}")
        if self.check == "number" and self.min is None and self.max is None:
            raise ValueError("a check “number” needs min or max")
        return self


class Rubric(Strict):
    """All of it."""

    files: Annotated[list[Glob], Field(min_length=1, max_length=40)]
    largest: Annotated[int, Field(ge=1, le=MOST_HANDED_IN)] = MIB
    """Bytes of one file that is handed in."""
    run: Annotated[list[Word], Field(max_length=20)] = Field(default_factory=list)
    """``[python, FILE, …]`` or ``[notebook, FILE]``; left out: the one program or notebook among `files`."""
    gpu: StrictBool = False
    """Whether it runs on GPUs as many as the seat has, under a lease of its own."""
    outputs: Annotated[list[Output], Field(max_length=40)] = Field(default_factory=list)
    limits: Limits = Field(default_factory=Limits)
    items: Annotated[list[Item], Field(min_length=1, max_length=60)]
    pass_percent: Annotated[int, Field(ge=1, le=100)] = 70
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    hidden: dict[PlainName, str] = Field(default_factory=dict)
    """Hidden data, base64."""
    graders: dict[PlainName, str] = Field(default_factory=dict)
    """The instructor's own Python: a file has ``grade(outputs, hidden)``, which returns 0 … 1."""

    @model_validator(mode="after")
    def _fits_together(self) -> Rubric:
        for fault in (*_command_faults(self.command), *self._names_missing(), *self._hidden_faults()):
            raise ValueError(fault)
        return self

    def _names_missing(self) -> Iterator[str]:
        for what, names in (
            ("items", [one.name for one in self.items]),
            ("outputs", [one.name for one in self.outputs]),
        ):
            if len(set(names)) < len(names):
                yield f"{what} has a name twice"
        outputs = {one.name for one in self.outputs}
        for item in self.items:
            uses = (
                ("outputs", item.output, outputs),
                ("hidden", item.hidden, self.hidden),
                ("graders", item.grader, self.graders),
            )
            for what, name, known in uses:
                if name is not None and name not in known:
                    yield f"item {item.name} uses {name}, which is not among {what}"

    def _hidden_faults(self) -> Iterator[str]:
        if sum(map(len, (*self.hidden.values(), *self.graders.values()))) > MOST_HIDDEN:
            yield f"hidden and graders have more than {MOST_HIDDEN} bytes together, in base64"
        for name, told in self.hidden.items():
            try:
                base64.b64decode(told, validate=True)
            except ValueError:
                yield f"hidden.{name} is not base64"

    @property
    def command(self) -> list[str]:
        """What is run. Empty words where it is not said and cannot be guessed."""
        if self.run:
            return self.run
        programs = [name for name in self.files if "*" not in name and name.endswith((".py", ".ipynb"))]
        if len(programs) != 1:
            return [""]
        return ["notebook" if programs[0].endswith(".ipynb") else "python", programs[0]]

    @property
    def pass_milli(self) -> int:
        """The least score that passes, of 1000."""
        return self.pass_percent * 10

    def wants(self, name: str) -> bool:
        """Tell whether a file is one that is handed in."""
        return any(_like(name, glob) for glob in self.files)

    def score(self, shares: Sequence[int]) -> int:
        """Return the score of the items' shares, all of 1000."""
        whole = sum(item.weight for item in self.items)
        return sum(item.weight * share for item, share in zip(self.items, shares, strict=True)) // whole


def _command_faults(command: list[str]) -> Iterator[str]:
    if command[0] not in {"python", "notebook"} or len(command) < 2 or (command[0] == "notebook" and len(command) != 2):
        yield "run begins with “python” or “notebook”, followed by a file that is handed in"


def _like(name: str, glob: str) -> bool:
    parts, wanted = name.split("/"), glob.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def read(assessment: Mapping[str, Any]) -> Rubric:
    """Read a rubric. Raises `BadInputError` naming the field."""
    try:
        return Rubric.model_validate(dict(assessment))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("assessment", *first["loc"]))
        why = str(first["msg"]).removeprefix("Value error, ")
        raise BadInputError("rubric-invalid", field=field[:120], allowed_text=why[:400]) from None


def digest(assessment: Mapping[str, Any]) -> str:
    """Return what tells one rubric, with its graders and hidden data, from every other (SHA-256)."""
    told = json.dumps(assessment, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def from_notebook(notebook: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the beginning of a rubric for a notebook with nbgrader's metadata; nothing of it is run.

    Each graded cell becomes an item, its points the weight. How it is judged stands in no metadata: the instructor's
    `grade.py` has to say it. Raises `BadInputError` for a notebook without graded cells.
    """
    cells = notebook.get("cells")
    graded = [told for cell in cells if (told := _nbgrader(cell)).get("grade")] if isinstance(cells, list) else []
    items = [
        {"name": _plain(told.get("grade_id"), place), "weight": weight, "check": "grader", "grader": "grade.py"}
        for place, told in enumerate(graded, start=1)
        if (weight := _points(told.get("points"))) > 0
    ]
    if not items:
        raise BadInputError("rubric-ungraded", field=name)
    return {"files": [name], "run": ["notebook", name], "items": items}


def _nbgrader(cell: Any) -> dict[str, Any]:
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    told = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return told if isinstance(told, dict) else {}


def _points(told: Any) -> int:
    known = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told <= 1000
    return max(1, round(told)) if known else 0


def _plain(told: Any, place: int) -> str:
    letters = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in str(told or "")
    )
    return f"{place}-{letters}"[:80].rstrip("-")
