"""Budgets of programmes, awards, requests and reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import ConflictError
from nvlhub.flow.lease import Lease
from nvlhub.flow.quota import Award
from nvlhub.flow.settlement import (
    award_postings,
    budget_postings,
    correct_postings,
    return_postings,
    supplement_postings,
)
from nvlhub.store import tables as t
from nvlhub.store.journal import Journal
from nvlhub.store.work import as_dict, locked
from nvlhub.wire import MILLI_PER_GPU_HOUR

_AWARDS = (
    sa.select(t.awards)
    .where(t.awards.c.project == sa.bindparam("project"), t.awards.c.pool == sa.bindparam("pool"))
    .order_by(t.awards.c.id)
)


SUPPLY = 10**10 * MILLI_PER_GPU_HOUR
"""What all programmes together may have of a pool: far above any machine, far below what 64 bits add up."""


class Awarding(Journal):
    """What was asked for and awarded."""

    # --- budgets ----------------------------------------------------------------------------------------------

    def budgets(self, programme: str, *, lock: bool = False) -> list[dict[str, Any]]:
        """Return what a programme may award, by pool."""
        query = sa.select(t.budgets).where(t.budgets.c.programme == programme).order_by(t.budgets.c.pool)
        return [as_dict(row) for row in self._all(locked(query) if lock else query)]

    def set_budget(self, programme: str, pool: str, granted: int, *, ref: str, at: int, actor: str) -> int:
        """Set what a programme may award in a pool in all; return what it was before.

        Raises `ConflictError` when more than that is awarded already.
        """
        marks = (t.budgets.c.programme == programme) & (t.budgets.c.pool == pool)
        row = self._one(locked(sa.select(t.budgets).where(marks)))
        before, awarded = (row.granted, row.awarded) if row else (0, 0)
        if granted < awarded:
            raise ConflictError("budget-below-awarded", programme=programme, awarded=awarded)
        others = sa.select(sa.func.sum(t.budgets.c.granted)).where(t.budgets.c.pool == pool, ~marks)
        if granted + int(self.connection.scalar(others) or 0) > SUPPLY:
            raise ConflictError("supply-too-large", pool=pool, awarded=SUPPLY)
        if row is None:
            self.connection.execute(t.budgets.insert().values(programme=programme, pool=pool, granted=granted))
        else:
            self.connection.execute(t.budgets.update().where(marks).values(granted=granted))
        if granted != before:
            self._write(budget_postings(programme, pool, granted - before, ref), at=at, actor=actor)
        return int(before)

    def _from_budget(self, programme: str, pool: str, amount: int) -> None:
        """Guard: one conditional UPDATE decides whether a programme still has `amount` to award."""
        marks = (t.budgets.c.programme == programme) & (t.budgets.c.pool == pool)
        changed = self.connection.execute(
            t.budgets.update()
            .where(marks, t.budgets.c.awarded + amount <= t.budgets.c.granted)
            .values(awarded=t.budgets.c.awarded + amount)
        )
        if changed.rowcount != 1:
            row = self._one(sa.select(t.budgets).where(marks))
            left = row.granted - row.awarded if row else 0
            raise ConflictError("budget-too-small", programme=programme, pool=pool, awarded=amount, left=left)

    # --- awards -----------------------------------------------------------------------------------------------

    def add_award(
        self, project: str, pool: str, awarded: int, starts: int, ends: int, *, cap: int | None, at: int, actor: str,
        request: int | None = None,
    ) -> int:  # fmt: skip
        """Award milli-GPU-seconds to a project in a pool; return the award's number.

        Raises `NotFoundError` for project and pool, `ConflictError` when the programme has not that much left.
        """
        programme = self._programme_of(project)
        self._found(sa.select(t.pools.c.name).where(t.pools.c.name == pool), False, "pool-unknown", pool=pool)
        self._from_budget(programme, pool, awarded)
        number = self.connection.scalar(
            t.awards.insert()
            .values(project=project, pool=pool, awarded=awarded, starts=starts, ends=ends, cap=cap, request=request)
            .returning(t.awards.c.id)
        )
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        self._write(award_postings(number, programme, pool, awarded), at=at, actor=actor)
        return int(number)

    def _programme_of(self, project: str) -> str:
        query = sa.select(t.projects.c.programme).where(t.projects.c.slug == project)
        return str(self._found(query, False, "project-unknown", project=project)["programme"])

    def award(self, number: int, *, lock: bool = False) -> dict[str, Any]:
        """Return an award with its programme. Raises `NotFoundError`."""
        query = self._awards().where(t.awards.c.id == number)
        if lock:
            self.connection.execute(locked(sa.select(t.awards.c.id).where(t.awards.c.id == number)))
        return self._found(query, False, "award-unknown", award=number)

    def award_in(self, project: str, number: int) -> dict[str, Any] | None:
        """Return an award of a project, or None."""
        row = self._one(self._awards().where(t.awards.c.id == number, t.awards.c.project == project))
        return as_dict(row) if row else None

    def _awards(self) -> sa.Select[Any]:
        return sa.select(t.awards, t.projects.c.programme).join(t.projects, t.projects.c.slug == t.awards.c.project)

    def supplement(self, award: Mapping[str, Any], amount: int, *, ref: str, at: int, actor: str) -> None:
        """Give an award `amount` more. Raises `ConflictError` when the programme has not that much left."""
        self._from_budget(award["programme"], award["pool"], amount)
        self.connection.execute(
            t.awards.update().where(t.awards.c.id == award["id"]).values(awarded=t.awards.c.awarded + amount)
        )
        written = supplement_postings(award["id"], award["programme"], award["pool"], amount, ref)
        self._write(written, at=at, actor=actor)

    def give_back(self, award: Mapping[str, Any], amount: int, reason: str, *, at: int, actor: str) -> None:
        """Move `amount` of what an award has left back to its programme. Raises `ConflictError` when it has less."""
        changed = self.connection.execute(
            t.awards.update()
            .where(
                t.awards.c.id == award["id"],
                t.awards.c.returned == award["returned"],
                t.awards.c.charged + t.awards.c.held <= t.awards.c.awarded - amount,
            )
            .values(awarded=t.awards.c.awarded - amount, returned=t.awards.c.returned + amount)
        )
        if changed.rowcount != 1:
            raise ConflictError("balance-changed", award=award["id"])
        marks = (t.budgets.c.programme == award["programme"]) & (t.budgets.c.pool == award["pool"])
        self.connection.execute(t.budgets.update().where(marks).values(awarded=t.budgets.c.awarded - amount))
        written = return_postings(award["id"], award["programme"], award["pool"], amount, award["returned"], reason)
        self._write(written, at=at, actor=actor)

    def set_award(self, number: int, **values: Any) -> None:
        """Change dates, cap or revocation of an award; amounts move by postings only."""
        if values:
            self.connection.execute(t.awards.update().where(t.awards.c.id == number).values(**values))

    def over_awards(self, now: int) -> list[dict[str, Any]]:
        """Return the awards that have expired or were revoked and still have something to give back."""
        over = (t.awards.c.ends <= now) | t.awards.c.revoked_at.is_not(None)
        left = t.awards.c.awarded - t.awards.c.charged - t.awards.c.held
        return [as_dict(row) for row in self._all(self._awards().where(over, left > 0).order_by(t.awards.c.id))]

    def awards(self, project: str, pool: str) -> list[Award]:
        """Return the awards of a project in a pool, the oldest first."""
        return [t.award_of(row) for row in self._all(_AWARDS, project=project, pool=pool)]

    def award_rows(
        self, projects: Sequence[str] | None = None, *, officer_of: frozenset[str] = frozenset(), project: str = "",
        programme: str = "", pool: str = "", page: int = 1, per_page: int = 50,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the awards of some projects and programmes (None: of all), by project and age."""
        query = self._awards()
        if projects is not None:
            query = query.where(t.awards.c.project.in_(projects) | t.projects.c.programme.in_(officer_of))
        wanted = ((t.awards.c.project, project), (t.projects.c.programme, programme), (t.awards.c.pool, pool))
        query = query.where(*(column == value for column, value in wanted if value))
        return self._page(query, [t.awards.c.project, t.awards.c.id], page, per_page)

    def used_since(self, awards: Sequence[int], since: int) -> dict[int, int]:
        """Return what leases that ended and slots that were paid for since then were charged, by award."""
        used = sa.func.sum(t.leases.c.charged - t.leases.c.refunded + t.leases.c.corrected)
        query = (
            sa.select(t.leases.c.award, used.label("used"))
            .where(t.leases.c.award.in_(awards), t.leases.c.ended_at >= since)
            .group_by(t.leases.c.award)
        )
        found = {row.award: int(row.used) for row in self._all(query)}
        runs = t.runs.c
        slots = (
            sa.select(runs.award, sa.func.sum(runs.charged).label("used"))
            .where(runs.award.in_(awards), runs.settled_at >= since)
            .group_by(runs.award)
        )
        for row in self._all(slots):
            found[row.award] = found.get(row.award, 0) + int(row.used)
        return found

    def correct(
        self, lease: Lease, amount: int, corrects: str, reason: str, *, ref: str, at: int, actor: str
    ) -> str:  # fmt: skip
        """Charge a settled lease `amount` more, or give it back (negative); return the transaction's key.

        Raises `ConflictError` when the award has not that much left, or more would be given back than was charged.
        """
        self._settled_by(lease, amount)
        self.connection.execute(
            t.leases.update().where(t.leases.c.id == lease.id).values(corrected=t.leases.c.corrected + amount)
        )
        written = correct_postings(lease, amount, corrects, ref, reason)
        self._write(written, at=at, actor=actor)
        return written.key

    def _settled_by(self, lease: Lease, amount: int) -> None:
        query = sa.select(t.leases.c.state, t.leases.c.charged, t.leases.c.refunded, t.leases.c.corrected)
        row = self._one(locked(query.where(t.leases.c.id == lease.id)))
        paid = row.charged - row.refunded + row.corrected if row and row.state == "settled" else 0
        if row is None or row.state != "settled":
            raise ConflictError("correct-unsettled", lease=lease.id)
        if not lease.pays:
            raise ConflictError("correct-free", lease=lease.id)
        if paid + amount < 0:
            raise ConflictError("correct-too-much", lease=lease.id, charged=paid)
        changed = self.connection.execute(
            t.awards.update()
            .where(
                t.awards.c.id == lease.award, t.awards.c.charged + t.awards.c.held + amount <= t.awards.c.awarded
            )
            .values(charged=t.awards.c.charged + amount)
        )  # fmt: skip
        if changed.rowcount != 1:
            raise ConflictError("correct-balance", lease=lease.id, held=amount)

    # --- requests ---------------------------------------------------------------------------------------------

    def add_request(self, **values: Any) -> int:
        """Add a request; return its number."""
        number = self.connection.scalar(t.requests.insert().values(**values).returning(t.requests.c.id))
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        return int(number)

    def request(self, number: int, *, lock: bool = False) -> dict[str, Any]:
        """Return a request with its programme. Raises `NotFoundError`."""
        if lock:
            self.connection.execute(locked(sa.select(t.requests.c.id).where(t.requests.c.id == number)))
        query = self._requests().where(t.requests.c.id == number)
        return self._found(query, False, "request-unknown", request=number)

    def _requests(self) -> sa.Select[Any]:
        projects = t.projects.c.slug == t.requests.c.project
        return sa.select(t.requests, t.projects.c.programme).join(t.projects, projects)

    def set_request(self, number: int, **values: Any) -> None:
        """Change a request."""
        self.connection.execute(t.requests.update().where(t.requests.c.id == number).values(**values))

    def requests(
        self, projects: Sequence[str] | None = None, *, officer_of: frozenset[str] = frozenset(), state: str = "",
        project: str = "", programme: str = "", newest: bool = False, page: int = 1, per_page: int = 50,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the requests of some projects and programmes (None: of all), the oldest or newest first."""
        query = self._requests()
        if projects is not None:
            query = query.where(t.requests.c.project.in_(projects) | t.projects.c.programme.in_(officer_of))
        wanted = ((t.requests.c.state, state), (t.requests.c.project, project), (t.projects.c.programme, programme))
        query = query.where(*(column == value for column, value in wanted if value))
        return self._page(query, [t.requests.c.id.desc() if newest else t.requests.c.id], page, per_page)

    def add_review(self, request: int, reviewer: str, verdict: str, amount: int | None, reason: str, at: int) -> None:
        """Write down what a reviewer said."""
        self.connection.execute(
            t.reviews.insert().values(
                request=request, reviewer=reviewer, verdict=verdict, amount=amount, reason=reason, at=at
            )
        )

    def reviews(self, requests: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """Return what was said of requests, in order."""
        query = sa.select(t.reviews).where(t.reviews.c.request.in_(requests)).order_by(t.reviews.c.id)
        found: dict[int, list[dict[str, Any]]] = {number: [] for number in requests}
        for row in self._all(query):
            found[row.request].append(as_dict(row))
        return found

    # --- once -------------------------------------------------------------------------------------------------

    def done_once(self, user: str, key: str) -> tuple[str, str] | None:
        """Return the body's hash and the result of what was asked for with an idempotency key, or None.

        Whoever sends the same key at the same moment waits until this unit ends.
        """
        self._alone(f"key:{user}:{key}")
        row = self._one(sa.select(t.once).where(t.once.c.user == user, t.once.c.key == key))
        return (row.body_hash, row.result) if row else None

    def do_once(self, user: str, key: str, body_hash: str, result: str, at: int) -> None:
        """Remember what came of an idempotency key."""
        self.connection.execute(t.once.insert().values(user=user, key=key, body_hash=body_hash, result=result, at=at))
