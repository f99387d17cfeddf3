"""Rows of seats as their learners and the loop that warms them need them: with the run that they belong to."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict

_seats, _runs, _courses, _listed = t.seats.c, t.runs.c, t.courses.c, t.roster.c

EMPTY: dict[str, Any] = {
    "user": None, "row": None, "name": "", "name_latin": "", "taken_at": None, "warm_at": None, "ready_at": None,
    "seen_at": None, "failed": "", "tries": 0, "hand_at": None, "helped_by": "", "step": 0, "steps": 0, "check_name": "",
    "check_ok": None, "check_at": None, "extra": 0, "made_member": False,
}  # fmt: skip
"""A seat that nobody has, or had."""


class Seating(Work):
    """Who sits where, and whether their servers run."""

    def _with_runs(self, *more: sa.ColumnElement[Any]) -> sa.Select[Any]:
        """Ask for seats with `run_name`, `state`, times and course of their run; ``seats.name`` is the learner's.

        Not with the rubric of the course: hidden data make it large, and it would be read once for every seat.
        """
        return (
            sa.select(
                t.seats, _runs.name.label("run_name"), _runs.state, _runs.zone, _runs.starts, _runs.ends, _runs.warm, _runs.flex,
                _runs.grace, _runs.no_show, _runs.gpus, _runs.course, _courses.project, _courses.title, _courses.title_zh,
                _courses.repository, _courses.commit, _courses.opens, *more,
            )
            .join(t.runs, _runs.id == _seats.run)
            .join(t.courses, _courses.slug == _runs.course)
        )  # fmt: skip

    def seats_of(self, user: str, now: int) -> list[dict[str, Any]]:
        """Return the seats of a user in runs that are approved and not over, the earliest start first.

        `assessed` tells whether something is handed in there.
        """
        lives = (_runs.state == "approved") & (_runs.ends + _runs.grace + _seats.extra > now)
        query = self._with_runs(_assessed()).where(_seats.user == user, lives).order_by(_runs.starts, _runs.id)
        return [as_dict(row) for row in self._all(query)]

    def seat_held(self, run: int, user: str) -> dict[str, Any] | None:
        """Return the seat that a user has in a run that goes on, or had until its end; None: they have none."""
        held = (_seats.run == run) & (_seats.user == user) & _runs.state.in_(("approved", "closed"))
        row = self._one(self._with_runs(_assessed()).where(held))
        return as_dict(row) if row else None

    def seats_to_tend(self, now: int) -> list[dict[str, Any]]:
        """Return the seats whose servers are to run, and those whose servers were asked for and are not stopped yet."""
        due = (_runs.starts - _runs.warm <= now) | _seats.seen_at.is_not(None)
        lives = (_runs.state == "approved") & due & (_runs.ends + _runs.grace + _seats.extra > now)
        query = self._with_runs().where(_seats.user.is_not(None), lives | _seats.warm_at.is_not(None))
        return [as_dict(row) for row in self._all(query.order_by(_runs.starts, _seats.run, _seats.number))]

    def runs_warming(self, now: int) -> list[int]:
        """Return the runs whose seats are being started, and which have not begun."""
        warming = (_runs.state == "approved") & (_runs.starts - _runs.warm <= now) & (_runs.starts > now)
        return list(self.connection.scalars(sa.select(_runs.id).where(warming)))

    def roster_row(self, run: int, user: str) -> dict[str, Any] | None:
        """Return the row of a user on the roster of a run; None: they are not on it. Upper and lower case are the same."""
        query = sa.select(t.roster).where(
            _listed.run == run, ~_listed.dropped, sa.func.lower(_listed.user) == user.lower()
        )
        row = self.connection.execute(query.order_by(_listed.row).limit(1)).one_or_none()
        return as_dict(row) if row else None

    def roster_unseated(self, run: int) -> list[dict[str, Any]]:
        """Return the rows of a roster whose users the portal knows and who have no seat, with `account`: the user's name."""
        seated = sa.select(_seats.user).where(_seats.run == run, _seats.user.is_not(None))
        query = (
            sa.select(t.roster, t.users.c.name.label("account"))
            .join(t.users, sa.func.lower(t.users.c.name) == sa.func.lower(_listed.user))
            .where(_listed.run == run, ~_listed.dropped, t.users.c.name.not_in(seated))
            .order_by(_listed.seat.is_(None), _listed.row)
        )
        return [as_dict(row) for row in self._all(query)]

    def change_seat_of(self, run: int, number: int, user: str, **values: Any) -> bool:
        """Change what is known of a seat while a user has it; tell whether they still do."""
        whose = (_seats.run == run) & (_seats.number == number) & (_seats.user == user)
        return self.connection.execute(t.seats.update().where(whose).values(**values)).rowcount == 1

    def free_seat(self, run: int, number: int, user: str) -> bool:
        """Free the seat of a user who was never there; tell whether it was theirs, and they were not."""
        whose = (_seats.run == run) & (_seats.number == number) & (_seats.user == user) & _seats.seen_at.is_(None)
        return self.connection.execute(t.seats.update().where(whose).values(**EMPTY)).rowcount == 1

    def told(self, run: int, seat: int, most: int) -> list[dict[str, Any]]:
        """Return what instructors told everybody of a run, or one seat, the newest first."""
        message = t.run_messages.c
        query = sa.select(message.at, message.by, message.text).where(
            message.run == run, message.seat.is_(None) | (message.seat == seat)
        )
        return [as_dict(row) for row in self._all(query.order_by(message.id.desc()).limit(most))]


def _assessed() -> sa.Label[bool]:
    return (sa.cast(_courses.assessment, sa.Text) != "{}").label("assessed")
