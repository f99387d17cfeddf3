"""Use cases of courses. Who may is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nvlhub.errors import BadInputError, ConflictError, NotAllowedError
from nvlhub.flow import rubric
from nvlhub.flow.request import Audience, Profile
from nvlhub.forms import CoursePatch, CourseView, NewCourse
from nvlhub.registry.office import check_match, etag
from nvlhub.registry.teaching import Teacher, Teaching
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

EDITED = (
    "title", "title_zh", "summary", "repository", "commit", "opens", "profile", "assessment", "keep_days", "instructors",
    "retired_at",
)  # fmt: skip
"""What people edit of a course; the entity tag covers these."""
LEADS_ONLY = frozenset({"instructors", "retired"})
"""What only those change who answer for the project: it says who may spend for it."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a visitor may do with a course that they see."""

    teaches: bool
    """Change what is taught, plan runs."""
    leads: bool
    """Say who teaches it, and whether it goes on."""


class Courses(Teaching):
    """What is taught."""

    def courses(self, visitor: Visitor, page: int, per_page: int) -> tuple[list[CourseView], int]:
        """Return a page of the courses that the visitor teaches, or whose programme they decide for."""
        with self._store.reading() as unit:
            teacher = self._teacher(unit, visitor)
            rows, total = unit.courses(teacher.named, teacher.projects, teacher.standing.officer_of, page, per_page)
            return _views(unit, rows), total

    def concern(self, visitor: Visitor) -> bool:
        """Tell whether the visitor teaches or decides about any, or may make one: only then pages lead there."""
        with self._store.reading() as unit:
            teacher = self._teacher(unit, visitor)
            if teacher.standing.admin or teacher.standing.led:
                return True
            return unit.has_courses(teacher.named, teacher.projects, teacher.standing.officer_of)

    def course(self, visitor: Visitor, slug: str) -> tuple[CourseView, str]:
        """Return a course and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            row = self._course(unit, visitor, slug)
            return _views(unit, [row])[0], _tag(row)

    def rights(self, visitor: Visitor, slug: str) -> Rights:
        """Tell what the visitor may do with a course. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            row = self._course(unit, visitor, slug)
            return _rights(self._teacher(unit, visitor), row)

    def add(self, visitor: Visitor, new: NewCourse, key: str = "") -> CourseView:
        """Make a course: for those who answer for its project, and administrators.

        Raises `BadInputError` for material or a profile that cannot be, `ConflictError` for a name that is taken.
        """
        now = self._clock.now()
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            project = unit.project(new.project)
            who.need_sight(project)
            if not (who.admin or new.project in who.led):
                raise NotAllowedError("not-allowed")

            def do() -> int:
                facts = new.model_dump(exclude={"instructors"})
                self._check(unit, facts, project["programme"])
                if not unit.add_course(new.instructors, **facts, made_by=visitor.name, made_at=now):
                    raise ConflictError("course-exists", course=new.slug)
                self._noted(unit, visitor, "course-add", None, unit.course(new.slug))
                return 0

            self._once(unit, visitor, key, new, do)
            return _views(unit, [unit.course(new.slug)])[0]

    def change(self, visitor: Visitor, slug: str, patch: CoursePatch, match: str) -> tuple[CourseView, str]:
        """Change a course: for those who teach it; who teaches it, and whether it goes on, for its project's leads."""
        with self._store.writing() as unit:
            before = self._course(unit, visitor, slug, lock=True)
            rights = _rights(self._teacher(unit, visitor), before)
            changes = patch.model_dump(exclude_unset=True)
            if not rights.teaches or (LEADS_ONLY & changes.keys() and not rights.leads):
                raise NotAllowedError("not-allowed")
            check_match(_edited(before), match)
            if "retired" in changes:
                retired = changes.pop("retired")
                changes["retired_at"] = (before["retired_at"] or self._clock.now()) if retired else None
            if "instructors" in changes:
                unit.set_instructors(slug, changes.pop("instructors"))
            if changes:
                self._check(unit, {**before, **changes}, before["programme"], known=before["profile"])
                unit.change_course(slug, **changes)
            after = unit.course(slug)
            self._noted(unit, visitor, "course-change", before, after)
            return _views(unit, [after])[0], _tag(after)

    def _check(self, unit: Unit, facts: dict[str, Any], programme: str, known: str = "") -> None:
        """Check material and profile; one that the course has already, `known`, may have gone meanwhile."""
        if facts["repository"] and not facts["commit"]:
            raise BadInputError("course-commit", field="commit")
        if facts["commit"] and not facts["repository"]:
            raise BadInputError("course-repository", field="repository")
        if facts["assessment"]:
            rubric.read(facts["assessment"])
        if facts["profile"] != known:
            need_profile(unit, facts["profile"], facts["project"], programme, self._desk.pool)

    def _noted(
        self, unit: Unit, visitor: Visitor, action: str, before: dict[str, Any] | None, after: dict[str, Any]
    ) -> None:
        unit.note(
            action, f"course:{after['slug']}", at=self._clock.now(), actor=visitor.name, programme=after["programme"],
            project=after["project"], before=_told(before) if before else None, after=_told(after),
        )  # fmt: skip


def _rights(teacher: Teacher, row: dict[str, Any]) -> Rights:
    standing = teacher.standing
    return Rights(teaches=teacher.teaches(row), leads=standing.admin or row["project"] in standing.led)


def need_profile(unit: Unit, name: str, project: str, programme: str, pool: str) -> Profile:
    """Return the published profile of a name, as a project may start it in a pool.

    Raises `NotFoundError` where there is none, `BadInputError` where the project may not start it.
    """
    profile = unit.profile(name)
    audience: Audience = profile.audience
    if profile.pool != pool or not audience.has(project, programme):
        raise BadInputError("course-profile", field="profile", profile=profile.display_name, project=project)
    return profile


def _edited(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in EDITED}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail tells of a course: of its assessment, with its hidden data, only which one it is."""
    return _edited(row) | {"assessment": rubric.digest(row["assessment"]) if row["assessment"] else ""}


def _tag(row: dict[str, Any]) -> str:
    return etag(_edited(row))


def _views(unit: Unit, rows: Sequence[dict[str, Any]]) -> list[CourseView]:
    """Return courses, each with those of its instructors who were never here: a name may be meant for later, or mistyped."""
    unseen = unit.unseen({name for row in rows for name in row["instructors"]})
    return [CourseView(**row, unseen=[name for name in row["instructors"] if name in unseen]) for row in rows]
