"""Does admission get dearer as the past grows? 139 racks, with ten thousand and with a million past leases."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import sqlalchemy as sa

from nvlhub.store import Store
from nvlhub.wire import LeaseAsk
from tests.conftest import START, HandClock
from tests.portal_kit import MAILBOX, RESEARCHER, Kit, kit

ROUNDS, BATCH = 8, 25

PAST = """
WITH RECURSIVE past(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM past WHERE n < :count)
INSERT INTO leases (id, state, user, project, programme, profile, version, pool, kind, gpus, span, seconds, factor_milli,
                    asked_at, award, held, charged, refunded, label, server, placement, handle, started_at, ended_at,
                    end_reason, idle_seconds, note)
SELECT 'past-' || n, 'settled', 'user' || (n % 500), 'demo', 'demo', 'gpu1', 1, 'main', 'kernel', 1, 'domain', 60, 1000,
       :start - n, 1, 60000, 0, 0, '', '', '[]', '{}', :start - n, :start - n, 'user', 0, '' FROM past
"""
JOURNAL = (
    """INSERT INTO transactions (key, entry, at, actor, award, lease, corrects)
       SELECT 'hold:' || id, 'hold', asked_at, user, 1, id, '' FROM leases WHERE state = 'settled'""",
    "INSERT INTO postings (transaction_id, account, amount) SELECT id, 'award:1', -60000 FROM transactions WHERE entry = 'hold'",
    "INSERT INTO postings (transaction_id, account, amount) SELECT id, 'held:1', 60000 FROM transactions WHERE entry = 'hold'",
)


def factory(directory: Path, past: int) -> Kit:
    store = Store(f"sqlite:///{directory / f'{past}.sqlite'}")
    store.migrate()
    portal = kit(store, HandClock(), domains=139)
    with store.writing() as unit:
        unit.connection.execute(sa.text(PAST), {"count": past, "start": START})
        for statement in JOURNAL:
            unit.connection.execute(sa.text(statement))
    return portal


def batch(portal: Kit, number: int) -> float:
    begun = time.perf_counter()
    leases = [
        portal.desk.ask(
            RESEARCHER, LeaseAsk(project="demo", profile="gpu1", seconds=60, mailbox=MAILBOX), f"{number}-{index}"
        )[0]
        for index in range(BATCH)
    ]
    spent = time.perf_counter() - begun
    for lease in leases:
        portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    return spent / BATCH


def test_admission_does_not_get_dearer(tmp_path: Path) -> None:
    few, many = factory(tmp_path, 10_000), factory(tmp_path, 1_000_000)
    times: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(ROUNDS):
        # In turns, so that other load on the machine falls on both alike.
        times["few"].append(batch(few, number))
        times["many"].append(batch(many, number))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["many"] / medians["few"]
    print(
        f"\nadmission to running: {1 / medians['few']:.0f}/s at 10 thousand past leases, {1 / medians['many']:.0f}/s at a million; ratio {ratio:.2f} (aim <= 1.2)"
    )
    few.store.close()
    many.store.close()
