"""The journal played again from its beginning: what every account held, at every moment, and what it must hold now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.unit import Unit
from nvlhub.store.verify import SHOWN, Broken

CLOCK = 1
"""Seconds that a time may lie before an earlier one: the clock's resolution."""
FETCHED = 1000
"""Rows in memory at once."""
GRANTS = frozenset({"award", "supplement", "return"})
"""Entries that change what an award has in all."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `accounts` hold something at the end; `missing` numbers belong to no transaction."""

    transactions: int
    postings: int
    accounts: int
    missing: int
    broken: list[Broken]
    warnings: list[Broken]


@dataclass
class _Findings:
    """What was found, the first :data:`SHOWN` of each kind."""

    rows: list[Broken] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, invariant: str, detail: str) -> None:
        count = self.counts[invariant] = self.counts.get(invariant, 0) + 1
        if count <= SHOWN:
            self.rows.append(Broken(invariant, detail))


@dataclass
class _Books:
    """Every account as the journal leaves it. An account at zero needs no entry."""

    numbered_without_gaps: bool
    broken: _Findings = field(default_factory=_Findings)
    warnings: _Findings = field(default_factory=_Findings)
    balances: dict[str, int] = field(default_factory=dict)
    granted: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    postings: int = 0
    missing: int = 0
    last: int = 0
    latest: int = 0

    def take(self, rows: Sequence[Any]) -> None:
        """Post the next transaction: its rows, one per posting."""
        tx = rows[0]
        self._number(tx.id)
        if tx.at < self.latest - CLOCK:
            self.warnings.add("time-goes-forward", f"{tx.key}: {self.latest - tx.at} s before the latest until then")
        self.latest = max(self.latest, tx.at)
        if sum(row.amount or 0 for row in rows) or tx.account is None:
            self.broken.add("transactions-sum-to-zero", f"{tx.key}: {sum(row.amount or 0 for row in rows)}")
        for row in rows:
            if row.account is not None:
                self._post(row)
        self.transactions += 1

    def _number(self, number: int) -> None:
        skipped = number - self.last - 1
        if skipped:
            self.missing += skipped
            what = f"{self.last + 1} to {number - 1}" if skipped > 1 else f"{number - 1}"
            if self.numbered_without_gaps:
                self.broken.add("no-transaction-missing", f"{what}: removed, for none is ever left out here")
            else:
                self.warnings.add("no-transaction-missing", f"{what}: taken by what was rolled back, or removed")
        self.last = number

    def _post(self, row: Any) -> None:
        held = self.balances.pop(row.account, 0) + row.amount
        if held:
            self.balances[row.account] = held
        if held < 0 and _guarded(row.account):
            self.broken.add("account-never-below-zero", f"{row.account}: {held} after {row.key}")
        if row.entry in GRANTS and row.account.startswith("award:"):
            self.granted[row.account] = self.granted.get(row.account, 0) + row.amount
        self.postings += 1

    def compare(self, what: str, account: str, stored: int) -> None:
        """Compare what an account must hold with what is stored; then it is done with."""
        self._same(what, account, self.balances.pop(account, 0), stored)

    def compare_grant(self, award: int, stored: int) -> None:
        """Compare what an award got in all with what is stored."""
        account = f"award:{award}"
        self._same("award-columns-equal-replay", f"{account} in all", self.granted.pop(account, 0), stored)

    def _same(self, invariant: str, what: str, played: int, stored: int) -> None:
        if played != stored:
            self.broken.add(invariant, f"{what}: stored {stored} / replayed {played}")

    def leave_none(self) -> None:
        """Report what was compared with nothing: it belongs to an award or a budget that there is not."""
        for account, held in self.balances.items():
            if _guarded(account):
                self.broken.add("account-has-an-owner", f"{account}: {held}")


def _guarded(account: str) -> bool:
    """Tell whether an account may never hold less than nothing.

    ``programme:<slug>`` without a pool may: until budgets came, programmes awarded what nobody had granted.
    """
    kind, _, name = account.partition(":")
    return kind in {"award", "held"} or (kind == "programme" and ":" in name)


def replay(unit: Unit) -> Replay:
    """Post the whole journal again, in the order of writing, and compare the result with awards and budgets.

    One pass over one snapshot. Memory does not grow with the journal: one integer per account that is not at zero,
    and one per award. The numbers of transactions are their order: who writes to an award or a budget locks its row
    before a number is drawn. SQLite numbers without gaps; PostgreSQL does not give a number back that a transaction
    which was rolled back had drawn, so there a gap proves nothing and is a warning.
    """
    books = _Books(numbered_without_gaps=unit.connection.dialect.name == "sqlite")
    for _, rows in groupby(_journal(unit), key=lambda row: row.id):
        books.take(list(rows))
    accounts = len(books.balances)
    for row in _streamed(unit, sa.select(t.awards).order_by(t.awards.c.id)):
        books.compare("award-columns-equal-replay", f"award:{row.id}", row.awarded - row.charged - row.held)
        books.compare("award-columns-equal-replay", f"held:{row.id}", row.held)
        books.compare_grant(row.id, row.awarded)
    for row in _streamed(unit, sa.select(t.budgets)):
        account = f"programme:{row.programme}:{row.pool}"
        books.compare("budget-columns-equal-replay", account, row.granted - row.awarded)
    books.leave_none()
    return Replay(
        books.transactions, books.postings, accounts, books.missing, books.broken.rows, books.warnings.rows
    )  # fmt: skip


def _journal(unit: Unit) -> Iterator[Any]:
    """Return every posting with its transaction; one without postings is there, too."""
    tx, posting = t.transactions.c, t.postings.c
    return _streamed(
        unit,
        sa.select(tx.id, tx.key, tx.entry, tx.at, posting.account, posting.amount)
        .select_from(t.transactions.outerjoin(t.postings, posting.transaction_id == tx.id))
        .order_by(tx.id),
    )


def _streamed(unit: Unit, query: sa.Select[Any]) -> Iterator[Any]:
    return iter(unit.connection.execute(query.execution_options(yield_per=FETCHED)))
