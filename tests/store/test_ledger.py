"""The ledger on every database: races, proofs, and what the last line of defence refuses."""

from __future__ import annotations

import threading
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from nvlhub.errors import ConflictError, NvlhubError
from nvlhub.flow.lease import Approved, Lease, advance
from nvlhub.store import Store, verify
from nvlhub.store import tables as t
from nvlhub.wire import LeaseAsk
from tests.conftest import START, HandClock
from tests.flow.strategies import lease as asked
from tests.portal_kit import MAILBOX, RESEARCHER, kit


def hold(store: Store, units: int) -> Lease:
    lease, _ = advance(asked(id=str(uuid.uuid4()), project="demo", programme="demo"), Approved(1, units))
    with store.writing() as unit:
        unit.hold([lease], lease.id, "hash", at=START, actor="u")
    return lease


def test_tables_go_up_down_and_up(store: Store) -> None:
    store.migrate("base")
    store.migrate()
    with store.reading() as unit:
        assert verify(unit) == []


def test_leases_and_their_keys_survive_a_step_back_and_forth(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    held = hold(store, 3600 * 1000)
    store.migrate("0001")
    store.migrate()
    with store.reading() as unit:
        assert unit.by_key("u", held.id) == ([held.id], "hash")
        assert unit.lease(held.id) == held
        assert verify(unit) == []


def test_the_last_units_go_to_exactly_as_many_as_there_are(store: Store, clock: HandClock) -> None:
    """200 GPU-hours, 40 starters at once that hold 8 each: 25 get them."""
    kit(store, clock)
    units, outcomes = 8 * 3600 * 1000, []

    def starter() -> None:
        try:
            hold(store, units)
            outcomes.append(True)
        except ConflictError:
            outcomes.append(False)

    threads = [threading.Thread(target=starter) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 25
    with store.reading() as unit:
        assert verify(unit) == []


def test_caps_hold_in_a_race(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    with store.writing() as unit:
        unit.set_member("demo", "researcher", "pi", cap=3)
    # The run loop is turned afterwards: admission is what races here.
    portal.desk._answer = lambda answer: next(iter(portal.runner.board.leases.values()), asked())  # type: ignore[method-assign,assignment]
    portal.runner.admitted = lambda *leases: None  # type: ignore[method-assign,assignment,return-value]
    outcomes = []

    def starter(number: int) -> None:
        try:
            portal.desk.ask(RESEARCHER, LeaseAsk(project="demo", profile="gpu1", mailbox=MAILBOX), f"k{number}")
            outcomes.append("held")
        except NvlhubError as error:
            outcomes.append(error.slug)

    threads = [threading.Thread(target=starter, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["cap-member"] * 9 + ["held"] * 3


def test_a_start_that_is_sent_several_times_at_once_holds_once(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    portal.desk._answer = lambda answer: asked()  # type: ignore[method-assign,assignment]
    portal.runner.admitted = lambda *leases: None  # type: ignore[method-assign,assignment,return-value]
    outcomes = []

    def starter() -> None:
        ask = LeaseAsk(project="demo", profile="gpu1", mailbox=MAILBOX)
        outcomes.append(portal.desk.ask(RESEARCHER, ask, "the same key")[1])

    threads = [threading.Thread(target=starter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 5 + [True]
    with store.reading() as unit:
        assert len(unit.active_leases()) == 1


def test_nothing_is_saved_of_a_unit_that_fails(store: Store, clock: HandClock) -> None:
    kit(store, clock)

    def half() -> None:
        with store.writing() as unit:
            unit.add_project("x", "X", "demo")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    with store.reading() as unit:
        assert "x" not in {row.slug for row in unit.projects()[0]}


def test_the_database_itself_refuses_to_overspend(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    with pytest.raises(DatabaseError), store.writing() as unit:
        unit.connection.execute(t.awards.update().values(held=t.awards.c.awarded + 1))


def test_the_database_itself_refuses_to_hand_a_gpu_out_twice(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    portal.ask()
    row = {"pool": "main", "domain": "nvl001", "tray": 1, "gpu": 0, "lease": portal.ask().id}
    with pytest.raises(DatabaseError), store.writing() as unit:
        unit.connection.execute(t.holdings.insert(), [row])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postings SET amount = amount + 1",
        "DELETE FROM postings",
        "DELETE FROM transactions",
        "UPDATE transactions SET actor = 'x'",
    ],
)
def test_the_journal_can_only_grow(store: Store, clock: HandClock, statement: str) -> None:
    kit(store, clock)
    with pytest.raises(DatabaseError), store.writing() as unit:
        unit.connection.execute(sa.text(statement))


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        ("UPDATE awards SET held = held + 5", "award-columns-equal-journal"),
        ("UPDATE leases SET held = held - 1", "award-held-equals-active-leases"),
        ("DELETE FROM holdings", "holdings-equal-placements"),
        ("UPDATE leases SET state = 'settled'", "hold-resolves-once"),
    ],
)
def test_verify_finds_damage_and_names_it(store: Store, clock: HandClock, damage: str, invariant: str) -> None:
    portal = kit(store, clock)
    portal.ask()
    assert portal.broken() == []
    with store.writing() as unit:
        unit.connection.execute(sa.text(damage))
    assert invariant in {broken.invariant for broken in portal.broken()}


def test_a_lease_is_settled_once(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.step(5)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    with store.reading() as unit:
        settled = unit.lease(lease.id)
    assert settled is not None
    with pytest.raises(ConflictError), store.writing() as unit:
        unit.settle([settled], (), at=START, actor="x")
    assert portal.broken() == []


def test_usage_is_by_day_and_user(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    for _ in range(2):
        lease = portal.ask("gpu2")
        portal.step(30)
        portal.desk.end(RESEARCHER, lease.id)
        portal.step(1)
    with store.reading() as unit:
        [row] = unit.usage("demo", 0, clock.now() + 1)
    assert (row.user, row.leases, row.gpu_seconds, row.charged) == ("researcher", 2, 120, 120_000)
