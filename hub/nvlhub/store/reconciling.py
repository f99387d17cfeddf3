"""Where the engine's records and the ledger differ: what is compared, what was found, how it was closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.flow.metering import UNHEARD
from nvlhub.flow.reconciliation import Charged, Difference
from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict
from nvlhub.wire import EndReason

AT_ONCE = 500
"""Rows that are read, and ids that are looked up, at once."""


class Reconciling(Work):
    """Differences, and the leases that they are looked for in."""

    # --- what is compared -------------------------------------------------------------------------------------

    def first_asked(self, pool: str, since: int) -> int | None:
        """Return when the first of the leases was asked for that :meth:`charged_since` yields; None: there are none."""
        query = sa.select(sa.func.min(t.leases.c.asked_at)).where(*_settled(pool, since))
        first: int | None = self.connection.scalar(query)
        return first

    def charged_since(self, pool: str, since: int) -> Iterator[Charged]:
        """Yield the leases of a pool that ended at or after `since` and are settled, a few in memory at a time."""
        query = sa.select(t.leases.c.id, t.leases.c.gpus, *_CHARGE, *_SILENCE).where(*_settled(pool, since))
        for row in self.connection.execute(query, execution_options={"yield_per": AT_ONCE}):
            yield Charged(row.id, row.gpus, settled=True, gpu_seconds=_gpu_seconds(row), unpaid=_unpaid(row))

    def known(self, lease_ids: Sequence[str], before: int) -> Iterator[Charged]:
        """Yield those of the ids that are leases, not to be compared; settled are those that ended before `before`."""
        columns = (t.leases.c.id, t.leases.c.gpus, t.leases.c.state, t.leases.c.ended_at)
        for start in range(0, len(lease_ids), AT_ONCE):
            query = sa.select(*columns).where(t.leases.c.id.in_(lease_ids[start : start + AT_ONCE]))
            for row in self._all(query):
                settled = row.state == "settled" and row.ended_at < before
                yield Charged(row.id, row.gpus, settled=settled, gpu_seconds=None)

    def handles(self, lease_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return what the engine knows the tasks of leases by, of those of the ids that are leases."""
        columns = (t.leases.c.id, t.leases.c.handle)
        return {
            row.id: row.handle
            for start in range(0, len(lease_ids), AT_ONCE)
            for row in self._all(sa.select(*columns).where(t.leases.c.id.in_(lease_ids[start : start + AT_ONCE])))
        }

    # --- what was found ---------------------------------------------------------------------------------------

    def differences_of(self, pool: str, lease_id: str) -> list[dict[str, Any]]:
        """Return what was ever found of a lease, and keep others from finding or closing anything of it meanwhile."""
        self.connection.execute(
            sa.select(t.pools.c.name).where(t.pools.c.name == pool).with_for_update(key_share=True)
        )  # fmt: skip
        query = sa.select(t.differences).where(t.differences.c.pool == pool, t.differences.c.lease == _id(lease_id))
        return [as_dict(row) for row in self._all(query.with_for_update())]

    def find(self, pool: str, found: Difference, at: int) -> dict[str, Any]:
        """Write down a difference and return it; after :meth:`differences_of`.

        An open one is brought up to date. A closed one stays closed while both sides say what they said then;
        otherwise it is open again, as found now. How it was closed before stands in the audit trail.
        """
        amounts = {"ledger": found.ledger, "engine": found.engine}
        marks = {"pool": pool, "lease": _id(found.lease_id), "kind": found.kind.value}
        same = sa.and_(*(t.differences.c[name] == value for name, value in marks.items()))
        before = self._one(sa.select(t.differences).where(same))
        if before is None:
            self.connection.execute(t.differences.insert().values(**marks, **amounts, found_at=at))
        elif (before.ledger, before.engine) != (found.ledger, found.engine):
            again = {} if before.state == "open" else _REOPENED | {"found_at": at}
            self.connection.execute(t.differences.update().where(same).values(**amounts, **again))
        return self._found(sa.select(t.differences).where(same), False, "difference-unknown", difference=marks["lease"])

    def difference(self, number: int, *, lock: bool = False) -> dict[str, Any]:
        """Return a difference. Raises `NotFoundError`."""
        query = sa.select(t.differences).where(t.differences.c.id == number)
        return self._found(query, lock, "difference-unknown", difference=number)

    def open_differences(self, pool: str) -> frozenset[str]:
        """Return the leases and other ids of which something is open."""
        query = sa.select(t.differences.c.lease).where(t.differences.c.pool == pool, t.differences.c.state == "open")
        return frozenset(self.connection.scalars(query))

    def differences(
        self, pool: str, *, state: str = "all", numbers: Sequence[int] | None = None, page: int = 1, per_page: int = 50
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of differences with project and user of their leases, the newest first, and how many there are.

        `state`: open, closed or all; `numbers`: of these alone.
        """
        lease = t.leases.c.id == t.differences.c.lease
        query = sa.select(t.differences, t.leases.c.project, t.leases.c.user).outerjoin(t.leases, lease)
        query = query.where(t.differences.c.pool == pool)
        if state != "all":
            query = query.where(t.differences.c.state == state)
        if numbers is not None:
            query = query.where(t.differences.c.id.in_(numbers))
        return self._page(query, [t.differences.c.found_at.desc(), t.differences.c.id.desc()], page, per_page)

    def close_difference(self, number: int, *, by: str, at: int, reason: str, correction: str) -> None:
        """Close a difference; `correction` is the key of the compensating transaction, if there is one."""
        closed = {"state": "closed", "closed_by": by, "closed_at": at, "reason": reason, "correction": correction}
        self.connection.execute(t.differences.update().where(t.differences.c.id == number).values(**closed))

    def paid(self, lease_id: str) -> int:
        """Return what a lease pays in the end, in milli-GPU-seconds; nobody corrects it until this unit ends."""
        query = sa.select(*_CHARGE).where(t.leases.c.id == lease_id).with_for_update()
        return _paid(self.connection.execute(query).one())


_CHARGE = tuple(
    t.leases.c[name] for name in ("charged", "refunded", "corrected", "factor_milli", "held", "preemptible")
)
_SILENCE = tuple(t.leases.c[name] for name in ("end_reason", "started_at", "beat_at", "ended_at"))
_REOPENED = {"state": "open", "closed_by": "", "closed_at": None, "reason": "", "correction": ""}


def _id(told: str) -> str:
    """Return an id as it is kept: that of a stranger can be anything."""
    return told[:36]


def _settled(pool: str, since: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (t.leases.c.pool == pool, t.leases.c.state == "settled", t.leases.c.ended_at >= since)


def _paid(row: sa.Row[Any]) -> int:
    return int(row.charged - row.refunded + row.corrected)


def _gpu_seconds(row: sa.Row[Any]) -> int | None:
    """Return what a settled lease was charged in GPU-seconds; None for one that by rule costs nothing, whatever it ran."""
    if row.preemptible or not row.held or row.refunded:
        return None
    return _paid(row) // int(row.factor_milli)


def _unpaid(row: sa.Row[Any]) -> int:
    """Return the seconds of silence before its end that a lost lease does not pay for."""
    if row.end_reason != EndReason.LOST or row.started_at is None:
        return 0
    return max(0, int(row.ended_at - (row.beat_at or row.started_at) - UNHEARD))
