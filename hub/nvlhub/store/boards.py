"""Rows as the board of a run needs them: messages, results, and what is removed when the days are over."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.seating import EMPTY
from nvlhub.store.work import Work, as_dict

_seats, _runs, _attempts = t.seats.c, t.runs.c, t.attempts.c
DAY = 86_400
_FREED_OF_NAMES = {"name": "", "name_latin": ""}


class Boards(Work):
    """What an instructor sees of a run, and leaves of it."""

    def seat(self, run: int, number: int) -> dict[str, Any]:
        """Return a seat. Raises `NotFoundError`."""
        query = sa.select(t.seats).where(_seats.run == run, _seats.number == number)
        return self._found(query, False, "seat-number-unknown", seat=number)

    def alone_with_seats(self, run: int) -> None:
        """Keep others from giving or taking seats of a run until the unit ends."""
        self._alone(f"seats:{run}")

    def vacate(self, run: int, number: int) -> None:
        """Have nobody sit on a seat."""
        self.connection.execute(t.seats.update().where(_seats.run == run, _seats.number == number).values(**EMPTY))

    def other_free_seat(self, run: int, number: int) -> int | None:
        """Return the first seat that nobody has and nobody on the roster is to have, but `number`; None: there is none."""
        listed = t.roster.c
        kept = sa.select(listed.seat).where(listed.run == run, listed.seat.is_not(None), ~listed.dropped)
        free = sa.select(sa.func.min(_seats.number)).where(
            _seats.run == run, _seats.user.is_(None), _seats.number != number, _seats.number.not_in(kept)
        )
        found = self.connection.scalar(free)
        return None if found is None else int(found)

    def move_seat(self, run: int, number: int, to: int) -> None:
        """Have the user of a seat sit on another one, which is free, with all that is known of them."""
        kept = {name: value for name, value in self.seat(run, number).items() if name in EMPTY}
        self.vacate(run, number)
        self.connection.execute(t.seats.update().where(_seats.run == run, _seats.number == to).values(**kept))

    def made_member_elsewhere(self, project: str, user: str, run: int) -> bool:
        """Tell whether another run that goes on has a user who is a member of its project for its sake."""
        query = (
            sa.select(_seats.run)
            .join(t.runs, _runs.id == _seats.run)
            .join(t.courses, t.courses.c.slug == _runs.course)
            .where(
                _seats.user == user, _seats.run != run, _seats.made_member, _runs.state == "approved",
                t.courses.c.project == project,
            )
            .limit(1)
        )  # fmt: skip
        return self.connection.execute(query).first() is not None

    def keep_memberships(self, run: int) -> None:
        """Have what a run made members of be nothing to undo any more."""
        made = (_seats.run == run) & _seats.made_member
        self.connection.execute(t.seats.update().where(made).values(made_member=False))

    # --- messages ---------------------------------------------------------------------------------------------

    def add_message(self, run: int, seat: int | None, text: str, *, at: int, by: str) -> None:
        """Tell all seats of a run something, or one."""
        self.connection.execute(t.run_messages.insert().values(run=run, seat=seat, at=at, by=by, text=text))

    def messages(self, run: int, most: int) -> list[dict[str, Any]]:
        """Return what was told in a run, the newest first."""
        query = sa.select(t.run_messages).where(t.run_messages.c.run == run).order_by(t.run_messages.c.id.desc())
        return [as_dict(row) for row in self._all(query.limit(most))]

    # --- results ----------------------------------------------------------------------------------------------

    def judged(self, run: int) -> list[dict[str, Any]]:
        """Return what was handed in in a run, in order, without what is large; `certificate`: that of the attempt."""
        certificates = t.certificates.c
        query = (
            sa.select(
                _attempts.id, _attempts.seat, _attempts.number, _attempts.user, _attempts.state, _attempts.score_milli,
                _attempts.feedback, certificates.id.label("certificate"),
            )
            .outerjoin(
                t.certificates, (certificates.attempt == _attempts.id) & certificates.revoked_at.is_(None)
            )
            .where(_attempts.run == run)
            .order_by(_attempts.user, _attempts.number)
        )  # fmt: skip
        return [as_dict(row) for row in self._all(query)]

    # --- afterwards -------------------------------------------------------------------------------------------

    def runs_left_open(self, now: int) -> list[int]:
        """Return the approved runs of which not even what is handed in late counts any more."""
        longest = sa.select(sa.func.coalesce(sa.func.max(_seats.extra), 0)).where(_seats.run == _runs.id)
        late = _runs.ends + _runs.grace + longest.scalar_subquery()
        query = sa.select(_runs.id).where(_runs.state == "approved", _runs.ends <= now, late <= now)
        return list(self.connection.scalars(query.order_by(_runs.id)))

    def runs_to_redact(self, now: int) -> list[int]:
        """Return the runs that ended so many days ago that names of learners are to be removed."""
        ended = sa.func.coalesce(_runs.closed_at, _runs.ends)
        query = (
            sa.select(_runs.id)
            .join(t.courses, t.courses.c.slug == _runs.course)
            .where(
                _runs.redacted_at.is_(None), _runs.state.in_(("closed", "cancelled", "refused", "draft", "requested")),
                _runs.ends <= now, ended + t.courses.c.keep_days * DAY <= now,
            )
            .order_by(_runs.id)
        )  # fmt: skip
        return list(self.connection.scalars(query))

    def redact_run(self, run: int, at: int) -> list[str]:
        """Remove who learned in a run; return the snapshots that nothing refers to any more.

        What they achieved stays, under the number of the seat that they had.
        """
        users = self.connection.scalars(sa.select(_attempts.user).where(_attempts.run == run).distinct())
        labels = {user: f"~gone-{place}" for place, user in enumerate(sorted(users), start=1)}
        for seat in self._all(sa.select(_seats.user, _seats.number).where(_seats.run == run, _seats.user.is_not(None))):
            labels[seat.user] = f"~{seat.number}"
        for user, label in labels.items():
            self.connection.execute(
                t.attempts.update().where(_attempts.run == run, _attempts.user == user).values(user=label)
            )
            self.connection.execute(t.seats.update().where(_seats.run == run, _seats.user == user).values(user=label))
        self.connection.execute(
            t.seats.update().where(_seats.run == run).values(**_FREED_OF_NAMES, helped_by="", hand_at=None, failed="")
        )
        listed = t.roster.c
        blank = {**_FREED_OF_NAMES, "user": "", "student_no": "", "group": ""}
        self.connection.execute(t.roster.update().where(listed.run == run).values(**blank))
        self.connection.execute(t.run_messages.delete().where(t.run_messages.c.run == run))
        snapshots = self._forget_work(run)
        self.connection.execute(t.runs.update().where(_runs.id == run).values(redacted_at=at))
        return snapshots

    def _forget_work(self, run: int) -> list[str]:
        """Remove what learners wrote and what was printed; return the snapshots that are in use no more."""
        own = self._all(sa.select(_attempts.id, _attempts.snapshot, _attempts.feedback).where(_attempts.run == run))
        for row in own:
            told = [{**item, "text": ""} for item in row.feedback]
            kept = {"feedback": told, "snapshot": "", "log": "", "grader_log": ""}
            self.connection.execute(t.attempts.update().where(_attempts.id == row.id).values(**kept))
        names = {row.snapshot for row in own} - {""}
        still = set(self.connection.scalars(sa.select(_attempts.snapshot).where(_attempts.snapshot.in_(names))))
        return sorted(names - still)
