"""Rows of courses, runs, seats and rosters. A seat is taken by one conditional UPDATE, whoever else is at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict


class Courses(Work):
    """What is taught, when, and who sits where."""

    # --- courses ----------------------------------------------------------------------------------------------

    def add_course(self, instructors: Iterable[str], **values: Any) -> bool:
        """Add a course; return False when its name is taken."""
        if not self._added(t.courses.insert().values(**values)):
            return False
        self.set_instructors(values["slug"], instructors)
        return True

    def set_instructors(self, course: str, users: Iterable[str]) -> None:
        """Have these users, and no others, teach a course."""
        self.connection.execute(t.instructors.delete().where(t.instructors.c.course == course))
        rows = [{"course": course, "user": user} for user in dict.fromkeys(users)]
        if rows:
            self.connection.execute(t.instructors.insert(), rows)

    def change_course(self, slug: str, **values: Any) -> None:
        """Change what a course is."""
        self.connection.execute(t.courses.update().where(t.courses.c.slug == slug).values(**values))

    def course(self, slug: str, *, lock: bool = False) -> dict[str, Any]:
        """Return a course with its project's programme and its `instructors`. Raises `NotFoundError`."""
        query = self._courses().where(t.courses.c.slug == slug)
        if lock:
            self._alone(f"course:{slug}")
        row = self._found(query, False, "course-unknown", course=slug)
        return row | {"instructors": self.instructors(slug)}

    def _courses(self) -> sa.Select[Any]:
        return sa.select(t.courses, t.projects.c.programme).join(t.projects, t.projects.c.slug == t.courses.c.project)

    def instructors(self, course: str) -> list[str]:
        """Return who is named as an instructor of a course."""
        table = t.instructors.c
        return list(self.connection.scalars(sa.select(table.user).where(table.course == course).order_by(table.user)))

    def taught_by(self, user: str) -> frozenset[str]:
        """Return the courses that name a user as instructor."""
        table = t.instructors.c
        return frozenset(self.connection.scalars(sa.select(table.course).where(table.user == user)))

    def courses(
        self, slugs: frozenset[str] | None, projects: Sequence[str] | None, programmes: Iterable[str], page: int,
        per_page: int,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the courses with these names, of these projects or programmes; None: all."""
        query = self._courses().where(_concerning(slugs, projects, programmes))
        rows, total = self._page(query, [t.courses.c.slug], page, per_page)
        return [row | {"instructors": self.instructors(row["slug"])} for row in rows], total

    def has_courses(
        self, slugs: frozenset[str] | None, projects: Sequence[str] | None, programmes: Iterable[str]
    ) -> bool:
        """Tell whether there is one of these, as in :meth:`courses`, without reading any."""
        there = self._courses().with_only_columns(t.courses.c.slug).where(_concerning(slugs, projects, programmes))
        return self.connection.scalar(there.limit(1)) is not None

    # --- runs -------------------------------------------------------------------------------------------------

    def add_run(self, pseudonyms: Sequence[str], **values: Any) -> int:
        """Add a run with its seats; return its number. Raises `sqlalchemy.exc.IntegrityError` for a code that is taken."""
        number = self.connection.scalar(t.runs.insert().values(**values).returning(t.runs.c.id))
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        self.add_seats(int(number), 1, pseudonyms)
        return int(number)

    def add_seats(self, run: int, first: int, pseudonyms: Sequence[str]) -> None:
        """Add seats to a run, numbered from `first` on."""
        rows = [
            {"run": run, "number": number, "pseudonym": name} for number, name in enumerate(pseudonyms, start=first)
        ]
        self.connection.execute(t.seats.insert(), rows)

    def change_run(self, run: int, **values: Any) -> None:
        """Change what a run is."""
        self.connection.execute(t.runs.update().where(t.runs.c.id == run).values(**values))

    def run(self, number: int, *, lock: bool = False) -> dict[str, Any]:
        """Return a run with what its course, project and programme say of it. Raises `NotFoundError`."""
        if lock:
            self._alone(f"run:{number}")
        return self._found(self._runs().where(t.runs.c.id == number), False, "run-unknown", run=str(number))

    def run_by_code(self, code: str) -> dict[str, Any] | None:
        """Return the run of a join code, as :meth:`run`; None: there is none."""
        row = self._one(self._runs().where(t.runs.c.code == code))
        return as_dict(row) if row else None

    def _runs(self) -> sa.Select[Any]:
        # Without the rubric, which hidden data make large: who needs it asks for the course.
        course, project, programme = t.courses.c, t.projects.c, t.programmes.c
        return (
            sa.select(
                t.runs, course.project, course.title, course.title_zh, course.repository, course.commit, course.opens,
                course.profile, course.keep_days, project.programme, programme.slot_charge,
            )
            .join(t.courses, course.slug == t.runs.c.course)
            .join(t.projects, project.slug == course.project)
            .join(t.programmes, programme.slug == project.programme)
        )  # fmt: skip

    def runs(
        self, slugs: frozenset[str] | None, projects: Sequence[str] | None, programmes: Iterable[str], page: int,
        per_page: int, *, course: str = "", state: str = "",
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of runs, the latest start first; whose, as in :meth:`courses`, of a course, in a state."""
        wanted = ((t.runs.c.course, course), (t.runs.c.state, state))
        query = self._runs().where(*(column == value for column, value in wanted if value))
        query = query.where(_concerning(slugs, projects, programmes))
        return self._page(query, [t.runs.c.starts.desc(), t.runs.c.id.desc()], page, per_page)

    def slots_of(self, runs: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the reservations of runs, by run, without their trays."""
        query = (
            sa.select(t.reservations, t.runs.c.id.label("run"))
            .join(t.runs, t.runs.c.reservation == t.reservations.c.id)
            .where(t.runs.c.id.in_(runs))
        )  # fmt: skip
        return {row.run: as_dict(row) for row in self._all(query)}

    def runs_now(self, now: int) -> list[dict[str, Any]]:
        """Return the approved runs that are not over and whose seats are to be started, or were."""
        runs = t.runs.c
        due = (runs.state == "approved") & (runs.starts - runs.warm <= now)
        return [as_dict(row) for row in self._all(self._runs().where(due).order_by(runs.starts, runs.id))]

    # --- seats ------------------------------------------------------------------------------------------------

    def seats(self, run: int) -> list[dict[str, Any]]:
        """Return the seats of a run in order."""
        query = sa.select(t.seats).where(t.seats.c.run == run).order_by(t.seats.c.number)
        return [as_dict(row) for row in self._all(query)]

    def seat_counts(self, runs: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return how many seats of runs are taken, and how many are ready, by run."""
        seats = t.seats.c
        query = (
            sa.select(seats.run, sa.func.count(seats.user).label("taken"), sa.func.count(seats.ready_at).label("ready"))
            .where(seats.run.in_(runs))
            .group_by(seats.run)
        )
        return {row.run: (row.taken, row.ready) for row in self._all(query)}

    def drop_seats(self, run: int, most: int) -> int:
        """Take the seats above a number out of a run; return how many of them cannot go.

        Those are taken, or kept by the roster; then none is taken out.
        """
        self._alone(f"seats:{run}")
        seats, listed = t.seats.c, t.roster.c
        beyond = (seats.run == run) & (seats.number > most)
        kept = sa.select(listed.seat).where(listed.run == run, listed.seat.is_not(None), ~listed.dropped)
        used = sa.select(sa.func.count()).where(beyond, seats.user.is_not(None) | seats.number.in_(kept))
        count = int(self.connection.scalar(used) or 0)
        if not count:
            self.connection.execute(t.seats.delete().where(beyond))
        return count

    def seat_of(self, run: int, user: str) -> dict[str, Any] | None:
        """Return the seat of a user; None: they have none."""
        row = self._one(sa.select(t.seats).where(t.seats.c.run == run, t.seats.c.user == user))
        return as_dict(row) if row else None

    def take_seat(self, run: int, user: str, at: int, wanted: int | None = None, **values: Any) -> int | None:
        """Give a user a free seat, that with the least number unless one is wanted; return it, or None: none is free.

        Seats that somebody on the roster wishes for are given to others last. Raises
        `sqlalchemy.exc.IntegrityError` for a user who has one already: the database refuses a second.
        """
        seats, listed = t.seats.c, t.roster.c
        self._alone(f"seats:{run}")
        wished = sa.select(listed.seat).where(listed.run == run, listed.seat.is_not(None), ~listed.dropped)
        free = sa.select(seats.number).where(seats.run == run, seats.user.is_(None))
        free = free.order_by(seats.number.in_(wished), seats.number).limit(1)
        if wanted is not None:
            free = free.where(seats.number == wanted)
        number = self.connection.scalar(free)
        if number is None:
            return None
        taken = self.connection.execute(
            t.seats.update()
            .where(seats.run == run, seats.number == number, seats.user.is_(None))
            .values(user=user, taken_at=at, **values)
        )
        return int(number) if taken.rowcount == 1 else None

    def change_seat(self, run: int, number: int, **values: Any) -> None:
        """Change what is known of a seat."""
        self.connection.execute(
            t.seats.update().where(t.seats.c.run == run, t.seats.c.number == number).values(**values)
        )

    # --- roster -----------------------------------------------------------------------------------------------

    def set_roster(self, run: int, rows: Sequence[dict[str, Any]]) -> None:
        """Replace the roster of a run, those included who are on it no more."""
        self.connection.execute(t.roster.delete().where(t.roster.c.run == run))
        if rows:
            self.connection.execute(t.roster.insert(), [{"run": run, **row} for row in rows])

    def roster(self, run: int, *, dropped: bool = False) -> list[dict[str, Any]]:
        """Return the roster of a run in order; `dropped`: with those who are on it no more."""
        query = sa.select(t.roster).where(t.roster.c.run == run).order_by(t.roster.c.row)
        if not dropped:
            query = query.where(~t.roster.c.dropped)
        return [as_dict(row) for row in self._all(query)]


def _concerning(
    slugs: frozenset[str] | None, projects: Sequence[str] | None, programmes: Iterable[str]
) -> sa.ColumnElement[bool]:
    """Ask for the courses with these names, of these projects or programmes; None as `projects`: for all."""
    if projects is None:
        return sa.true()
    course = t.courses.c
    return course.slug.in_(slugs or ()) | course.project.in_(projects) | t.projects.c.programme.in_(list(programmes))
