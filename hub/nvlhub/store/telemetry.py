"""Rows of what GPUs did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from nvlhub.flow.activity import BINS
from nvlhub.flow.lease import Lease
from nvlhub.flow.report import By
from nvlhub.store import tables as t
from nvlhub.store.reporting import FETCHED, FILTERS, Reach, sum_into, within
from nvlhub.store.work import Work, as_dict

SORTS = ("charged", "idle", "busy")
"""By what the leases of a period can be sorted."""

_TOTALS = ("measured", "busy_milli", "idle", "memory_peak", "memory_total", "real", "warned", "at")
_SUMS = ("held", "busy_milli", "measured")


class Telemetry(Work):
    """What GPUs did."""

    # --- writing --------------------------------------------------------------------------------------------------

    def save_use(
        self, totals: Sequence[Mapping[str, Any]], series: Mapping[str, Any], quarters: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save what leases did so far, the thinned samples of some of them, and what is to be added to quarters."""
        if totals:
            made = self._insert(t.lease_usage)
            changed = {name: made.excluded[name] for name in _TOTALS}
            query = made.on_conflict_do_update(index_elements=["lease"], set_=changed)
            self.connection.execute(query, [{"series": [], **row} for row in totals])
        if series:
            query_series = (
                t.lease_usage.update()
                .where(t.lease_usage.c.lease == sa.bindparam("of"))
                .values(series=sa.bindparam("told", type_=t.lease_usage.c.series.type))
            )
            self.connection.execute(query_series, [{"of": lease, "told": told} for lease, told in series.items()])
        if quarters:
            made = self._insert(t.activity)
            added = {name: t.activity.c[name] + made.excluded[name] for name in _SUMS}
            query = made.on_conflict_do_update(index_elements=["at", "user", "project"], set_=added)
            self.connection.execute(query, list(quarters))

    def _insert(self, table: sa.Table) -> Any:
        """Return an INSERT that can go on when the row is there: both databases have it, each under its own name."""
        return (postgresql if self.connection.dialect.name == "postgresql" else sqlite).insert(table)

    def forget_activity(self, before: int) -> int:
        """Delete quarters that began before a time; return how many there were."""
        return self.connection.execute(t.activity.delete().where(t.activity.c.at < before)).rowcount

    # --- of one lease ---------------------------------------------------------------------------------------------

    def use_of(self, lease_id: str) -> dict[str, Any] | None:
        """Return the row of a lease, its samples among it; None: nothing was counted yet."""
        row = self._one(sa.select(t.lease_usage).where(t.lease_usage.c.lease == lease_id))
        return as_dict(row) if row else None

    def uses_of_active(self) -> list[dict[str, Any]]:
        """Return the rows of the leases that hold anything, without their samples."""
        columns = [t.lease_usage.c.lease, *(t.lease_usage.c[name] for name in _TOTALS)]
        query = sa.select(*columns).join(t.leases, t.leases.c.id == t.lease_usage.c.lease).where(t.active)
        return [as_dict(row) for row in self._all(query)]

    def uncounted(self, since: int, most: int) -> list[Lease]:
        """Return leases that ended after `since`, are settled, and are not counted to their end."""
        query = (
            sa.select(t.leases)
            .outerjoin(t.lease_usage, t.lease_usage.c.lease == t.leases.c.id)
            .where(
                t.leases.c.ended_at >= since, t.leases.c.state == "settled", t.leases.c.started_at.is_not(None),
                t.lease_usage.c.at.is_(None) | (t.lease_usage.c.at < t.leases.c.ended_at),
            )
            .order_by(t.leases.c.ended_at)
            .limit(most)
        )  # fmt: skip
        return [t.lease_of(row) for row in self._all(query)]

    def corrections(self, lease_id: str) -> list[dict[str, Any]]:
        """Return extensions, refunds and corrections of a lease in the order of writing, with what they changed."""
        tx = t.transactions.c
        changes = (sum_into(account).label(account) for account in ("held", "charged"))
        query = (
            sa.select(tx.at, tx.entry, tx.actor, tx.reason, *changes)
            .join(t.postings, t.postings.c.transaction_id == tx.id)
            .where(tx.lease == lease_id, tx.entry.in_(("extend", "refund", "correct")))
            .group_by(tx.id)
            .order_by(tx.id)
        )
        return [as_dict(row) for row in self._all(query)]

    def corrected(self, lease_id: str) -> int:
        """Return the sum of later corrections of a lease; negative gave back."""
        return int(self.connection.scalar(sa.select(t.leases.c.corrected).where(t.leases.c.id == lease_id)) or 0)

    # --- of many --------------------------------------------------------------------------------------------------

    def activity(
        self, since: int, until: int, reach: Reach | None, wanted: Mapping[By, str]
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield of each quarter in [since, until): when it began, held, busy (GPU-milliseconds), measured."""
        done = t.activity.c
        where = [done.at >= since, done.at < until]
        filters = {By.PROJECT: done.project, By.USER: done.user, By.PROGRAMME: t.projects.c.programme}
        where += [filters[by] == value for by, value in wanted.items()]
        if reach is not None:
            where.append(
                t.projects.c.programme.in_(reach.programmes)
                | done.project.in_(reach.projects)
                | (done.user == reach.user)
            )
        sums = (sa.func.sum(done[name]) for name in _SUMS)
        query = (
            sa.select(done.at, *sums)
            .join(t.projects, t.projects.c.slug == done.project)
            .where(*where)
            .group_by(done.at)
            .order_by(done.at)
        )
        for row in self.connection.execute(query):
            yield int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def used_leases(
        self, since: int, until: int, now: int, reach: Reach | None, wanted: Mapping[By, str], *, sort: str, page: int,
        per_page: int,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the leases that ran in [since, until), each as a whole, and how many there are."""
        query = _ran(since, until, now, reach, wanted)
        order = {"charged": query.selected_columns.charged_now, "idle": query.selected_columns.idle}.get(
            sort, query.selected_columns.busy_milli
        )
        return self._page(query, [order.desc(), t.leases.c.number.desc()], page, per_page)

    def all_used_leases(
        self, since: int, until: int, now: int, reach: Reach | None, wanted: Mapping[By, str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the same, all of them, the newest first."""
        query = _ran(since, until, now, reach, wanted).order_by(t.leases.c.number.desc())
        with self.connection.execute(query, execution_options={"yield_per": FETCHED}) as rows:
            for row in rows:
                yield as_dict(row)

    def efficiency(
        self, since: int, until: int, now: int, reach: Reach | None, wanted: Mapping[By, str]
    ) -> Iterable[sa.Row[Any]]:
        """Return sums over the leases that ran in [since, until) by column of the histogram and by whether GPUs were real.

        The column is None for those of which nothing was measured.
        """
        ran = _ran(since, until, now, reach, wanted).subquery().c
        column = sa.case(
            (ran.measured > 0, sa.case((ran.busy_milli >= 1000 * ran.measured, BINS - 1), else_=ran.busy_milli * BINS // (1000 * ran.measured))),
        ).label("bin")  # fmt: skip
        sums = [sa.func.sum(ran[name]).label(name) for name in ("gpu_seconds", "measured", "busy_milli", "idle")]
        query = sa.select(column, ran.real, sa.func.count().label("leases"), *sums).group_by(column, ran.real)
        return self._all(query)

    def saved_by_idle_rule(self, since: int, until: int) -> tuple[int, int]:
        """Return how many leases ended idle in [since, until), and the GPU-seconds paid for that they gave back."""
        leases = t.leases.c
        query = sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(leases.gpus * (leases.seconds - leases.ran)), 0)
        ).where(
            leases.ended_at >= since, leases.ended_at < until, leases.end_reason == "idle", leases.state == "settled"
        )  # fmt: skip
        count, seconds = self.connection.execute(query).one()
        return int(count), int(seconds)


def _ran(since: int, until: int, now: int, reach: Reach | None, wanted: Mapping[By, str]) -> sa.Select[Any]:
    """Return what finds the leases that ran in [since, until), with what they cost and did."""
    leases, did = t.leases.c, t.lease_usage.c
    lasted = sa.func.coalesce(leases.ended_at, now) - leases.started_at
    lasted = sa.case((lasted > leases.seconds, leases.seconds), (lasted < 0, 0), else_=lasted)
    settled = leases.state == "settled"
    ran = sa.case((settled, leases.ran), else_=lasted)
    cost = sa.case(
        (settled, leases.charged - leases.refunded + leases.corrected), (leases.held == 0, 0),
        else_=sa.cast(leases.gpus, sa.BigInteger) * lasted * leases.factor_milli,
    )  # fmt: skip
    counted = [sa.func.coalesce(did[name], 0).label(name) for name in ("measured", "busy_milli", "idle", "memory_peak")]
    query = (
        sa.select(
            leases.id, leases.user, leases.project, leases.profile, leases.gpus, leases.state, leases.started_at,
            leases.ended_at, leases.end_reason, leases.preemptible, did.real, *counted,
            (sa.cast(leases.gpus, sa.BigInteger) * ran).label("gpu_seconds"), cost.label("charged_now"),
        )
        .join(t.projects, t.projects.c.slug == leases.project)
        .outerjoin(t.lease_usage, did.lease == leases.id)
        .where(
            leases.started_at < until, (leases.ended_at >= since) | t.active,
            *(FILTERS[by] == value for by, value in wanted.items()),
        )
    )  # fmt: skip
    return within(query, reach)
