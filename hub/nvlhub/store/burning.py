"""What burn-downs read: what was posted to awards by day, and what stands of them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nvlhub.flow.burn import DAY
from nvlhub.flow.statement import Balance
from nvlhub.store import tables as t
from nvlhub.store.reporting import sum_into
from nvlhub.store.work import Work


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which awards: of a programme, of a project, or one; of a pool, or (empty) of all."""

    programme: str = ""
    project: str = ""
    award: int = 0
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Fuel:
    """What the awards that are valid now have left, held included, and what they were charged lately."""

    left: int
    used: int
    starts: int
    """Of the first of them; Unix seconds."""
    ends: int
    """Of the last of them."""


class Burning(Work):
    """How awards are used up."""

    def standing(self, wanted: Wanted) -> Balance:
        """Return what stands of awards now."""
        awards = t.awards.c
        amounts = (awards.awarded - awards.charged - awards.held, awards.held, awards.charged)
        query = self._of_awards(wanted, *(sa.func.coalesce(sa.func.sum(amount), 0) for amount in amounts))
        return Balance(*(int(amount) for amount in self.connection.execute(query).one()))

    def posted_by_day(self, wanted: Wanted, since: int) -> list[tuple[int, Balance]]:
        """Return what was posted to awards on each day (UTC, its first second) from `since` on, at most one line a day."""
        tx = t.transactions.c
        day = (tx.at - tx.at % DAY).label("day")
        changes = (sum_into(account).label(account) for account in ("award", "held", "charged"))
        query = (
            sa.select(day, *changes)
            .join_from(t.transactions, t.postings, t.postings.c.transaction_id == tx.id)
            .where(tx.award.in_(self._of_awards(wanted, t.awards.c.id)), tx.at >= since)
            .group_by(day)
        )
        return [(int(row.day), Balance(int(row.award), int(row.held), int(row.charged))) for row in self._all(query)]

    def fuel(self, wanted: Wanted, now: int, since: int) -> Fuel | None:
        """Return what feeds a forecast: None where no award is valid now. Charges are those of leases and slots ended since then."""
        awards = t.awards.c
        valid = (awards.starts <= now, awards.ends > now, awards.revoked_at.is_(None))
        left, starts, ends = self.connection.execute(
            self._of_awards(
                wanted, sa.func.sum(awards.awarded - awards.charged), sa.func.min(awards.starts), sa.func.max(awards.ends)
            ).where(*valid)
        ).one()  # fmt: skip
        if left is None:
            return None
        leases = t.leases.c
        net = sa.func.coalesce(sa.func.sum(leases.charged - leases.refunded + leases.corrected), 0)
        theirs = self._of_awards(wanted, awards.id).where(*valid)
        used = self.connection.scalar(sa.select(net).where(leases.ended_at >= since, leases.award.in_(theirs)))
        runs = t.runs.c
        slots = self.connection.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(runs.charged), 0)).where(
                runs.settled_at >= since, runs.award.in_(theirs)
            )
        )
        return Fuel(int(left), int(used or 0) + int(slots or 0), int(starts), int(ends))

    def _of_awards(self, wanted: Wanted, *columns: Any) -> sa.Select[Any]:
        query = sa.select(*columns).select_from(t.awards).join(t.projects, t.projects.c.slug == t.awards.c.project)
        asked = (
            (t.projects.c.programme, wanted.programme), (t.awards.c.project, wanted.project), (t.awards.c.id, wanted.award),
            (t.awards.c.pool, wanted.pool),
        )  # fmt: skip
        return query.where(*(column == value for column, value in asked if value))
