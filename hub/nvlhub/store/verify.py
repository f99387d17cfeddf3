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


# Each query returns the rows that break its invariant: a label and what is wrong with it. Names stay: whoever watches
# the proof knows them. The whole slot of a run is set aside and charged like a lease.
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
        SELECT a.id, 'award ' || a.held || ' / leases ' || COALESCE(l.held, 0) || ' + slots ' || COALESCE(r.held, 0)
        FROM awards a
        LEFT JOIN (SELECT award, SUM(held) AS held FROM leases WHERE {active} GROUP BY award) l ON l.award = a.id
        LEFT JOIN (SELECT award, SUM(held) AS held FROM runs GROUP BY award) r ON r.award = a.id
        WHERE a.held <> COALESCE(l.held, 0) + COALESCE(r.held, 0)""",
    "award-charged-equals-settled-leases": """
        SELECT a.id, 'award ' || a.charged || ' / leases ' || COALESCE(l.charged, 0) || ' + slots '
               || COALESCE(r.charged, 0) FROM awards a
        LEFT JOIN (SELECT award, SUM(charged - refunded + corrected) AS charged FROM leases GROUP BY award) l
               ON l.award = a.id
        LEFT JOIN (SELECT award, SUM(charged) AS charged FROM runs GROUP BY award) r ON r.award = a.id
        WHERE a.charged <> COALESCE(l.charged, 0) + COALESCE(r.charged, 0)""",
    "slot-columns-equal-journal": """
        SELECT r.id, 'run ' || r.held || ' held, ' || r.charged || ' charged / journal ' || COALESCE(j.held, 0) || ', '
               || COALESCE(j.charged, 0) FROM runs r
        LEFT JOIN (SELECT tx.run, SUM(CASE WHEN p.account LIKE 'held:%' THEN p.amount ELSE 0 END) AS held,
                          SUM(CASE WHEN p.account LIKE 'charged:%' THEN p.amount ELSE 0 END) AS charged
                   FROM transactions tx JOIN postings p ON p.transaction_id = tx.id
                   WHERE tx.run IS NOT NULL GROUP BY tx.run) j ON j.run = r.id
        WHERE r.held <> COALESCE(j.held, 0) OR r.charged <> COALESCE(j.charged, 0)""",
    "slot-is-set-aside-and-ended-once": """
        SELECT r.id, COALESCE(j.held, 0) || ' times set aside, ' || COALESCE(j.ended, 0) || ' times ended' FROM runs r
        LEFT JOIN (SELECT run, SUM(CASE WHEN entry = 'slot-hold' THEN 1 ELSE 0 END) AS held,
                          SUM(CASE WHEN entry = 'slot-end' THEN 1 ELSE 0 END) AS ended
                   FROM transactions WHERE run IS NOT NULL GROUP BY run) j ON j.run = r.id
        WHERE COALESCE(j.held, 0) <> r.holds
              OR COALESCE(j.held, 0) - COALESCE(j.ended, 0) <> (CASE WHEN r.held > 0 THEN 1 ELSE 0 END)
              OR (r.held > 0 AND r.state <> 'approved')""",
    "slot-price-equals-what-is-kept": """
        SELECT r.id, r.held || ' held, ' || r.charged || ' charged' FROM runs r
        LEFT JOIN reservations k ON k.id = r.reservation
        WHERE (r.held > 0 OR r.charged > 0)
              AND (k.id IS NULL OR k.state <> 'booked' OR r.award IS NULL OR (r.held > 0 AND r.charged > 0)
                   OR r.held + r.charged <> (k.ends - k.starts) * k.gpus * r.factor_milli)""",
    "slot-lease-has-a-slot": """
        SELECT l.id, 'run ' || l.run FROM leases l LEFT JOIN runs r ON r.id = l.run
        WHERE l.held = 0 AND NOT l.preemptible AND l.state <> 'refused' AND l.run IS NOT NULL
              AND (r.id IS NULL OR r.holds = 0 OR NOT EXISTS (
                     SELECT 1 FROM transactions tx
                     WHERE tx.run = l.run AND tx.entry = 'slot-hold' AND tx.award = l.award))""",
    "slot-leases-fit-the-slot": """
        SELECT l.run, SUM(l.gpus) || ' GPUs in use, ' || MAX(k.gpus) || ' kept' FROM leases l
        JOIN runs r ON r.id = l.run JOIN reservations k ON k.id = r.reservation
        WHERE {active_of_l} AND l.held = 0 AND NOT l.preemptible
        GROUP BY l.run HAVING SUM(l.gpus) > MAX(k.gpus)""",
    "lease-has-one-hold": """
        SELECT l.id, COUNT(tx.id) FROM leases l
        LEFT JOIN transactions tx ON tx.lease = l.id AND tx.entry = 'hold'
        WHERE l.state <> 'refused' GROUP BY l.id, l.held HAVING COUNT(tx.id) <> (CASE WHEN l.held > 0 THEN 1 ELSE 0 END)""",
    "hold-resolves-once": """
        SELECT l.id, l.state || ', settled ' || COUNT(tx.id) || ' times' FROM leases l
        LEFT JOIN transactions tx ON tx.lease = l.id AND tx.entry = 'settle'
        GROUP BY l.id, l.state, l.held
        HAVING COUNT(tx.id) <> (CASE WHEN l.state = 'settled' AND l.held > 0 THEN 1 ELSE 0 END)""",
    "only-preemptible-is-free": """
        SELECT id, held FROM leases
        WHERE state <> 'refused' AND ((held > 0 AND preemptible) OR (held = 0 AND NOT preemptible AND run IS NULL))""",
    "charge-within-hold": """
        SELECT id, charged - held FROM leases WHERE charged > held OR charged < 0 OR refunded > charged""",
    "charge-equals-time": """
        SELECT id, charged FROM leases
        WHERE state = 'settled' AND held > 0 AND (charged <> ran * gpus * factor_milli OR ran < 0
              OR ran > (CASE WHEN started_at IS NULL OR ended_at IS NULL OR ended_at < started_at THEN 0
                        ELSE ended_at - started_at END))""",
    "corrections-equal-journal": """
        SELECT l.id, 'lease ' || l.corrected || ' / journal ' || COALESCE(c.amount, 0) FROM leases l
        LEFT JOIN (SELECT tx.lease, SUM(p.amount) AS amount FROM transactions tx
                   JOIN postings p ON p.transaction_id = tx.id AND p.account LIKE 'charged:%'
                   WHERE tx.entry = 'correct' GROUP BY tx.lease) c ON c.lease = l.id
        WHERE l.corrected <> COALESCE(c.amount, 0) OR l.charged - l.refunded + l.corrected < 0""",
    "award-total-equals-journal": """
        SELECT a.id, 'award ' || a.awarded || ' returned ' || a.returned || ' / journal ' || COALESCE(j.amount, 0)
               || ' returned ' || COALESCE(j.back, 0) FROM awards a
        LEFT JOIN (SELECT tx.award, SUM(p.amount) AS amount,
                          SUM(CASE WHEN tx.entry = 'return' THEN -p.amount ELSE 0 END) AS back
                   FROM transactions tx JOIN postings p ON p.transaction_id = tx.id AND p.account = 'award:' || tx.award
                   WHERE tx.entry IN ('award', 'supplement', 'return') GROUP BY tx.award) j ON j.award = a.id
        WHERE a.awarded <> COALESCE(j.amount, 0) OR a.returned <> COALESCE(j.back, 0)""",
    "budget-columns-equal-journal": """
        SELECT b.programme || '/' || b.pool, 'left ' || (b.granted - b.awarded) || ' / journal ' || COALESCE(p.amount, 0)
        FROM budgets b
        LEFT JOIN (SELECT account, SUM(amount) AS amount FROM postings WHERE account LIKE 'programme:%' GROUP BY account) p
               ON p.account = 'programme:' || b.programme || ':' || b.pool
        WHERE b.awarded < 0 OR b.awarded > b.granted OR b.granted - b.awarded <> COALESCE(p.amount, 0)""",
    "budget-awarded-equals-awards": """
        SELECT b.programme || '/' || b.pool, b.awarded || ' / awards ' || COALESCE(a.amount, 0) FROM budgets b
        LEFT JOIN (SELECT pr.programme, a.pool, SUM(a.awarded) AS amount FROM awards a
                   JOIN projects pr ON pr.slug = a.project GROUP BY pr.programme, a.pool) a
               ON a.programme = b.programme AND a.pool = b.pool
        WHERE b.awarded <> COALESCE(a.amount, 0)""",
    "correction-names-a-transaction": """
        SELECT c.key, c.corrects FROM transactions c
        LEFT JOIN transactions tx ON tx.key = c.corrects
        WHERE (c.corrects <> '' AND tx.id IS NULL) OR (c.entry IN ('refund', 'correct') AND c.corrects = '')""",
    "journal-has-no-orphans": """
        SELECT tx.key, tx.lease FROM transactions tx LEFT JOIN leases l ON l.id = tx.lease
        LEFT JOIN runs r ON r.id = tx.run
        WHERE (tx.lease <> '' AND l.id IS NULL) OR (tx.run IS NOT NULL AND r.id IS NULL)
              OR ((tx.run IS NULL) <> (tx.entry NOT IN ('slot-hold', 'slot-end')))""",
}


def verify(unit: Unit) -> list[Broken]:
    """Check every invariant; return those that do not hold, with examples.

    Memory stays bounded: the database aggregates, a few rows come back. The GPUs of active leases are compared here.
    """
    active = "state NOT IN ('settled', 'refused')"
    broken: list[Broken] = []
    for invariant, query in _INVARIANTS.items():
        rows = unit.connection.execute(
            sa.text(query.format(active=active, active_of_l=f"l.{active}") + f" LIMIT {SHOWN}")
        ).all()
        broken.extend(Broken(invariant, f"{row[0]}: {row[1]}") for row in rows)
    total = unit.connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(t.postings.c.amount), 0)))
    if total:
        broken.append(Broken("accounts-sum-to-zero", str(total)))
    broken.extend(Broken("audit-chain-unbroken", wrong) for wrong in unit.broken_chain())
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
