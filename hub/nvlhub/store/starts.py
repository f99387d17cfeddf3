"""How starts went: how long they took, and why leases ended."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work


class Starts(Work):
    """What became of leases lately."""

    def start_seconds(self, since: int) -> Counter[int]:
        """Return how many leases that started since then took how many seconds from room to running."""
        leases, found = t.leases.c, Counter[int]()
        took = leases.started_at - leases.placed_at
        # Two queries, because each has an index of its own: what started since then ended since then, or is active.
        for when in (leases.ended_at >= since, t.active & leases.ended_at.is_(None)):
            query = sa.select(took.label("took"), sa.func.count().label("leases")).where(
                when, leases.started_at >= since, leases.placed_at.is_not(None)
            )
            for row in self._all(query.group_by(took)):
                found[max(0, int(row.took))] += int(row.leases)
        return found

    def ends(self, since: int) -> dict[str, int]:
        """Return how many leases ended since then, by reason."""
        query = sa.select(t.leases.c.end_reason, sa.func.count().label("leases")).where(t.leases.c.ended_at >= since)
        return {row.end_reason: int(row.leases) for row in self._all(query.group_by(t.leases.c.end_reason))}

    def differences_open(self) -> int:
        """Return how many differences from the engine's records wait for a person."""
        query = sa.select(sa.func.count()).where(t.differences.c.state == "open")
        return int(self.connection.scalar(query) or 0)
