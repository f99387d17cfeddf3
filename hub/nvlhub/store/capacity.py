"""Pools, and what is out of service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import ConflictError, NotFoundError
from nvlhub.flow.request import Pool
from nvlhub.store import tables as t
from nvlhub.store.work import Work

_POOL = sa.select(t.pools).where(t.pools.c.name == sa.bindparam("name"))


class Capacity(Work):
    """What can be started where."""

    def set_pool(self, pool: Pool) -> None:
        """Add a pool, or bring it up to date."""
        values = {
            "gpu_model": pool.gpu_model, "factor_milli": pool.factor_milli, "domain_gpus": pool.domain_gpus,
            "gpus": pool.gpus,
        }  # fmt: skip
        changed = self.connection.execute(t.pools.update().where(t.pools.c.name == pool.name).values(**values))
        if not changed.rowcount:
            self.connection.execute(t.pools.insert().values(name=pool.name, **values))

    def add_pool(self, pool: Pool) -> None:
        """Add a pool. Raises `ConflictError` if there is one of that name."""
        self._alone(f"pool:{pool.name}")
        if self._one(sa.select(t.pools.c.name).where(t.pools.c.name == pool.name)):
            raise ConflictError("pool-exists", pool=pool.name)
        self.set_pool(pool)

    def pool(self, name: str) -> Pool:
        """Return a pool. Raises `NotFoundError`."""
        row = self._one(_POOL, name=name)
        if row is None:
            raise NotFoundError("pool-unknown", pool=name)
        return t.pool_of(row)

    def pools(self) -> list[Pool]:
        """Return all pools, by name."""
        return [t.pool_of(row) for row in self._all(sa.select(t.pools).order_by(t.pools.c.name))]

    def capacity_at(self, pool: str, kind: str, at: int) -> int | None:
        """Return how many GPUs were announced, installed or in service at a time; None: nobody said."""
        query = (
            sa.select(t.capacities.c.gpus)
            .where(t.capacities.c.pool == pool, t.capacities.c.kind == kind, t.capacities.c.at <= at)
            .order_by(t.capacities.c.at.desc(), t.capacities.c.id.desc())
            .limit(1)
        )
        return self.connection.scalar(query)

    def add_capacity(self, pool: str, kind: str, gpus: int, at: int, source: str, actor: str) -> None:
        """Write down how many GPUs are announced, installed or in service from a time on."""
        self.connection.execute(
            t.capacities.insert().values(pool=pool, kind=kind, gpus=gpus, at=at, source=source, actor=actor)
        )

    def capacities(self, pool: str, page: int = 1, per_page: int = 50) -> tuple[list[dict[str, Any]], int]:
        """Return a page of what was said of a pool's capacity, the newest first."""
        query = sa.select(t.capacities).where(t.capacities.c.pool == pool)
        return self._page(query, [t.capacities.c.at.desc(), t.capacities.c.id.desc()], page, per_page)

    def set_service(self, pool: str, domain: str, trays: Sequence[int], *, in_service: bool) -> None:
        """Take trays out of service (they keep what runs on them) or back in."""
        marks = (t.out_of_service.c.pool == pool) & (t.out_of_service.c.domain == domain)
        self.connection.execute(t.out_of_service.delete().where(marks & t.out_of_service.c.tray.in_(trays)))
        if not in_service and trays:
            rows = [{"pool": pool, "domain": domain, "tray": tray} for tray in trays]
            self.connection.execute(t.out_of_service.insert(), rows)

    def out_of_service(self, pool: str) -> set[tuple[str, int]]:
        """Return the trays out of service, as (domain, tray)."""
        query = sa.select(t.out_of_service.c.domain, t.out_of_service.c.tray).where(t.out_of_service.c.pool == pool)
        return {(row.domain, row.tray) for row in self._all(query)}
