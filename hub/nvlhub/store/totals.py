"""Sums over everything, for those who watch the portal: no names of users or projects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.unit import Unit

CAPACITIES = ("announced", "installed", "in_service")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums at one moment; amounts in milli-GPU-seconds."""

    capacity: Mapping[tuple[str, str], int]
    """GPUs by pool and kind of capacity; 0 where nobody said."""
    awarded: int
    charged: int
    held: int
    budgets_left: int
    requests: Mapping[str, int]
    """Requests by state."""
    differences_open: int
    audit_lines: int


def totals(unit: Unit, now: int) -> Totals:
    """Return the sums at the Unix time `now`. What it costs grows with awards and requests, not with leases."""
    awards = t.awards.c
    summed = (sa.func.coalesce(sa.func.sum(column), 0) for column in (awards.awarded, awards.charged, awards.held))
    awarded, charged, held = unit.connection.execute(sa.select(*summed)).one()
    left = sa.select(sa.func.coalesce(sa.func.sum(t.budgets.c.granted - t.budgets.c.awarded), 0))
    by_state = sa.select(t.requests.c.state, sa.func.count()).group_by(t.requests.c.state)
    differing = sa.select(sa.func.count()).where(t.differences.c.state == "open")
    # Lines are numbered from 1 without gaps; counting them would read them all.
    lines = sa.select(sa.func.max(t.audit.c.id))
    return Totals(
        capacity={
            (pool.name, kind): unit.capacity_at(pool.name, kind, now) or 0
            for pool in unit.pools()
            for kind in CAPACITIES
        },
        awarded=int(awarded),
        charged=int(charged),
        held=int(held),
        budgets_left=int(unit.connection.scalar(left) or 0),
        requests={row[0]: row[1] for row in unit.connection.execute(by_state)},
        differences_open=int(unit.connection.scalar(differing) or 0),
        audit_lines=int(unit.connection.scalar(lines) or 0),
    )
