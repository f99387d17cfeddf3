"""Proof that the ledger is right: every invariant as one query, on one snapshot of a live database."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.unit import Unit

SHOWN = 5
"""Broken rows shown per invariant."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that does not hold, and where."""

    invariant: str
    detail: str


# Each query returns the rows that break its invariant: a label and what is wrong with it.
_INVARIANTS = {
    "transactions-sum-to-zero": """
        SELECT tx.key, COALESCE(SUM(p.amount), 0) FROM transactions tx
        LEFT JOIN postings p ON p.transaction_id = tx.id
        GROUP BY tx.id, tx.key HAVING COUNT(p.amount) = 0 OR SUM(p.amount) <> 0""",
    "award-columns-equal-journal": """
        SELECT a.id,
               'left ' || (a.awarded - a.charged - a.held) || ' / journal ' || COALESCE(av.amount, 0)
               || ', held ' || a.held || ' / journal ' || COALESCE(hd.amount, 0)
        FROM awards a
        LEFT JOIN (SELECT account, SUM(amount) AS amount FROM postings WHERE account LIKE 'award:%' GROUP BY account) av
               ON av.account = 'award:' || a.id
        LEFT JOIN (SELECT account, SUM(amount) AS amount FROM postings WHERE account LIKE 'held:%' GROUP BY account) hd
               ON hd.account = 'held:' || a.id
        WHERE COALESCE(av.amount, 0) <> a.awarded - a.charged - a.held OR COALESCE(hd.amount, 0) <> a.held""",
    "award-never-overspent": """
        SELECT id, charged + held - awarded FROM awards WHERE charged < 0 OR held < 0 OR charged + held > awarded""",
    "award-held-equals-active-leases": """
        SELECT a.id, 'award ' || a.held || ' / leases ' || COALESCE(l.held, 0) FROM awards a
        LEFT JOIN (SELECT award, SUM(held) AS held FROM leases WHERE {active} GROUP BY award) l ON l.award = a.id
        WHERE a.held <> COALESCE(l.held, 0)""",
    "award-charged-equals-settled-leases": """
        SELECT a.id, 'award ' || a.charged || ' / leases ' || COALESCE(l.charged, 0) FROM awards a
        LEFT JOIN (SELECT award, SUM(charged - refunded) AS charged FROM leases GROUP BY award) l ON l.award = a.id
        WHERE a.charged <> COALESCE(l.charged, 0)""",
    "lease-has-one-hold": """
        SELECT l.id, COUNT(tx.id) FROM leases l
        LEFT JOIN transactions tx ON tx.lease = l.id AND tx.entry = 'hold'
        WHERE l.state <> 'refused' GROUP BY l.id HAVING COUNT(tx.id) <> 1""",
    "hold-resolves-once": """
        SELECT l.id, l.state || ', settled ' || COUNT(tx.id) || ' times' FROM leases l
        LEFT JOIN transactions tx ON tx.lease = l.id AND tx.entry = 'settle'
        GROUP BY l.id, l.state
        HAVING (l.state = 'settled' AND COUNT(tx.id) <> 1) OR (l.state <> 'settled' AND COUNT(tx.id) <> 0)""",
    "charge-within-hold": """
        SELECT id, charged - held FROM leases WHERE charged > held OR charged < 0 OR refunded > charged""",
    "charge-equals-time": """
        SELECT id, charged FROM leases
        WHERE state = 'settled' AND (charged > (CASE WHEN started_at IS NULL OR ended_at IS NULL THEN 0
              WHEN ended_at < started_at THEN 0 ELSE ended_at - started_at END) * gpus * factor_milli)""",
    "correction-names-a-transaction": """
        SELECT c.key, c.corrects FROM transactions c
        LEFT JOIN transactions tx ON tx.key = c.corrects
        WHERE (c.corrects <> '' AND tx.id IS NULL) OR (c.entry = 'refund' AND c.corrects = '')""",
    "journal-has-no-orphans": """
        SELECT tx.key, tx.lease FROM transactions tx LEFT JOIN leases l ON l.id = tx.lease
        WHERE tx.lease <> '' AND l.id IS NULL""",
}


def verify(unit: Unit) -> list[Broken]:
    """Check every invariant; return those that do not hold, with examples.

    Memory stays bounded: the database aggregates, a few rows come back. The GPUs of active leases are compared here.
    """
    active = "state NOT IN ('settled', 'refused')"
    broken: list[Broken] = []
    for invariant, query in _INVARIANTS.items():
        rows = unit.connection.execute(sa.text(query.format(active=active) + f" LIMIT {SHOWN}")).all()
        broken.extend(Broken(invariant, f"{row[0]}: {row[1]}") for row in rows)
    total = unit.connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(t.postings.c.amount), 0)))
    if total:
        broken.append(Broken("accounts-sum-to-zero", str(total)))
    broken.extend(_holdings(unit))
    return broken


def _holdings(unit: Unit) -> list[Broken]:
    """Compare the GPUs that are taken with the placements of the leases that take them."""
    taken = {
        (row.pool, row.domain, row.tray, row.gpu): row.lease
        for row in unit.connection.execute(sa.select(t.holdings)).all()
    }
    placed: dict[tuple[str, str, int, int], str] = {}
    broken: list[Broken] = []
    for lease in unit.active_leases():
        for share in lease.placement:
            for gpu in share.gpus:
                where = (lease.pool, share.domain, share.tray, gpu)
                if where in placed:
                    broken.append(Broken("gpu-held-once", f"{where}: {placed[where]} and {lease.id}"))
                placed[where] = lease.id
    wrong = {where for where in taken.keys() | placed.keys() if taken.get(where) != placed.get(where)}
    broken.extend(Broken("holdings-equal-placements", f"{where}") for where in sorted(wrong)[:SHOWN])
    return broken
