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

# Made once: admission asks them for every lease, and making one takes longer than asking it.
_of_project = t.projects.c.slug == sa.bindparam("of_project")
_LOCKS = (
    locked(
        sa.select(t.programmes.c.slug).where(
            t.programmes.c.slug == sa.select(t.projects.c.programme).where(_of_project).scalar_subquery()
        )
    ),
    locked(sa.select(t.projects.c.slug).where(_of_project)),
    locked(sa.select(t.users.c.name).where(t.users.c.name == sa.bindparam("of_user"))),
)
_own = t.leases.c.project == sa.bindparam("project")
_HELD_IN_PROGRAMME = (
    # The project's by user and award; what the others have is one sum, however many they are.
    sa.select(
        sa.case((_own, t.leases.c.user)).label("own_user"),
        sa.case((_own, t.leases.c.award)).label("own_award"),
        sa.func.sum(t.leases.c.gpus).label("gpus"),
        # What the slot of a run pays for was approved for all of it: no cap but those of its user counts it.
        sa.func.sum(sa.case((t.leases.c.held > 0, t.leases.c.gpus), else_=0)).label("paid"),
    )
    .where(t.active, t.leases.c.programme == sa.bindparam("programme"), ~t.leases.c.preemptible)
    .group_by("own_user", "own_award")
)
_HELD_BY_USER = sa.select(sa.func.sum(t.leases.c.gpus)).where(
    t.active, t.leases.c.user == sa.bindparam("user"), ~t.leases.c.preemptible
)
_BY_KEY = (
    sa.select(t.keys)
    .where(t.keys.c.user == sa.bindparam("user"), t.keys.c.key == sa.bindparam("key"))
    .order_by(t.keys.c.place)
)
_SAVE = t.leases.update().where(t.leases.c.id == sa.bindparam("lease_id"), t.active)
_FREE = t.holdings.delete().where(t.holdings.c.lease == sa.bindparam("lease_id"))


class Leasing(Journal):
    """Who holds what."""

    def lock_project(self, slug: str, user: str = "") -> None:
        """Keep others from admitting for the same programme until this unit ends: caps are read, then relied on.

        With `user`, for the same user in any programme, too.
        """
        if self.connection.dialect.name == "sqlite":
            # Units that write come one after the other there.
            return
        for lock in _LOCKS if user else _LOCKS[:-1]:
            self.connection.execute(lock, {"of_project": slug, "of_user": user})

    def in_use(self, project: str, user: str, programme: str) -> InUse:
        """Return the GPUs held now in a programme, a project, by a user in it and everywhere, and per award.

        What is pre-emptible counts nowhere.
        """
        rows = self._all(_HELD_IN_PROGRAMME, programme=programme, project=project)
        own = [row for row in rows if row.own_award is not None]
        by_award: dict[int, int] = {}
        for row in own:
            by_award[row.own_award] = by_award.get(row.own_award, 0) + int(row.paid)
        everywhere = self.connection.scalar(_HELD_BY_USER, {"user": user})
        return InUse(
            user=sum(int(row.gpus) for row in own if row.own_user == user),
            project=sum(int(row.paid) for row in own),
            programme=sum(int(row.paid) for row in rows),
            awards=by_award,
            everywhere=int(everywhere or 0),
        )

    def by_key(self, user: str, key: str) -> tuple[list[str], str] | None:
        """Return the leases and the hash of the body that were once sent with an idempotency key.

        Whoever sends the same key at the same moment waits until this unit ends.
        """
        self._alone(f"lease-key:{user}:{key}")
        rows = self._all(_BY_KEY, user=user, key=key)
        return ([row.lease for row in rows], rows[0].body_hash) if rows else None

    def hold(self, leases: Sequence[Lease], key: str, body_hash: str, *, at: int, actor: str) -> None:
        """Save new leases with their holds. Raises `ConflictError` when an award no longer has enough."""
        paid = [lease for lease in leases if lease.held]
        for lease in paid:
            self._set_aside(lease.award, lease.held, lease.asked_at + lease.seconds)
        self.connection.execute(t.leases.insert(), [t.row_of(lease) for lease in leases])
        keys = [
            {"user": lease.user, "key": key, "place": place, "body_hash": body_hash, "lease": lease.id, "at": at}
            for place, lease in enumerate(leases)
        ]
        self.connection.execute(t.keys.insert(), keys)
        self._write(*(hold_postings(lease) for lease in paid), at=at, actor=actor)

    def paid_beyond(self, award: int, until: int, now: int) -> int:
        """Return how many leases, and slots of runs, an award pays for beyond `until`.

        Leases that do not run yet are counted from now.
        """
        deadline = sa.func.coalesce(t.leases.c.started_at, now) + t.leases.c.seconds
        paid = sa.select(sa.func.count()).where(t.active, t.leases.c.award == award, ~t.leases.c.preemptible)
        slots = sa.select(sa.func.count()).where(t.runs.c.award == award, t.runs.c.held > 0, t.runs.c.ends > until)
        return sum(int(self.connection.scalar(query) or 0) for query in (paid.where(deadline > until), slots))

    def lease(self, lease_id: str) -> Lease | None:
        """Return a lease, or None."""
        row = self._one(sa.select(t.leases).where(t.leases.c.id == lease_id))
        return t.lease_of(row) if row else None

    def active_leases(self) -> list[Lease]:
        """Return the leases that hold anything, in order of asking."""
        return [t.lease_of(row) for row in self._all(sa.select(t.leases).where(t.active).order_by(t.leases.c.number))]

    def leases(
        self, *, user: str | None = None, project: str | None = None, state: str = "active", parent: str | None = None,
        heads: bool = False, page: int = 1, per_page: int = 50,
    ) -> tuple[list[Lease], int]:  # fmt: skip
        """Return a page of leases, the newest first, and how many there are. `state`: active, ended or all.

        `heads` leaves those that belong to no other lease.
        """
        wanted = ((t.leases.c.user, user), (t.leases.c.project, project), (t.leases.c.parent, "" if heads else parent))
        where = [column == value for column, value in wanted if value is not None]
        if state != "all":
            where.append(t.active if state == "active" else ~t.active)
        query = (
            sa.select(t.leases).where(*where).order_by(t.leases.c.number.desc())
            .limit(per_page).offset((page - 1) * per_page)
        )  # fmt: skip
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(t.leases).where(*where))
        return [t.lease_of(row) for row in self._all(query)], int(total or 0)

    def save(self, leases: Sequence[Lease]) -> None:
        """Save where active leases stand. Raises `ConflictError` when one was settled before; then nothing is saved."""
        rows = [{"lease_id": lease.id, **t.changing_of(lease)} for lease in leases]
        if self.connection.execute(_SAVE, rows).rowcount != len(leases):
            raise ConflictError("lease-over", lease=leases[0].id)

    def place(self, leases: Sequence[Lease]) -> None:
        """Save leases that were just placed; the GPUs of their placements become their own.

        Raises `ConflictError` when one was settled before, `sqlalchemy.exc.IntegrityError` when a GPU is another
        lease's.
        """
        self.save(leases)
        self._hold_gpus(leases)

    def place_anew(self, leases: Sequence[Lease]) -> None:
        """Have leases hold other GPUs than before: those of their placements now, which may be none. Raises as :meth:`place` does."""
        self.connection.execute(_FREE, [{"lease_id": lease.id} for lease in leases])
        self._hold_gpus(leases)

    def _hold_gpus(self, leases: Sequence[Lease]) -> None:
        rows = [
            {"pool": lease.pool, "domain": share.domain, "tray": share.tray, "gpu": gpu, "lease": lease.id}
            for lease in leases
            for share in lease.placement
            for gpu in share.gpus
        ]
        if rows:
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

    def settle(self, leases: Sequence[Lease], written: Sequence[Transaction], *, at: int, actor: str) -> None:
        """Save the ends of leases: their charges, what is given back, and their GPUs free again.

        Raises `ConflictError` when one was settled before; then nothing is changed.
        """
        # In one order, so that two units that change several awards never wait for each other.
        leases = sorted(leases, key=lambda lease: lease.award)
        rows = [{"lease_id": lease.id, "mailbox": None, **t.changing_of(lease)} for lease in leases]
        if self.connection.execute(_SAVE, rows).rowcount != len(leases):
            raise ConflictError("lease-over", lease=leases[0].id)
        self._charge([(lease.award, lease.held, lease.charged - lease.refunded) for lease in leases])
        self.connection.execute(_FREE, [{"lease_id": lease.id} for lease in leases])
        self._write(*written, at=at, actor=actor)

    def extend(self, lease: Lease, written: Transaction, units: int, *, at: int, actor: str) -> None:
        """Save a lease that got more time, and set `units` more aside. Raises `ConflictError` when there is not enough."""
        self.save([lease])
        if units:
            self._set_aside(lease.award, units, lease.deadline or 0)
            self._write(written, at=at, actor=actor)
