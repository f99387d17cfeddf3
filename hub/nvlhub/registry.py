"""Use cases of everything but leases: projects, awards, profiles, domains, the ledger. Who may is checked here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NotAllowedError, NotFoundError
from nvlhub.flow.placement import Domain, fits_ever
from nvlhub.flow.request import Profile, check_gpus
from nvlhub.store import verify
from nvlhub.visitor import Visitor
from nvlhub.wire import (
    MILLI_PER_GPU_HOUR,
    AwardView,
    Membership,
    NewAward,
    NewProfile,
    NewProgramme,
    NewProject,
    Publish,
    Service,
)

DAY = 86_400


class Registry:
    """What visitors can see and administrators can change."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store

    def _admin(self, visitor: Visitor) -> None:
        if not visitor.admin:
            raise NotAllowedError("not-allowed")

    def _own(self, visitor: Visitor) -> list[str] | None:
        """Return the projects that a visitor may see; None means all."""
        if visitor.admin:
            return None
        with self._store.reading() as unit:
            return [project.slug for project in unit.projects_of(visitor.name)]

    # --- projects ---------------------------------------------------------------------------------------------

    def me(self, visitor: Visitor) -> dict[str, Any]:
        """Return who the visitor is."""
        with self._store.reading() as unit:
            projects = unit.projects_of(visitor.name)
        return {
            "user": visitor.name,
            "admin": visitor.admin,
            "projects": [{"slug": row.slug, "name": row.name, "role": row.role} for row in projects],
        }

    def projects(self, visitor: Visitor) -> list[dict[str, Any]]:
        """Return the visitor's projects, or all to an administrator."""
        with self._store.reading() as unit:
            rows = unit.all_projects() if visitor.admin else unit.projects_of(visitor.name)
        return [asdict(row) for row in rows]

    def programmes(self, visitor: Visitor) -> list[dict[str, Any]]:
        """Return the programmes; for administrators."""
        self._admin(visitor)
        with self._store.reading() as unit:
            return unit.programmes()

    def add_programme(self, visitor: Visitor, new: NewProgramme) -> dict[str, Any]:
        """Add a programme."""
        self._admin(visitor)
        with self._store.writing() as unit:
            unit.add_programme(new.slug, new.name, new.cap)
        return new.model_dump()

    def add_project(self, visitor: Visitor, new: NewProject) -> dict[str, Any]:
        """Add a project."""
        self._admin(visitor)
        with self._store.writing() as unit:
            unit.add_project(new.slug, new.name, new.programme, institution=new.institution, cap=new.cap)
        return new.model_dump()

    def set_member(self, visitor: Visitor, project: str, user: str, membership: Membership) -> dict[str, Any]:
        """Make somebody a member of a project, or change what they are."""
        self._admin(visitor)
        with self._store.writing() as unit:
            unit.set_member(project, user, membership.role, membership.cap)
        return {"project": project, "user": user, **membership.model_dump()}

    def usage(self, visitor: Visitor, project: str, days: int) -> list[dict[str, Any]]:
        """Return what ended in a project in the last `days` days, by day and user. Raises `NotFoundError`."""
        own = self._own(visitor)
        now = self._desk.clock.now()
        with self._store.reading() as unit:
            known = {row.slug for row in unit.all_projects()}
            if project not in known or (own is not None and project not in own):
                raise NotFoundError("project-unknown", project=project)
            return [asdict(row) for row in unit.usage(project, now - days * DAY, now + 1)]

    # --- awards -----------------------------------------------------------------------------------------------

    def awards(self, visitor: Visitor, project: str = "") -> list[AwardView]:
        """Return the awards of the visitor's projects."""
        with self._store.reading() as unit:
            found = unit.award_views(self._own(visitor))
        return [award for award in found if project in ("", award.project)]

    def add_award(self, visitor: Visitor, new: NewAward) -> AwardView:
        """Award GPU-hours. Raises `BadInputError` for dates that are the wrong way round."""
        self._admin(visitor)
        if new.starts >= new.ends:
            raise BadInputError("dates-reversed", field="ends")
        with self._store.writing() as unit:
            number = unit.add_award(
                new.project, new.pool, new.gpu_hours * MILLI_PER_GPU_HOUR, new.starts, new.ends, cap=new.cap,
                at=self._desk.clock.now(), actor=visitor.name,
            )  # fmt: skip
            return next(award for award in unit.award_views([new.project]) if award.id == str(number))

    # --- capacity ---------------------------------------------------------------------------------------------

    def pools(self) -> list[dict[str, Any]]:
        """Return the pools; announced, in service and free are counted apart."""
        with self._store.reading() as unit:
            pools = unit.pools()
        board = self._desk.board
        in_service = sum(domain.free_gpus for domain in board.capacity)
        return [
            {
                **asdict(pool),
                "simulated": self._desk.engine.simulated,
                "in_service": in_service,
                "free": sum(domain.free_gpus for domain in board.domains),
            }
            for pool in pools
        ]

    def domains(self, visitor: Visitor) -> list[dict[str, Any]]:
        """Return every domain with its trays; who holds a GPU is told to administrators and to the holder."""
        board = self._desk.board
        holder: dict[tuple[str, int, int], str] = {}
        for lease in board.leases.values():
            shown = lease.id if visitor.admin or lease.user == visitor.name else "*"
            holder |= {(share.domain, share.tray, gpu): shown for share in lease.placement for gpu in share.gpus}
        return [self._domain(domain, holder) for domain in board.capacity]

    def _domain(self, domain: Domain, holder: dict[tuple[str, int, int], str]) -> dict[str, Any]:
        trays: list[dict[str, Any]] = [
            {
                "index": tray.index,
                "in_service": tray.in_service,
                "gpus": [holder.get((domain.name, tray.index, gpu), "") for gpu in range(tray.size)],
            }
            for tray in domain.trays
        ]
        leased = sum(1 for where in holder if where[0] == domain.name)
        free = sum(1 for tray in trays if tray["in_service"] for held in tray["gpus"] if not held)
        return {
            "name": domain.name, "pool": self._desk.pool, "gpus": domain.size, "free": free, "leased": leased,
            "in_service": any(tray.in_service for tray in domain.trays), "trays": trays,
        }  # fmt: skip

    def set_service(self, visitor: Visitor, pool: str, name: str, change: Service) -> dict[str, Any]:
        """Take a domain or a tray out of service, or back in; what runs there goes on."""
        self._admin(visitor)
        domain = next((found for found in self._desk.board.capacity if found.name == name), None)
        trays = [tray.index for tray in domain.trays] if domain else []
        if domain is None or pool != self._desk.pool or (change.tray is not None and change.tray not in trays):
            raise NotFoundError("domain-unknown", domain=f"{pool}/{name}" + (f"/{change.tray}" if change.tray else ""))
        wanted = trays if change.tray is None else [change.tray]
        with self._store.writing() as unit:
            unit.set_service(pool, name, wanted, in_service=change.in_service)
        self._desk.capacity_changed()
        return {"pool": pool, "domain": name, "trays": wanted, "in_service": change.in_service}

    # --- profiles ---------------------------------------------------------------------------------------------

    def profiles(self, visitor: Visitor) -> list[dict[str, Any]]:
        """Return the published profiles; to an administrator every version."""
        with self._store.reading() as unit:
            rows = unit.profile_versions()
        return [{**asdict(profile), "published": done} for profile, done in rows if done or visitor.admin]

    def add_profile(self, visitor: Visitor, new: NewProfile) -> dict[str, Any]:
        """Add the next version of a profile. Raises `BadInputError` for a shape that the pool does not have."""
        self._admin(visitor)
        with self._store.writing() as unit:
            check_gpus(new.gpus, new.span, unit.pool(new.pool))
            profile = Profile(
                new.name, 0, new.display_name, new.pool, new.gpus, new.span, new.longest, new.idle
            )  # fmt: skip
            version = unit.add_profile(profile)
        return {**asdict(profile), "version": version, "published": False}

    def publish(self, visitor: Visitor, name: str, publish: Publish) -> dict[str, Any]:
        """Publish a version. Raises `ConflictError` for one that can never be placed, `NotFoundError` for none."""
        self._admin(visitor)
        with self._store.writing() as unit:
            unit.publish(name, publish.version)
            profile = unit.profile(name)
            if not fits_ever(profile.gpus, profile.span, self._desk.board.capacity):
                raise ConflictError("never-fits", profile=profile.display_name, gpus=profile.gpus)
        return {**asdict(profile), "published": True}

    # --- ledger -----------------------------------------------------------------------------------------------

    def ledger(self, visitor: Visitor, lease: str, page: int, per_page: int) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the journal: all of it to an administrator, that of their projects to others."""
        own = self._own(visitor)
        with self._store.reading() as unit:
            if lease and unit.lease(lease) is None:
                raise NotFoundError("lease-unknown", lease=lease)
            rows, total = unit.journal(lease=lease or None, projects=own, page=page, per_page=per_page)
        return [asdict(row) for row in rows], total

    def verify(self, visitor: Visitor) -> dict[str, Any]:
        """Prove the ledger right, or say what is broken."""
        self._admin(visitor)
        with self._store.reading() as unit:
            broken = verify(unit)
            _, total = unit.journal(per_page=1)
        return {"ok": not broken, "transactions": total, "broken": [asdict(row) for row in broken]}
