"""Rows of announcements."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict


class Announcements(Work):
    """What those who run the portal say."""

    def add_announcement(self, **values: Any) -> int:
        """Add an announcement; return its number."""
        made = self.connection.execute(t.announcements.insert().values(**values).returning(t.announcements.c.id))
        return int(made.scalar_one())

    def announcement(self, number: int) -> dict[str, Any]:
        """Return an announcement. Raises `NotFoundError`."""
        query = sa.select(t.announcements).where(t.announcements.c.id == number)
        return self._found(query, False, "announcement-unknown", announcement=str(number))

    def withdraw_announcement(self, number: int, at: int) -> bool:
        """Withdraw an announcement; tell whether it was not withdrawn before."""
        marks = (t.announcements.c.id == number) & t.announcements.c.withdrawn_at.is_(None)
        changed = self.connection.execute(t.announcements.update().where(marks).values(withdrawn_at=at))
        return changed.rowcount == 1

    def standing_announcements(self, now: int) -> list[dict[str, Any]]:
        """Return what is neither withdrawn nor over, the newest first; some of it may begin later."""
        table = t.announcements.c
        query = sa.select(t.announcements).where(
            table.withdrawn_at.is_(None), table.ends.is_(None) | (table.ends > now)
        )  # fmt: skip
        return [as_dict(row) for row in self._all(query.order_by(table.id.desc()))]

    def announcements(self, page: int = 1, per_page: int = 50) -> tuple[list[dict[str, Any]], int]:
        """Return a page of everything that was ever announced, the newest first."""
        return self._page(sa.select(t.announcements), [t.announcements.c.id.desc()], page, per_page)
