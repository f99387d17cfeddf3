"""Leases written straight into the ledger, for tests of the ledger itself."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from nvlhub.flow.lease import Approved, Lease, advance
from nvlhub.flow.settlement import settle_postings
from nvlhub.store import Store
from nvlhub.wire import EndReason, State
from tests.conftest import START
from tests.flow.strategies import lease as asked
from tests.portal_kit import GRACE

SECONDS = 10


def hold(store: Store, at: int = START) -> Lease:
    """Have a lease of two GPUs held for ten seconds."""
    lease = asked(id=str(uuid.uuid4()), project="demo", programme="demo", seconds=SECONDS)
    held, _ = advance(lease, Approved(1, lease.gpus * SECONDS * lease.factor_milli))
    with store.writing() as unit:
        unit.hold([held], held.id, "hash", at=at, actor="u")
    return held


def settle(store: Store, held: Lease, ran: int = 4, reason: EndReason = EndReason.USER, at: int = START) -> Lease:
    """Settle it after it ran for some seconds."""
    used = held.gpus * ran * held.factor_milli
    settled = replace(
        held, state=State.SETTLED, started_at=START, ended_at=START + ran, end_reason=reason, ran=ran, charged=used,
        refunded=used if reason is EndReason.ENGINE else 0,
    )  # fmt: skip
    with store.writing() as unit:
        unit.settle([settled], settle_postings(settled, GRACE), at=at, actor="portal")
        unit.note("lease-end", f"lease:{held.id}", at=at, actor="portal", after={"ran": ran})
    return settled


@contextmanager
def hammered(store: Store, writers: int = 3) -> Iterator[None]:
    """Have some threads write leases for the length of the block, as fast as they can."""
    stop, failed = threading.Event(), []

    def write(seed: int) -> None:
        draw = random.Random(seed)
        try:
            while not stop.is_set():
                settle(store, hold(store), draw.randrange(1, SECONDS), draw.choice([EndReason.USER, EndReason.ENGINE]))
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def unguard(store: Store) -> None:
    """Take away what keeps the journal append-only, as somebody may who owns the database's file."""
    with store.writing() as unit:
        for table in ("transactions", "postings", "audit"):
            if unit.connection.dialect.name == "sqlite":
                for verb in ("update", "delete"):
                    unit.connection.execute(sa.text(f"DROP TRIGGER {table}_no_{verb}"))
            else:
                unit.connection.execute(sa.text(f"DROP TRIGGER {table}_append_only ON {table}"))
