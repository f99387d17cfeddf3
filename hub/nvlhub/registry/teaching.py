"""Who teaches: the checks that every use case of courses makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nvlhub.errors import NotAllowedError, NotFoundError
from nvlhub.flow.course import Times
from nvlhub.registry.office import Office, Standing
from nvlhub.store import Unit
from nvlhub.visitor import Visitor


@dataclass(frozen=True, slots=True)
class Teacher:
    """What a visitor is towards courses."""

    standing: Standing
    named: frozenset[str]
    """Courses that name them as an instructor."""

    def teaches(self, row: dict[str, Any]) -> bool:
        """Tell whether a course, or the run of one, is theirs to teach: they are named, or answer for its project."""
        course = row.get("course") or row["slug"]
        return self.standing.admin or course in self.named or row["project"] in self.standing.led

    @property
    def projects(self) -> list[str] | None:
        """The projects whose courses are all theirs to teach; None: all are."""
        return None if self.standing.admin else sorted(self.standing.led)

    def decides(self, row: dict[str, Any]) -> bool:
        """Tell whether they decide about a run: its programme's officers and administrators."""
        return self.standing.admin or row["programme"] in self.standing.officer_of


class Teaching(Office):
    """What the use cases of courses have in common."""

    def _teacher(self, unit: Unit, visitor: Visitor) -> Teacher:
        return Teacher(self._standing(unit, visitor), unit.taught_by(visitor.name))

    def _course(self, unit: Unit, visitor: Visitor, slug: str, *, lock: bool = False) -> dict[str, Any]:
        """Return a course that the visitor teaches. Raises `NotFoundError`: to others it is not there."""
        row = unit.course(slug, lock=lock)
        self._need_sight(self._teacher(unit, visitor), row, "course-unknown", course=slug)
        return row

    def _run(
        self, unit: Unit, visitor: Visitor, number: int, *, lock: bool = False, to_decide: bool = False
    ) -> dict[str, Any]:  # fmt: skip
        """Return a run that the visitor teaches or decides about.

        Raises `NotFoundError`: to others it is not there; `NotAllowedError` for one who sees it and may not do that.
        """
        row = unit.run(number, lock=lock)
        teacher = self._teacher(unit, visitor)
        self._need_sight(teacher, row, "run-unknown", run=str(number))
        if not (teacher.decides(row) if to_decide else teacher.teaches(row)):
            raise NotAllowedError("not-allowed")
        return row

    def _need_sight(self, teacher: Teacher, row: dict[str, Any], slug: str, **members: str) -> None:
        if not (teacher.teaches(row) or teacher.decides(row)):
            raise NotFoundError(slug, **members)


def times_of(run: dict[str, Any]) -> Times:
    """Return the times of a run's row."""
    return Times(run["starts"], run["ends"], run["warm"], run["flex"], run["grace"], run["no_show"])
