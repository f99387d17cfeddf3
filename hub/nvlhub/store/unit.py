"""One unit of work: everything that is read and written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import ConflictError, NotFoundError
from nvlhub.flow.lease import Lease
from nvlhub.flow.quota import Award, InUse
from nvlhub.flow.request import Pool, Profile, Project
from nvlhub.flow.settlement import Posting, Transaction, award_postings, hold_postings
from nvlhub.store import tables as t
from nvlhub.wire import AwardView


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project and the role of the member that asked."""

    slug: str
    name: str
    programme: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One transaction of the journal."""

    id: int
    key: str
    entry: str
    at: int
    actor: str
    award: int
    lease: str
    corrects: str
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one user of a project used on one day (UTC)."""

    day: str
    user: str
    leases: int
    gpu_seconds: int
    charged: int


class Unit:
    """Reads and writes of one transaction. Made by :class:`nvlhub.store.Store` alone."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        return self.connection.execute(query).all()

    def _one(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        return self.connection.execute(query).one_or_none()

    # --- directory --------------------------------------------------------------------------------------------

    def add_programme(self, slug: str, name: str, cap: int | None = None) -> None:
        """Add a programme. Raises `ConflictError` if there is one of that name."""
        if self._one(sa.select(t.programmes).where(t.programmes.c.slug == slug)):
            raise ConflictError("programme-exists", programme=slug)
        self.connection.execute(t.programmes.insert().values(slug=slug, name=name, cap=cap))

    def programmes(self) -> list[dict[str, Any]]:
        """Return the programmes, by name."""
        return [dict(row._mapping) for row in self._all(sa.select(t.programmes).order_by(t.programmes.c.slug))]  # noqa: SLF001  # SQLAlchemy's public name

    def add_project(
        self, slug: str, name: str, programme: str, *, institution: str = "", cap: int | None = None
    ) -> None:
        """Add a project. Raises `ConflictError` if there is one of that name, `NotFoundError` for the programme."""
        if self._one(sa.select(t.projects).where(t.projects.c.slug == slug)):
            raise ConflictError("project-exists", project=slug)
        if not self._one(sa.select(t.programmes).where(t.programmes.c.slug == programme)):
            raise NotFoundError("programme-unknown", programme=programme)
        self.connection.execute(
            t.projects.insert().values(slug=slug, name=name, programme=programme, institution=institution, cap=cap)
        )

    def set_member(self, project: str, user: str, role: str, cap: int | None = None) -> None:
        """Make `user` a member of a project, or change the role or cap of one. Raises `NotFoundError`."""
        if not self._one(sa.select(t.projects).where(t.projects.c.slug == project)):
            raise NotFoundError("project-unknown", project=project)
        member = (t.members.c.project == project) & (t.members.c.user == user)
        changed = self.connection.execute(t.members.update().where(member).values(role=role, cap=cap))
        if not changed.rowcount:
            self.connection.execute(t.members.insert().values(project=project, user=user, role=role, cap=cap))

    def projects_of(self, user: str) -> list[ProjectRow]:
        """Return the projects that `user` is a member of, by name."""
        query = (
            sa.select(t.projects.c.slug, t.projects.c.name, t.projects.c.programme, t.members.c.role)
            .join(t.members, t.members.c.project == t.projects.c.slug)
            .where(t.members.c.user == user)
            .order_by(t.projects.c.slug)
        )
        return [ProjectRow(**row._mapping) for row in self._all(query)]  # noqa: SLF001  # SQLAlchemy's public name

    def all_projects(self) -> list[ProjectRow]:
        """Return all projects, by name."""
        query = sa.select(t.projects.c.slug, t.projects.c.name, t.projects.c.programme).order_by(t.projects.c.slug)
        return [ProjectRow(**row._mapping) for row in self._all(query)]  # noqa: SLF001  # SQLAlchemy's public name

    def project_for(self, slug: str, user: str) -> Project:
        """Return a project with the caps that bind `user` in it.

        Raises `NotFoundError` when there is none or the user is no member: from outside the two look the same.
        """
        query = (
            sa.select(
                t.projects.c.slug, t.projects.c.name, t.projects.c.programme, t.projects.c.cap,
                t.programmes.c.cap.label("programme_cap"), t.members.c.cap.label("member_cap"),
            )
            .join(t.programmes, t.programmes.c.slug == t.projects.c.programme)
            .join(t.members, (t.members.c.project == t.projects.c.slug) & (t.members.c.user == user))
            .where(t.projects.c.slug == slug)
        )  # fmt: skip
        row = self._one(query)
        if row is None:
            raise NotFoundError("project-unknown", project=slug)
        return Project(row.slug, row.name, row.programme, row.cap, row.programme_cap, row.member_cap)

    def set_pool(self, pool: Pool) -> None:
        """Add a pool, or bring it up to date."""
        values = {
            "gpu_model": pool.gpu_model, "factor_milli": pool.factor_milli, "domain_gpus": pool.domain_gpus,
            "gpus": pool.gpus,
        }  # fmt: skip
        changed = self.connection.execute(t.pools.update().where(t.pools.c.name == pool.name).values(**values))
        if not changed.rowcount:
            self.connection.execute(t.pools.insert().values(name=pool.name, **values))

    def pool(self, name: str) -> Pool:
        """Return a pool. Raises `NotFoundError`."""
        row = self._one(sa.select(t.pools).where(t.pools.c.name == name))
        if row is None:
            raise NotFoundError("pool-unknown", pool=name)
        return t.pool_of(row)

    def pools(self) -> list[Pool]:
        """Return all pools, by name."""
        return [t.pool_of(row) for row in self._all(sa.select(t.pools).order_by(t.pools.c.name))]

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

    # --- profiles ---------------------------------------------------------------------------------------------

    def add_profile(self, profile: Profile) -> int:
        """Add the next version of a profile as a draft; return its number. Versions never change."""
        last = self.connection.scalar(
            sa.select(sa.func.max(t.profiles.c.version)).where(t.profiles.c.name == profile.name)
        )
        version = (last or 0) + 1
        self.connection.execute(
            t.profiles.insert().values(
                name=profile.name, version=version, display_name=profile.display_name, pool=profile.pool,
                gpus=profile.gpus, span=profile.span.value, longest=profile.longest, idle=profile.idle,
            )
        )  # fmt: skip
        return version

    def publish(self, name: str, version: int) -> None:
        """Make one version the published one. Raises `NotFoundError`."""
        named = t.profiles.c.name == name
        self.connection.execute(t.profiles.update().where(named).values(published=False))
        changed = self.connection.execute(
            t.profiles.update().where(named & (t.profiles.c.version == version)).values(published=True)
        )
        if not changed.rowcount:
            raise NotFoundError("profile-unknown", profile=f"{name} version {version}")

    def profile(self, name: str) -> Profile:
        """Return the published version of a profile. Raises `NotFoundError`."""
        row = self._one(sa.select(t.profiles).where((t.profiles.c.name == name) & t.profiles.c.published))
        if row is None:
            raise NotFoundError("profile-unknown", profile=name)
        return t.profile_of(row)

    def published_profiles(self) -> list[Profile]:
        """Return the published profiles, the smallest first."""
        query = sa.select(t.profiles).where(t.profiles.c.published).order_by(t.profiles.c.gpus, t.profiles.c.name)
        return [t.profile_of(row) for row in self._all(query)]

    def profile_versions(self) -> list[tuple[Profile, bool]]:
        """Return every version of every profile, and whether it is the published one."""
        query = sa.select(t.profiles).order_by(t.profiles.c.name, t.profiles.c.version)
        return [(t.profile_of(row), row.published) for row in self._all(query)]

    # --- awards -----------------------------------------------------------------------------------------------

    def add_award(
        self, project: str, pool: str, awarded: int, starts: int, ends: int, *, cap: int | None, at: int, actor: str
    ) -> int:  # fmt: skip
        """Award milli-GPU-seconds to a project in a pool; return the award's number."""
        row = self._one(sa.select(t.projects.c.programme).where(t.projects.c.slug == project))
        if row is None:
            raise NotFoundError("project-unknown", project=project)
        self.pool(pool)
        number = self.connection.scalar(
            t.awards.insert()
            .values(project=project, pool=pool, awarded=awarded, starts=starts, ends=ends, cap=cap)
            .returning(t.awards.c.id)
        )
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        self._write(award_postings(number, row.programme, awarded), at=at, actor=actor)
        return int(number)

    def awards(self, project: str, pool: str) -> list[Award]:
        """Return the awards of a project in a pool, the oldest first."""
        query = (
            sa.select(t.awards).where(t.awards.c.project == project, t.awards.c.pool == pool).order_by(t.awards.c.id)
        )
        return [t.award_of(row) for row in self._all(query)]

    def award_views(self, projects: Sequence[str] | None) -> list[AwardView]:
        """Return the awards of some projects, or of all."""
        query = sa.select(t.awards).order_by(t.awards.c.project, t.awards.c.id)
        if projects is not None:
            query = query.where(t.awards.c.project.in_(projects))
        return [
            AwardView(
                id=str(row.id), project=row.project, pool=row.pool, awarded=row.awarded, charged=row.charged,
                held=row.held, left=row.awarded - row.charged - row.held, starts=row.starts, ends=row.ends,
                cap=row.cap,
            )
            for row in self._all(query)
        ]  # fmt: skip

    # --- admission --------------------------------------------------------------------------------------------

    def lock_project(self, slug: str) -> None:
        """Keep others from admitting for the same programme until this unit ends: caps are read, then relied on."""
        programme = sa.select(t.projects.c.programme).where(t.projects.c.slug == slug).scalar_subquery()
        # Always from the root to the leaf, so that two of them never wait for each other.
        self.connection.execute(
            sa.select(t.programmes.c.slug).where(t.programmes.c.slug == programme).with_for_update()
        )
        self.connection.execute(sa.select(t.projects.c.slug).where(t.projects.c.slug == slug).with_for_update())

    def in_use(self, project: str, user: str, programme: str) -> InUse:
        """Return the GPUs held now in a programme, a project, by a user in it, and per award."""
        query = (
            sa.select(t.leases.c.project, t.leases.c.user, t.leases.c.award, sa.func.sum(t.leases.c.gpus).label("gpus"))
            .where(t.active, t.leases.c.programme == programme)
            .group_by(t.leases.c.project, t.leases.c.user, t.leases.c.award)
        )
        rows = self._all(query)
        own = [row for row in rows if row.project == project]
        by_award: dict[int, int] = {}
        for row in own:
            by_award[row.award] = by_award.get(row.award, 0) + int(row.gpus)
        return InUse(
            user=sum(int(row.gpus) for row in own if row.user == user),
            project=sum(int(row.gpus) for row in own),
            programme=sum(int(row.gpus) for row in rows),
            awards=by_award,
        )

    def by_key(self, user: str, key: str) -> tuple[list[str], str] | None:
        """Return the leases and the hash of the body that were once sent with an idempotency key."""
        query = sa.select(t.keys).where(t.keys.c.user == user, t.keys.c.key == key).order_by(t.keys.c.place)
        rows = self._all(query)
        return ([row.lease for row in rows], rows[0].body_hash) if rows else None

    def hold(self, leases: Sequence[Lease], key: str, body_hash: str, *, at: int, actor: str) -> None:
        """Save new leases with their holds. Raises `ConflictError` when an award no longer has enough."""
        for place, lease in enumerate(leases):
            self._set_aside(lease.award, lease.held)
            self.connection.execute(t.leases.insert().values(**t.row_of(lease)))
            self.connection.execute(
                t.keys.insert().values(
                    user=lease.user, key=key, place=place, body_hash=body_hash, lease=lease.id, at=at
                )
            )
            self._write(hold_postings(lease), at=at, actor=actor)

    def _set_aside(self, award: int, units: int) -> None:
        """Guard: one conditional UPDATE decides, whoever else is at it."""
        changed = self.connection.execute(
            t.awards.update()
            .where(t.awards.c.id == award, t.awards.c.charged + t.awards.c.held + units <= t.awards.c.awarded)
            .values(held=t.awards.c.held + units)
        )
        if changed.rowcount != 1:
            raise ConflictError("balance-changed", award=award)

    # --- leases -----------------------------------------------------------------------------------------------

    def lease(self, lease_id: str) -> Lease | None:
        """Return a lease, or None."""
        row = self._one(sa.select(t.leases).where(t.leases.c.id == lease_id))
        return t.lease_of(row) if row else None

    def active_leases(self) -> list[Lease]:
        """Return the leases that hold anything, in order of asking."""
        return [t.lease_of(row) for row in self._all(sa.select(t.leases).where(t.active).order_by(t.leases.c.number))]

    def leases(
        self, *, user: str | None = None, state: str = "active", parent: str | None = None, page: int = 1,
        per_page: int = 50,
    ) -> tuple[list[Lease], int]:  # fmt: skip
        """Return a page of leases, the newest first, and how many there are. `state`: active, ended or all."""
        where = [] if user is None else [t.leases.c.user == user]
        if parent is not None:
            where.append(t.leases.c.parent == parent)
        if state != "all":
            where.append(t.active if state == "active" else ~t.active)
        query = (
            sa.select(t.leases).where(*where).order_by(t.leases.c.number.desc())
            .limit(per_page).offset((page - 1) * per_page)
        )  # fmt: skip
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(t.leases).where(*where))
        return [t.lease_of(row) for row in self._all(query)], int(total or 0)

    def save(self, lease: Lease) -> None:
        """Save where an active lease stands; the GPUs of its placement become its own.

        Raises `sqlalchemy.exc.IntegrityError` when one of them is another lease's.
        """
        before = self.connection.scalar(sa.select(t.leases.c.placement).where(t.leases.c.id == lease.id))
        self.connection.execute(t.leases.update().where(t.leases.c.id == lease.id).values(**t.changing_of(lease)))
        if lease.placement and not before:
            rows = [
                {"pool": lease.pool, "domain": share.domain, "tray": share.tray, "gpu": gpu, "lease": lease.id}
                for share in lease.placement
                for gpu in share.gpus
            ]
            self.connection.execute(t.holdings.insert(), rows)

    def beat_many(self, beats: Sequence[tuple[str, int, int]]) -> None:
        """Save signs of life: (lease, time, seconds idle)."""
        if beats:
            self.connection.execute(
                t.leases.update()
                .where(t.leases.c.id == sa.bindparam("lease_id"), t.active)
                .values(beat_at=sa.bindparam("at"), idle_seconds=sa.bindparam("idle_for")),
                [{"lease_id": lease, "at": at, "idle_for": idle} for lease, at, idle in beats],
            )

    def settle(self, lease: Lease, written: Sequence[Transaction], *, at: int, actor: str) -> None:
        """Save the end of a lease: its charge, what is given back, and its GPUs free again.

        Raises `ConflictError` when it was settled before; then nothing is changed.
        """
        changed = self.connection.execute(
            t.leases.update().where(t.leases.c.id == lease.id, t.active).values(**t.changing_of(lease))
        )
        if changed.rowcount != 1:
            raise ConflictError("lease-over", lease=lease.id)
        self.connection.execute(
            t.awards.update()
            .where(t.awards.c.id == lease.award)
            .values(
                held=t.awards.c.held - lease.held,
                charged=t.awards.c.charged + (lease.charged - lease.refunded),
            )
        )
        self.connection.execute(t.holdings.delete().where(t.holdings.c.lease == lease.id))
        for transaction in written:
            self._write(transaction, at=at, actor=actor)

    def extend(self, lease: Lease, written: Transaction, units: int, *, at: int, actor: str) -> None:
        """Save a lease that got more time, and set `units` more aside. Raises `ConflictError` when there is not enough."""
        self._set_aside(lease.award, units)
        self.save(lease)
        self._write(written, at=at, actor=actor)

    # --- ledger -----------------------------------------------------------------------------------------------

    def _write(self, written: Transaction, *, at: int, actor: str) -> None:
        number = self.connection.scalar(
            t.transactions.insert()
            .values(
                key=written.key, entry=written.entry.value, at=at, actor=actor, award=written.award,
                lease=written.lease, corrects=written.corrects,
            )
            .returning(t.transactions.c.id)
        )  # fmt: skip
        rows = [
            {"transaction_id": number, "account": posting.account, "amount": posting.amount}
            for posting in written.postings
        ]
        self.connection.execute(t.postings.insert(), rows)

    def journal(
        self, *, lease: str | None = None, projects: Sequence[str] | None = None, page: int = 1, per_page: int = 50
    ) -> tuple[list[JournalRow], int]:
        """Return a page of the journal in the order of writing, and how many transactions there are."""
        where = []
        if lease is not None:
            where.append(t.transactions.c.lease == lease)
        if projects is not None:
            own = sa.select(t.awards.c.id).where(t.awards.c.project.in_(projects))
            where.append(t.transactions.c.award.in_(own))
        query = (
            sa.select(t.transactions).where(*where).order_by(t.transactions.c.id)
            .limit(per_page).offset((page - 1) * per_page)
        )  # fmt: skip
        rows = self._all(query)
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(t.transactions).where(*where))
        found: dict[int, list[Posting]] = {row.id: [] for row in rows}
        posted = sa.select(t.postings).where(t.postings.c.transaction_id.in_(found)).order_by(t.postings.c.amount)
        for posting in self._all(posted):
            found[posting.transaction_id].append(Posting(posting.account, posting.amount))
        return [
            JournalRow(
                row.id, row.key, row.entry, row.at, row.actor, row.award, row.lease, row.corrects,
                tuple(found[row.id]),
            )
            for row in rows
        ], int(total or 0)  # fmt: skip

    def usage(self, project: str, since: int, until: int) -> list[UsageRow]:
        """Return what ended in a project in [since, until), by day (UTC) and user."""
        day = t.leases.c.ended_at - t.leases.c.ended_at % 86400
        query = (
            sa.select(
                day.label("day"), t.leases.c.user, sa.func.count().label("leases"),
                sa.func.sum((t.leases.c.charged - t.leases.c.refunded) / t.leases.c.factor_milli).label("gpu_seconds"),
                sa.func.sum(t.leases.c.charged - t.leases.c.refunded).label("charged"),
            )
            .where(t.leases.c.project == project, t.leases.c.ended_at >= since, t.leases.c.ended_at < until)
            .group_by(day, t.leases.c.user)
            .order_by(day, t.leases.c.user)
        )  # fmt: skip
        return [
            UsageRow(
                datetime.fromtimestamp(row.day, UTC).date().isoformat(), row.user, row.leases,
                int(row.gpu_seconds), int(row.charged),
            )
            for row in self._all(query)
        ]  # fmt: skip

    def latest_time(self) -> int:
        """Return the latest time on record, for a clock that must not go back."""
        at = self.connection.scalar(sa.select(t.transactions.c.at).order_by(t.transactions.c.id.desc()).limit(1))
        beat = self.connection.scalar(sa.select(sa.func.max(t.leases.c.beat_at)).where(t.active))
        return max(int(at or 0), int(beat or 0))
