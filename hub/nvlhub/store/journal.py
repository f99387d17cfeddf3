"""The journal: transactions with their postings, and what was used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from nvlhub.errors import ConflictError
from nvlhub.flow.settlement import Posting, Transaction
from nvlhub.store import tables as t
from nvlhub.store.work import Work


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One transaction of the journal."""

    id: int
    key: str
    entry: str
    at: int
    actor: str
    award: int | None
    lease: str
    corrects: str
    reason: str
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one user of a project used on one day (UTC)."""

    day: str
    user: str
    leases: int
    gpu_seconds: int
    charged: int


_POST = t.postings.insert().from_select(
    ["transaction_id", "account", "amount"],
    sa.select(
        t.transactions.c.id,
        sa.bindparam("to", type_=t.postings.c.account.type),
        sa.bindparam("units", type_=t.postings.c.amount.type),
    ).where(t.transactions.c.key == sa.bindparam("of")),
)
"""A posting of the transaction of a key: so many are written at once, whose numbers nobody has to ask for."""


_SET_ASIDE = (
    t.awards.update()
    .where(
        t.awards.c.id == sa.bindparam("award_id"),
        t.awards.c.charged + t.awards.c.held + sa.bindparam("units") <= t.awards.c.awarded,
        t.awards.c.ends >= sa.bindparam("until"),
    )
    .values(held=t.awards.c.held + sa.bindparam("units"))
)
_CHARGE = (
    t.awards.update()
    .where(t.awards.c.id == sa.bindparam("award_id"))
    .values(held=t.awards.c.held - sa.bindparam("unheld"), charged=t.awards.c.charged + sa.bindparam("used"))
)


class Journal(Work):
    """Double entry, append only."""

    def _set_aside(self, award: int, units: int, until: int) -> None:
        """Guard: one conditional UPDATE decides whether an award has `units` and lasts `until`, whoever else is at it."""
        changed = self.connection.execute(_SET_ASIDE, {"award_id": award, "units": units, "until": until})
        if changed.rowcount != 1:
            raise ConflictError("balance-changed", award=award)

    def _charge(self, ended: Sequence[tuple[int, int, int]]) -> None:
        """Charge awards for what was used of what they had set aside: (award, set aside, used)."""
        rows = [{"award_id": award, "unheld": held, "used": used} for award, held, used in ended]
        self.connection.execute(_CHARGE, rows)

    def _write(self, *written: Transaction, at: int, actor: str) -> None:
        transactions = [
            {
                "key": one.key, "entry": one.entry.value, "at": at, "actor": actor, "award": one.award,
                "lease": one.lease, "run": one.run, "corrects": one.corrects, "reason": one.reason[:500],
            }
            for one in written
        ]  # fmt: skip
        postings = [
            {"of": one.key, "to": posting.account, "units": posting.amount}
            for one in written
            for posting in one.postings
        ]
        if transactions:
            self.connection.execute(t.transactions.insert(), transactions)
            self.connection.execute(_POST, postings)

    def journal(
        self, *, lease: str = "", award: int | None = None, entry: str = "", since: int = 0, until: int | None = None,
        projects: Sequence[str] | None = None, officer_of: frozenset[str] = frozenset(), page: int = 1,
        per_page: int = 50,
    ) -> tuple[list[JournalRow], int]:  # fmt: skip
        """Return a page of the journal of some projects and programmes (None: of all) in the order of writing.

        And how many transactions there are in all.
        """
        where = [t.transactions.c.at >= since] if since else []
        if until is not None:
            where.append(t.transactions.c.at < until)
        wanted = ((t.transactions.c.lease, lease), (t.transactions.c.award, award), (t.transactions.c.entry, entry))
        where += [column == value for column, value in wanted if value]
        if projects is not None:
            theirs = t.projects.c.slug.in_(projects) | t.projects.c.programme.in_(officer_of)
            own = sa.select(t.awards.c.id).join(t.projects, t.projects.c.slug == t.awards.c.project).where(theirs)
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
                row.id, row.key, row.entry, row.at, row.actor, row.award, row.lease, row.corrects, row.reason,
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
                sa.func.sum(t.leases.c.ran * t.leases.c.gpus).label("gpu_seconds"),
                sa.func.sum(t.leases.c.charged - t.leases.c.refunded + t.leases.c.corrected).label("charged"),
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
