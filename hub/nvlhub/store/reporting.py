"""What reports and statements read: row by row, so that memory stays flat however long the past is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nvlhub.flow.report import By, LeaseFact
from nvlhub.flow.statement import Balance, Movement
from nvlhub.store import tables as t
from nvlhub.store.work import Work
from nvlhub.wire import EndReason

FETCHED = 1000
"""Rows taken from the database at a time."""

Words = dict[str, dict[str, list[tuple[int, int]]]]
"""What was said of capacities: kind -> pool -> (from when on, GPUs), in order of time and then of saying."""

FILTERS = {
    By.PROGRAMME: t.leases.c.programme, By.PROJECT: t.leases.c.project, By.USER: t.leases.c.user,
    By.POOL: t.leases.c.pool, By.INSTITUTION: t.projects.c.institution,
}  # fmt: skip
_NAMED = {By.PROGRAMME: t.programmes, By.PROJECT: t.projects, By.INSTITUTION: t.institutions}


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose leases somebody may read: those of programmes, of projects, and their own."""

    programmes: frozenset[str]
    projects: frozenset[str]
    user: str


def within(query: sa.Select[Any], reach: Reach | None) -> sa.Select[Any]:
    """Return a query on leases for what is within reach; None: everything is."""
    if reach is None:
        return query
    leases = t.leases.c
    return query.where(
        leases.programme.in_(reach.programmes) | leases.project.in_(reach.projects) | (leases.user == reach.user)
    )


class Reporting(Work):
    """Leases and the journal as reports read them."""

    def lease_facts(
        self, since: int, until: int, reach: Reach | None, wanted: Mapping[By, str], *, domains: bool
    ) -> Iterator[LeaseFact]:
        """Yield the leases that ran or ended in [since, until), in no order, as far as `reach` goes (None: all).

        `wanted` leaves those of one programme, project, user, pool or institution. An institution is the one that the
        project belongs to now. Only with `domains` they carry their GPUs by domain.
        """
        began = t.leases.c.asked_at < until
        running = t.active & t.leases.c.ended_at.is_(None) & (t.leases.c.started_at < until)
        # Two queries, because each has an index of its own.
        for when in (began & (t.leases.c.ended_at >= since), running):
            query = self._facts(reach, wanted, domains=domains).where(when)
            for row in self._stream(query):
                yield _fact(row, domains=domains)
        yield from self._slot_facts(since, until, reach, wanted)

    def _slot_facts(self, since: int, until: int, reach: Reach | None, wanted: Mapping[By, str]) -> Iterator[LeaseFact]:
        """Yield the slots of runs that were charged as a whole in [since, until)."""
        courses, runs = t.courses.c, t.runs.c
        user, programme, institution = runs.made_by, t.projects.c.programme, t.projects.c.institution
        named = {
            By.PROGRAMME: programme, By.PROJECT: courses.project, By.USER: user, By.POOL: t.reservations.c.pool,
            By.INSTITUTION: institution,
        }  # fmt: skip
        query = (
            sa.select(
                user, courses.project, programme, institution, t.reservations.c.pool, t.reservations.c.gpus, runs.starts,
                runs.settled_at, runs.charged,
            )
            .join(t.courses, courses.slug == runs.course)
            .join(t.projects, t.projects.c.slug == courses.project)
            .join(t.reservations, t.reservations.c.id == runs.reservation)
            .where(runs.settled_at >= since, runs.settled_at < until)
            .where(*(named[name] == value for name, value in wanted.items()))
        )  # fmt: skip
        if reach is not None:
            query = query.where(
                programme.in_(reach.programmes) | courses.project.in_(reach.projects) | (user == reach.user)
            )
        for row in self._stream(query):
            yield LeaseFact(
                user=row.made_by, project=row.project, programme=row.programme, institution=row.institution or "",
                pool=row.pool, gpus=row.gpus, asked_at=row.starts, started_at=None, ended_at=row.settled_at, ran=None,
                charged=row.charged, slot=True,
            )  # fmt: skip

    def _facts(self, reach: Reach | None, wanted: Mapping[By, str], *, domains: bool) -> sa.Select[Any]:
        leases = t.leases.c
        columns = [
            leases.user, leases.project, leases.programme, leases.pool, leases.gpus, leases.asked_at, leases.started_at,
            leases.ended_at, leases.state, leases.ran, leases.end_reason, leases.preemptible, t.projects.c.institution,
            (leases.charged - leases.refunded + leases.corrected).label("net"),
        ]  # fmt: skip
        query = (
            sa.select(*columns, *([leases.placement] if domains else []))
            .join(t.projects, t.projects.c.slug == leases.project)
            .where(*(FILTERS[name] == value for name, value in wanted.items()))
        )
        return within(query, reach)

    def _stream(self, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        with self.connection.execute(query, execution_options={"yield_per": FETCHED}) as rows:
            yield from rows

    def capacity_words(self, until: int, pool: str = "") -> Words:
        """Return what was said of the capacity of all pools, or of one, for times before `until`."""
        words = t.capacities.c
        query = (
            sa.select(words.kind, words.pool, words.at, words.gpus)
            .where(words.at < until, *([words.pool == pool] if pool else []))
            .order_by(words.at, words.id)
        )
        found: Words = {}
        for row in self._stream(query):
            found.setdefault(row.kind, {}).setdefault(row.pool, []).append((row.at, row.gpus))
        return found

    def names(self, by: By, slugs: Iterable[str]) -> dict[str, str]:
        """Return what programmes, projects or institutions are called; of anything else nothing."""
        table, wanted = _NAMED.get(by), frozenset(slugs)
        if table is None or not wanted:
            return {}
        query = sa.select(table.c.slug, table.c.name)
        return {row.slug: row.name for row in self._stream(query) if row.slug in wanted}

    def balance_before(self, award: int, at: int) -> Balance:
        """Return what stood of an award before a time."""
        changes = (sum_into(account) for account in ("award", "held", "charged"))
        query = _posted(award, *changes).where(t.transactions.c.at < at)
        return Balance(*(int(amount) for amount in self.connection.execute(query).one()))

    def movements(self, award: int, since: int, until: int) -> Iterator[Movement]:
        """Yield what was posted to an award in [since, until), in the order of writing."""
        tx = t.transactions.c
        changes = [sum_into(account).label(account) for account in ("award", "held", "charged")]
        query = (
            _posted(award, tx.id, tx.at, tx.entry, tx.key, tx.lease, tx.actor, tx.reason, *changes)
            .where(tx.at >= since, tx.at < until)
            .group_by(tx.id)
            .order_by(tx.id)
        )
        for row in self._stream(query):
            change = Balance(int(row.award), int(row.held), int(row.charged))
            yield Movement(row.at, row.entry, row.key, row.lease, row.actor, row.reason, change)

    def count_movements(self, project: str, since: int, until: int) -> int:
        """Return how many transactions the awards of a project have in [since, until)."""
        awards = sa.select(t.awards.c.id).where(t.awards.c.project == project)
        tx = t.transactions.c
        query = sa.select(sa.func.count()).where(tx.award.in_(awards), tx.at >= since, tx.at < until)
        return int(self.connection.scalar(query) or 0)

    def awards_with_pools(self, project: str, until: int) -> list[tuple[int, str]]:
        """Return the awards of a project that were made before a time, with their pools, the oldest first."""
        made = sa.exists().where(t.transactions.c.award == t.awards.c.id, t.transactions.c.at < until)
        query = sa.select(t.awards.c.id, t.awards.c.pool).where(t.awards.c.project == project, made)
        return [(row.id, row.pool) for row in self._all(query.order_by(t.awards.c.id))]


def _posted(award: int, *columns: Any) -> sa.Select[Any]:
    postings = t.postings.c.transaction_id == t.transactions.c.id
    return sa.select(*columns).join_from(t.transactions, t.postings, postings).where(t.transactions.c.award == award)


def sum_into(account: str) -> sa.ColumnElement[int]:
    """Return the sum of what was posted into the award's account of that kind: a transaction touches no other's."""
    into = sa.case((t.postings.c.account.like(f"{account}:%"), t.postings.c.amount), else_=0)
    return sa.func.coalesce(sa.func.sum(into), 0)


def _fact(row: sa.Row[Any], *, domains: bool) -> LeaseFact:
    placed: dict[str, int] = {}
    for share in row.placement if domains else ():
        placed[share["domain"]] = placed.get(share["domain"], 0) + len(share["gpus"])
    return LeaseFact(
        user=row.user, project=row.project, programme=row.programme, institution=row.institution or "", pool=row.pool,
        gpus=row.gpus, asked_at=row.asked_at, started_at=row.started_at, ended_at=row.ended_at,
        ran=row.ran if row.state == "settled" else None, charged=row.net,
        end_reason=EndReason(row.end_reason) if row.end_reason else None, preemptible=row.preemptible, domains=placed,
    )  # fmt: skip
