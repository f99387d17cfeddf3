"""Use cases of pools and domains. Who may is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from typing import Literal

from nvlhub.errors import NotFoundError
from nvlhub.flow.placement import Domain, Tray
from nvlhub.flow.request import Pool
from nvlhub.forms import (
    OUTSIDE,
    CapacityView,
    DomainView,
    NewCapacity,
    NewPool,
    PoolView,
    Service,
    ServiceView,
    TrayView,
)
from nvlhub.registry.office import Office
from nvlhub.store import Unit
from nvlhub.visitor import Visitor


class Capacity(Office):
    """What there is to be leased."""

    def pools(self) -> list[PoolView]:
        """Return the pools; announced, installed and in service are three numbers."""
        with self._store.reading() as unit:
            return [self._pool(unit, pool) for pool in unit.pools()]

    def _pool(self, unit: Unit, pool: Pool) -> PoolView:
        board, runs_here = self._desk.board, pool.name == self._desk.pool
        now = self._clock.now()
        return PoolView(
            **asdict(pool), announced=unit.capacity_at(pool.name, "announced", now),
            installed=unit.capacity_at(pool.name, "installed", now), simulated=runs_here and self._desk.engine.simulated,
            in_service=sum(domain.free_gpus for domain in board.capacity) if runs_here else 0,
            free=sum(domain.free_gpus for domain in board.domains) if runs_here else 0,
            outside=sum(map(len, board.outside.values())) if runs_here else 0,
        )  # fmt: skip

    def add_pool(self, visitor: Visitor, new: NewPool) -> PoolView:
        """Add a pool that no engine runs here, so that budgets and capacity can be planned."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            pool = Pool(new.name, new.gpu_model, new.factor_milli, new.domain_gpus, gpus=0)
            unit.add_pool(pool)
            unit.note("pool-add", f"pool:{new.name}", at=self._clock.now(), actor=visitor.name, after=new.model_dump())
            return self._pool(unit, pool)

    def capacities(self, pool: str, page: int, per_page: int) -> tuple[list[CapacityView], int]:
        """Return a page of what was said of a pool's capacity, the newest first. Raises `NotFoundError`."""
        with self._store.reading() as unit:
            unit.pool(pool)
            rows, total = unit.capacities(pool, page, per_page)
        return [CapacityView(**row) for row in rows], total

    def add_capacity(self, visitor: Visitor, pool: str, new: NewCapacity) -> CapacityView:
        """Say how many GPUs are announced or installed from a time on, and who says so."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            unit.pool(pool)
            unit.add_capacity(pool, new.kind, new.gpus, new.at, new.source, visitor.name)
            unit.note("capacity-add", f"pool:{pool}", at=self._clock.now(), actor=visitor.name, after=new.model_dump())
        return CapacityView(**new.model_dump(), actor=visitor.name)

    def domains(self, visitor: Visitor, name: str = "") -> list[DomainView]:
        """Return every domain, or that of a name, with its trays.

        Who holds a GPU is told to administrators and to the holder.
        """
        board = self._desk.board
        holder = {(*place, gpu): OUTSIDE for place, gpus in board.outside.items() for gpu in gpus}
        for lease in board.leases.values():
            shown = lease.id if visitor.admin or lease.user == visitor.name else "*"
            holder |= {(share.domain, share.tray, gpu): shown for share in lease.placement for gpu in share.gpus}
        with self._store.reading() as unit:
            drained = unit.out_of_service(self._desk.pool)
        return [self._domain(domain, holder, drained) for domain in board.capacity if not name or domain.name == name]

    def _domain(
        self, domain: Domain, holder: Mapping[tuple[str, int, int], str], drained: AbstractSet[tuple[str, int]]
    ) -> DomainView:
        def out_by(tray: Tray) -> Literal["", "portal", "engine"]:
            return "" if tray.in_service else "portal" if (domain.name, tray.index) in drained else "engine"

        trays = [
            TrayView(
                index=tray.index,
                in_service=tray.in_service,
                out_by=out_by(tray),
                reason=tray.reason if out_by(tray) == "engine" else "",
                gpus=[holder.get((domain.name, tray.index, gpu), "") for gpu in range(tray.size)],
            )
            for tray in domain.trays
        ]
        return DomainView(
            name=domain.name, pool=self._desk.pool, gpus=domain.size,
            free=sum(1 for tray in trays if tray.in_service for held in tray.gpus if not held),
            leased=sum(1 for tray in trays for held in tray.gpus if held and held != OUTSIDE),
            outside=sum(1 for tray in trays for held in tray.gpus if held == OUTSIDE),
            in_service=any(tray.in_service for tray in domain.trays), trays=trays,
        )  # fmt: skip

    def set_service(self, visitor: Visitor, pool: str, name: str, change: Service) -> ServiceView:
        """Take a domain or a tray out of service, or back in; what runs there goes on."""
        self._need_admin(visitor)
        domain = next((found for found in self._desk.board.capacity if found.name == name), None)
        trays = [tray.index for tray in domain.trays] if domain else []
        if domain is None or pool != self._desk.pool or (change.tray is not None and change.tray not in trays):
            raise NotFoundError("domain-unknown", domain=f"{pool}/{name}" + (f"/{change.tray}" if change.tray else ""))
        wanted = trays if change.tray is None else [change.tray]
        with self._store.writing() as unit:
            unit.set_service(pool, name, wanted, in_service=change.in_service)
            unit.note(
                "domain-service", f"domain:{pool}/{name}", at=self._clock.now(), actor=visitor.name,
                after={"trays": wanted, "in_service": change.in_service},
            )  # fmt: skip
        self._desk.capacity_changed()
        return ServiceView(pool=pool, domain=name, trays=wanted, in_service=change.in_service)
