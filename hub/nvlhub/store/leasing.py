"""Admission, leases and their GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from nvlhub.errors import ConflictError
from nvlhub.flow.lease import Lease
from nvlhub.flow.quota import InUse
from nvlhub.flow.settlement import Transaction, hold_postings
from nvlhub.store import tables as t
from nvlhub.store.journal import Journal
from nvlhub.store.work import locked


class Leasing(Journal):
    """Who holds what."""

    def lock_project(self, slug: str, user: str = "") -> None:
        """Keep others from admitting for the same programme until this unit ends: caps are read, then relied on.

        With `user`, for the same user in any programme, too.
        """
        programme = sa.select(t.projects.c.programme).where(t.projects.c.slug == slug).scalar_subquery()
        self.connection.execute(locked(sa.select(t.programmes.c.slug).where(t.programmes.c.slug == programme)))
        self.connection.execute(locked(sa.select(t.projects.c.slug).where(t.projects.c.slug == slug)))
        if user:
            self.connection.execute(locked(sa.select(t.users.c.name).where(t.users.c.name == user)))

    def in_use(self, project: str, user: str, programme: str) -> InUse:
        """Return the GPUs held now in a programme, a project, by a user in it and everywhere, and per award.

        What is pre-emptible counts nowhere.
        """
        query = (
            sa.select(t.leases.c.project, t.leases.c.user, t.leases.c.award, sa.func.sum(t.leases.c.gpus).label("gpus"))
            .where(t.active, t.leases.c.programme == programme, ~t.leases.c.preemptible)
            .group_by(t.leases.c.project, t.leases.c.user, t.leases.c.award)
        )
        rows = self._all(query)
        own = [row for row in rows if row.project == project]
        by_award: dict[int, int] = {}
        for row in own:
            by_award[row.award] = by_award.get(row.award, 0) + int(row.gpus)
        everywhere = self.connection.scalar(
            sa.select(sa.func.sum(t.leases.c.gpus)).where(t.active, t.leases.c.user == user, ~t.leases.c.preemptible)
        )
        return InUse(
            user=sum(int(row.gpus) for row in own if row.user == user),
            project=sum(int(row.gpus) for row in own),
            programme=sum(int(row.gpus) for row in rows),
            awards=by_award,
            everywhere=int(everywhere or 0),
        )

    def by_key(self, user: str, key: str) -> tuple[list[str], str] | None:
        """Return the leases and the hash of the body that were once sent with an idempotency key.

        Whoever sends the same key at the same moment waits until this unit ends.
        """
        self._alone(f"lease-key:{user}:{key}")
        query = sa.select(t.keys).where(t.keys.c.user == user, t.keys.c.key == key).order_by(t.keys.c.place)
        rows = self._all(query)
        return ([row.lease for row in rows], rows[0].body_hash) if rows else None

    def hold(self, leases: Sequence[Lease], key: str, body_hash: str, *, at: int, actor: str) -> None:
        """Save new leases with their holds. Raises `ConflictError` when an award no longer has enough."""
        for place, lease in enumerate(leases):
            if lease.held:
                self._set_aside(lease.award, lease.held, lease.asked_at + lease.seconds)
            self.connection.execute(t.leases.insert().values(**t.row_of(lease)))
            self.connection.execute(
                t.keys.insert().values(
                    user=lease.user, key=key, place=place, body_hash=body_hash, lease=lease.id, at=at
                )
            )
            if lease.held:
                self._write(hold_postings(lease), at=at, actor=actor)

    def _set_aside(self, award: int, units: int, until: int) -> None:
        """Guard: one conditional UPDATE decides whether an award has `units` and lasts `until`, whoever else is at it."""
        enough = t.awards.c.charged + t.awards.c.held + units <= t.awards.c.awarded
        changed = self.connection.execute(
            t.awards.update()
            .where(t.awards.c.id == award, enough, t.awards.c.ends >= until)
            .values(held=t.awards.c.held + units)
        )
        if changed.rowcount != 1:
            raise ConflictError("balance-changed", award=award)

    def paid_beyond(self, award: int, until: int, now: int) -> int:
        """Return how many leases an award pays for beyond `until`; those that do not run yet are counted from now."""
        deadline = sa.func.coalesce(t.leases.c.started_at, now) + t.leases.c.seconds
        paid = sa.select(sa.func.count()).where(t.active, t.leases.c.award == award, ~t.leases.c.preemptible)
        return int(self.connection.scalar(paid.where(deadline > until)) or 0)

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

        Raises `ConflictError` when it was settled before, `sqlalchemy.exc.IntegrityError` when a GPU is another
        lease's.
        """
        before = self.connection.scalar(sa.select(t.leases.c.placement).where(t.leases.c.id == lease.id))
        changed = self.connection.execute(
            t.leases.update().where(t.leases.c.id == lease.id, t.active).values(**t.changing_of(lease))
        )
        if changed.rowcount != 1:
            raise ConflictError("lease-over", lease=lease.id)
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
        self.save(lease)
        if units:
            self._set_aside(lease.award, units, lease.deadline or 0)
            self._write(written, at=at, actor=actor)
