"""Routes of pools and domains."""

from __future__ import annotations

from fastapi import APIRouter

from nvlhub.api.doors import Here, Page, PerPage, Who, listed, sliced
from nvlhub.forms import (
    CapacityView,
    DomainView,
    Listed,
    NewCapacity,
    NewPool,
    PoolView,
    Service,
    ServiceView,
)
from nvlhub.wire import DomainName, Slug

router = APIRouter()


@router.get("/pools")
def pools(here: Here, who: Who, page: Page = 1, per_page: PerPage = 50) -> Listed[PoolView]:
    """List the pools."""
    return sliced(here.registry.capacity.pools(), page, per_page)


@router.post("/pools", status_code=201)
def add_pool(here: Here, who: Who, body: NewPool) -> PoolView:
    """Add a pool that no engine runs here yet."""
    return here.registry.capacity.add_pool(who, body)


@router.get("/pools/{pool}/capacities")
def capacities(here: Here, who: Who, pool: Slug, page: Page = 1, per_page: PerPage = 50) -> Listed[CapacityView]:
    """List what was said of a pool's capacity, the newest first."""
    found, total = here.registry.capacity.capacities(pool, page, per_page)
    return listed(found, page, per_page, total)


@router.post("/pools/{pool}/capacities", status_code=201)
def add_capacity(here: Here, who: Who, pool: Slug, body: NewCapacity) -> CapacityView:
    """Say how many GPUs are announced or installed from a time on, and who says so."""
    return here.registry.capacity.add_capacity(who, pool, body)


@router.get("/domains")
def domains(
    here: Here, who: Who, name: DomainName | None = None, page: Page = 1, per_page: PerPage = 200
) -> Listed[DomainView]:
    """List the NVLink domains, or the one of a name, with their trays and GPUs."""
    return sliced(here.registry.capacity.domains(who, name or ""), page, per_page)


@router.put("/domains/{pool}/{name}")
def set_service(here: Here, who: Who, pool: Slug, name: DomainName, body: Service) -> ServiceView:
    """Take a domain or a tray out of service, or back in."""
    return here.registry.capacity.set_service(who, pool, name, body)
