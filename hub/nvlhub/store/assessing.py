"""Rows of what is handed in. One attempt is taken by one conditional UPDATE, however many judge."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict


class Assessing(Work):
    """What learners handed in, in the order in which they did."""

    def add_attempt(self, **values: Any) -> int:
        """Add what is handed in; return its number."""
        number = self.connection.scalar(t.attempts.insert().values(**values).returning(t.attempts.c.id))
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        return int(number)

    def attempts_of(self, run: int, user: str) -> list[dict[str, Any]]:
        """Return what a user handed in in a run, in order."""
        query = sa.select(t.attempts).where(t.attempts.c.run == run, t.attempts.c.user == user)
        return [as_dict(row) for row in self._all(query.order_by(t.attempts.c.number))]

    def attempts(
        self, run: int | None, user: str | None, page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of what was handed in in a run, by a user, the newest first."""
        query = sa.select(t.attempts)
        if run is not None:
            query = query.where(t.attempts.c.run == run)
        if user is not None:
            query = query.where(t.attempts.c.user == user)
        return self._page(query, [t.attempts.c.id.desc()], page, per_page)

    def take_attempt(self) -> dict[str, Any] | None:
        """Begin with the attempt that waits longest; None: none does."""
        attempts = t.attempts.c
        first = sa.select(sa.func.min(attempts.id)).where(attempts.state == "queued").scalar_subquery()
        query = (
            t.attempts.update()
            .where(attempts.id == first, attempts.state == "queued")
            .values(state="running", starts=attempts.starts + 1)
            .returning(t.attempts)
        )
        row = self.connection.execute(query).one_or_none()
        return as_dict(row) if row else None

    def end_attempt(self, number: int, **values: Any) -> bool:
        """Write down what came of an attempt that runs; tell whether it still did."""
        attempts = t.attempts.c
        query = t.attempts.update().where(attempts.id == number, attempts.state == "running").values(**values)
        return self.connection.execute(query).rowcount == 1

    def running_attempts(self) -> list[dict[str, Any]]:
        """Return what is being judged, or was when a portal ended."""
        return [as_dict(row) for row in self._all(sa.select(t.attempts).where(t.attempts.c.state == "running"))]

    def resume_attempts(self, at: int) -> None:
        """Take up what a portal's end cut short: once more, and no third time."""
        running = t.attempts.update().where(t.attempts.c.state == "running")
        self.connection.execute(running.where(t.attempts.c.starts < 2).values(state="queued"))
        self.connection.execute(
            running.values(state="broken", ended_at=at, grader_log="The portal ended twice meanwhile.")
        )
