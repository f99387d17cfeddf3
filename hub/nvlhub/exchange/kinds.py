"""What files hold: kinds of rows, their columns, and the shape that each row must have.

The shapes are those of the API (:mod:`nvlhub.forms`), with the names from the path of a route as columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, Field, StringConstraints

from nvlhub.dates import unix_time
from nvlhub.errors import BadInputError
from nvlhub.forms import (
    Audience,
    GpuCap,
    Membership,
    Name,
    NewAward,
    NewBudget,
    NewCapacity,
    NewInstitution,
    NewPool,
    NewProfile,
    NewProgramme,
    NewProject,
    NewUser,
    UserName,
)
from nvlhub.forms.profiles import LARGEST, Note
from nvlhub.wire import MILLI_PER_GPU_HOUR, Slug, Span, Strict

MAX_ROWS = 10_000
"""Rows of one file: an import is one transaction, and others wait for as long as it writes."""

Hours = Annotated[int, Field(strict=True, ge=0, le=10**10)]
"""Whole GPU-hours at charge factor 1.0."""
Rest = Annotated[int, Field(strict=True, ge=0, lt=MILLI_PER_GPU_HOUR)]
"""What there is beyond whole GPU-hours, in milli-GPU-seconds."""


class Form(StrEnum):
    """How a file is written."""

    YAML = "yaml"
    CSV = "csv"


class FileKind(StrEnum):
    """What a row is about, in the order in which rows need each other."""

    INSTITUTIONS = "institutions"
    USERS = "users"
    POOLS = "pools"
    CAPACITIES = "capacities"
    PROGRAMMES = "programmes"
    OFFICERS = "officers"
    BUDGETS = "budgets"
    PROJECTS = "projects"
    MEMBERS = "members"
    PROFILES = "profiles"
    AWARDS = "awards"


class CapacityRow(NewCapacity):
    """How many GPUs of a pool are announced or installed from a time on."""

    pool: Slug


class OfficerRow(Strict):
    """An officer of a programme."""

    programme: Slug
    user: UserName


class BudgetRow(NewBudget):
    """What a programme may award in a pool in all."""

    programme: Slug
    pool: Slug
    milli_gpu_seconds: Rest = 0


class MemberRow(Membership):
    """A member of a project."""

    project: Slug
    user: UserName


def _plainly(text: str) -> str:
    """Return JSON in the one way that an export writes it. Raises `ValueError` for what is no JSON object."""
    try:
        found = json.loads(text) if text else {}
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("a JSON object is wanted")  # noqa: TRY004  # what pydantic takes for a fault of the value
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""


Slugs = Annotated[str, StringConstraints(max_length=8_300), AfterValidator(lambda text: " ".join(text.split()))]
"""Short names with blanks between them."""
JsonText = Annotated[str, StringConstraints(max_length=LARGEST), AfterValidator(_plainly)]


class ProfileRow(Strict):
    """A profile, and whether it is to be published. A row has single values: what is more stands in one as text."""

    name: Slug
    display_name: Name
    pool: Slug
    gpus: GpuCap
    span: Span = Span.DOMAIN
    longest: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)]
    idle: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)] | None = None
    programmes: Slugs = ""
    projects: Slugs = ""
    environment: JsonText = ""
    hints: JsonText = ""
    note: Note = ""
    published: bool

    @classmethod
    def columns_of(cls, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the store as the columns of a file."""
        audience = row["audience"]
        return {
            **row, "programmes": " ".join(audience.get("programmes", ())), "projects": " ".join(audience.get("projects", ())),
            **{name: _plainly(json.dumps(row[name])) for name in ("environment", "hints")},
        }  # fmt: skip

    def form(self) -> NewProfile:
        """Return the form of the API that the row stands for. Raises `pydantic.ValidationError`."""
        told = self.model_dump(exclude={"published", "programmes", "projects", "environment", "hints"})
        return NewProfile(
            **told, audience=Audience(programmes=tuple(self.programmes.split()), projects=tuple(self.projects.split())),
            environment=json.loads(self.environment or "{}"), hints=json.loads(self.hints or "{}"),
        )  # fmt: skip


class AwardRow(NewAward):
    """An award; without an id, a new one."""

    id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,14}$")] | None = None
    gpu_hours: Hours
    milli_gpu_seconds: Rest = 0


class Holds(StrEnum):
    """What stands in a column."""

    TEXT = "text"
    WHOLE = "whole number"
    TIME = "time"
    FLAG = "true or false"


TIMES = frozenset({"at", "starts", "ends"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `default` is what an empty cell means where none is required."""

    name: str
    holds: Holds
    required: bool
    default: Any = None

    def value(self, text: str) -> Any:
        """Return what a cell means. Raises `BadInputError` for text that cannot stand in this column."""
        match self.holds:
            case Holds.TEXT:
                return text
            case Holds.WHOLE:
                # Forty digits are enough to be refused as too large; int() takes no longer than that.
                if len(text) <= 40 and text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
                    return int(text)
                raise BadInputError("import-not-whole", field=self.name)
            case Holds.TIME:
                try:
                    return unix_time(text)
                except ValueError:
                    raise BadInputError("import-not-time", field=self.name) from None
            case Holds.FLAG:
                if text.lower() in {"true", "false"}:
                    return text.lower() == "true"
                raise BadInputError("import-not-flag", field=self.name)


@dataclass(frozen=True)
class Sheet:
    """How a kind stands in a file: the shape of its rows, and the columns that say which row is meant."""

    model: type[Strict]
    key: tuple[str, ...]

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The columns by name: those of the key first."""
        fields = self.model.model_fields
        names = [*self.key, *(name for name in fields if name not in self.key)]
        return {
            name: Column(name, _held(name, fields[name].annotation), fields[name].is_required(), fields[name].default)
            for name in names
        }

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what identifies a row."""
        return tuple(row[name] for name in self.key)


def _held(name: str, annotation: Any) -> Holds:
    types = _types(annotation)
    if name in TIMES:
        return Holds.TIME
    if bool in types:
        return Holds.FLAG
    return Holds.WHOLE if int in types else Holds.TEXT


def _types(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    parts = get_args(annotation)
    return set().union(*map(_types, parts)) if parts else {annotation}


SHEETS: Mapping[FileKind, Sheet] = {
    FileKind.INSTITUTIONS: Sheet(NewInstitution, ("slug",)),
    FileKind.USERS: Sheet(NewUser, ("name",)),
    FileKind.POOLS: Sheet(NewPool, ("name",)),
    FileKind.CAPACITIES: Sheet(CapacityRow, ("pool", "kind", "at")),
    FileKind.PROGRAMMES: Sheet(NewProgramme, ("slug",)),
    FileKind.OFFICERS: Sheet(OfficerRow, ("programme", "user")),
    FileKind.BUDGETS: Sheet(BudgetRow, ("programme", "pool")),
    FileKind.PROJECTS: Sheet(NewProject, ("slug",)),
    FileKind.MEMBERS: Sheet(MemberRow, ("project", "user")),
    FileKind.PROFILES: Sheet(ProfileRow, ("name",)),
    FileKind.AWARDS: Sheet(AwardRow, ("id",)),
}
