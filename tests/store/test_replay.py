"""The journal played again, on every database: it agrees with what is stored, and finds what sums cannot find."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from pathlib import Path

import pytest
import sqlalchemy as sa

from nvlhub.errors import NvlhubError
from nvlhub.flow.settlement import Entry, Posting, Transaction
from nvlhub.forms import Correction, NewAward, NewBudget, Revocation
from nvlhub.store import Replay, Store, replay, verify
from nvlhub.store import tables as t
from nvlhub.wire import Extend
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit
from tests.store.books import hammered, hold, settle, unguard
from tests.tables import store_at

HOUR = 3_600_000


def played(store: Store) -> Replay:
    with store.reading() as unit:
        return replay(unit)


def write(store: Store, *postings: tuple[str, int], key: str = "by-hand", at: int = START) -> None:
    made = Transaction(key, Entry.EXTEND, 1, tuple(Posting(*posting) for posting in postings))
    with store.writing() as unit:
        unit._write(made, at=at, actor="x")


def live(portal: Kit, draw: random.Random) -> None:
    """One thing that people do, drawn; what the rules refuse is refused."""
    leases = sorted(portal.runner.board.leases)
    number = draw.randrange(1, 4)
    project = draw.choice(["demo", "demo-small"])
    now = portal.clock.now()
    things = {
        "ask": lambda: portal.ask(draw.choice(["gpu1", "gpu2", "gpu4"]), project=project, seconds=draw.choice([60, 600])),
        "end": lambda: portal.desk.end(ADMIN, draw.choice(leases)),
        "extend": lambda: portal.desk.extend(RESEARCHER, draw.choice(leases), Extend(seconds=60)),
        "award": lambda: portal.registry.awards.add_award(
            ADMIN, NewAward(project="demo", pool="main", gpu_hours=5, starts=now, ends=now + 900)
        ),
        "revoke": lambda: portal.registry.awards.revoke(ADMIN, number, Revocation(reason="drawn")),
        "budget": lambda: portal.registry.directory.set_budget(
            ADMIN, "demo", "main", NewBudget(gpu_hours=100_000 + draw.randrange(-50, 50))
        ),
        "correct": lambda: portal.registry.ledger.correct(
            ADMIN, Correction(lease=draw.choice(portal_ended(portal)), gpu_seconds=draw.choice([-30, -5, 5]), reason="x")
        ),
    }  # fmt: skip
    with contextlib.suppress(NvlhubError, IndexError):
        things[draw.choice([*things, "ask", "end"])]()
    portal.step(draw.choice([1, 5, 40]), beats=draw.random() < 0.9)


def portal_ended(portal: Kit) -> list[str]:
    return [lease.id for lease in portal.desk.leases(ADMIN, state="ended", per_page=200)[0]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_people_do_is_replayed_to_what_is_stored(store: Store, clock: HandClock, seed: int) -> None:
    portal, draw = kit(store, clock), random.Random(seed)
    for _ in range(60):
        live(portal, draw)
    found = played(store)
    assert (found.broken, found.warnings) == ([], [])
    with store.reading() as unit:
        _, total = unit.journal(per_page=1)
        entries = set(unit.connection.scalars(sa.select(t.transactions.c.entry)))
        posted = unit.connection.scalar(sa.select(sa.func.count()).select_from(t.postings))
        by_account = sa.select(t.postings.c.account).group_by(t.postings.c.account)
        holding = unit.connection.scalars(by_account.having(sa.func.sum(t.postings.c.amount) != 0)).all()
    assert (found.transactions, found.postings, found.accounts) == (total, posted, len(holding))
    assert {"budget", "award", "hold", "settle"} <= entries
    assert portal.broken() == []


def test_many_writers_at_once_leave_a_journal_in_which_nothing_was_ever_overdrawn(
    store: Store, clock: HandClock
) -> None:
    """The order of numbers is the order in which each account was written, whoever was at it."""
    kit(store, clock)
    with hammered(store, writers=6):
        while (found := played(store)).transactions < 100:
            assert found.broken == []
    assert played(store).broken == []


@pytest.mark.parametrize("account", ["award:1", "held:1", "programme:demo:main"])
def test_an_account_that_was_overdrawn_and_filled_again_is_found(store: Store, clock: HandClock, account: str) -> None:
    kit(store, clock)
    write(store, (account, -(10**15)), ("charged:main", 10**15), key="too-much")
    write(store, (account, 10**15), ("charged:main", -(10**15)), key="back-again")
    with store.reading() as unit:
        # The sums are right again, which is all that they can tell.
        assert [row for row in verify(unit) if row.invariant != "award-total-equals-journal"] == []
    [row] = played(store).broken
    assert row.invariant == "account-never-below-zero"
    assert row.detail.startswith(f"{account}: -")
    assert row.detail.endswith("after too-much")


def test_a_programme_of_the_time_before_budgets_may_be_below_zero(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    write(store, ("programme:old", -5), ("charged:main", 5))
    assert played(store).broken == []


DAMAGE = [
    ("UPDATE awards SET held = held + 5 WHERE id = 1", "award-columns-equal-replay"),
    ("UPDATE awards SET charged = charged + 5 WHERE id = 1", "award-columns-equal-replay"),
    ("UPDATE awards SET awarded = awarded + 5, held = held + 5 WHERE id = 1", "award-columns-equal-replay"),
    ("UPDATE awards SET awarded = awarded + 5, charged = charged + 5 WHERE id = 1", "award-columns-equal-replay"),
    ("UPDATE budgets SET granted = granted + 1", "budget-columns-equal-replay"),
    ("UPDATE budgets SET awarded = awarded - 1", "budget-columns-equal-replay"),
    ("DELETE FROM budgets", "account-has-an-owner"),
    ("UPDATE postings SET amount = amount + 1 WHERE account = 'award:1' AND amount > 0", "transactions-sum-to-zero"),
    ("DELETE FROM postings WHERE account = 'award:1' AND amount < 0", "transactions-sum-to-zero"),
    ("DELETE FROM postings WHERE transaction_id > 4", "transactions-sum-to-zero"),
    ("UPDATE postings SET account = 'award:77' WHERE account = 'award:1' AND amount < 0", "account-never-below-zero"),
    ("UPDATE postings SET account = 'held:77' WHERE account = 'held:1'", "account-has-an-owner"),
]


@pytest.mark.parametrize(("damage", "invariant"), DAMAGE)
def test_damage_is_found_and_named(store: Store, clock: HandClock, damage: str, invariant: str) -> None:
    kit(store, clock)
    hold(store)
    settle(store, hold(store))
    unguard(store)
    assert played(store).broken == []
    with store.writing() as unit:
        assert unit.connection.execute(sa.text(damage)).rowcount
    assert invariant in {row.invariant for row in played(store).broken}


def test_a_lease_that_was_removed_from_all_books_leaves_a_gap(store: Store, clock: HandClock) -> None:
    """Its postings are gone, and the columns were put in order: only its numbers are missing."""
    kit(store, clock)
    gone, last = hold(store), hold(store)
    settle(store, gone, ran=10)
    settle(store, last)
    unguard(store)
    with store.writing() as unit:
        theirs = sa.select(t.transactions.c.id).where(t.transactions.c.lease == gone.id)
        unit.connection.execute(t.postings.delete().where(t.postings.c.transaction_id.in_(theirs)))
        for table, column in ((t.transactions, "lease"), (t.keys, "lease"), (t.leases, "id")):
            unit.connection.execute(table.delete().where(table.c[column] == gone.id))
        unit.connection.execute(t.awards.update().where(t.awards.c.id == 1).values(charged=4 * 2 * 1000))
        assert verify(unit) == []
    found = played(store)
    assert found.missing == 2
    sqlite = store.url.startswith("sqlite")
    assert {row.invariant for row in (found.broken if sqlite else found.warnings)} == {"no-transaction-missing"}
    assert len(found.broken) == (2 if sqlite else 0)


def test_a_transaction_that_was_rolled_back_is_nobodys_fault(store: Store, clock: HandClock) -> None:
    """PostgreSQL has drawn a number for it then; SQLite gives the number to the next."""
    kit(store, clock)
    hold(store)

    def half() -> None:
        with store.writing() as unit:
            unit._write(Transaction("lost", Entry.EXTEND, 1, (Posting("a", 1), Posting("b", -1))), at=START, actor="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    hold(store)
    found = played(store)
    assert found.broken == []
    assert found.missing == (0 if store.url.startswith("sqlite") else 1)
    assert len(found.warnings) == found.missing


@pytest.mark.parametrize(("back", "warned"), [(0, 0), (1, 0), (2, 1), (500, 1)])
def test_a_time_that_lies_before_an_earlier_one_is_a_warning(
    store: Store, clock: HandClock, back: int, warned: int
) -> None:
    kit(store, clock)
    hold(store, at=START + 1000)
    hold(store, at=START + 1000 - back)
    found = played(store)
    assert found.broken == []
    assert [row.invariant for row in found.warnings] == ["time-goes-forward"] * warned


def test_a_few_of_many_findings_are_shown(store: Store, clock: HandClock) -> None:
    kit(store, clock)
    for number in range(20):
        write(store, ("held:1", -1), ("charged:main", 1), key=f"bad{number}")
    found = played(store)
    assert [row.invariant for row in found.broken].count("account-never-below-zero") == 5


def test_a_database_that_was_brought_up_to_date_is_replayed(store: Store, clock: HandClock) -> None:
    """Awards of the time before budgets are paid by the old account of the programme."""
    store.migrate("0002")
    with store.writing() as unit:
        for statement in (
            "INSERT INTO pools VALUES ('main', 'GB300', 1000, 72, 72)",
            "INSERT INTO programmes (slug, name) VALUES ('old', 'Old')",
            "INSERT INTO projects (slug, name, programme) VALUES ('p', 'P', 'old')",
            "INSERT INTO awards (project, pool, awarded, starts, ends) VALUES ('p', 'main', 5000, 1, 99)",
            "INSERT INTO transactions (key, entry, at, actor, award) VALUES ('award:1', 'award', 50, 'x', 1)",
            "INSERT INTO postings VALUES (1, 'programme:old', -5000), (1, 'award:1', 5000)",
        ):
            unit.connection.execute(sa.text(statement))
    store.migrate()
    found = played(store)
    assert (found.transactions, found.broken, found.warnings) == (2, [], [])


def test_an_empty_journal_is_right(store: Store) -> None:
    assert played(store) == Replay(0, 0, 0, 0, [], [])


PAST = (
    """CREATE TEMPORARY TABLE n AS
       WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < :last) SELECT i FROM n""",
    "INSERT INTO transactions (id, key, entry, at, actor, award) SELECT i, 'x' || i, 'hold', 9, 'x', 1 FROM n",
    "INSERT INTO postings SELECT i, 'award:1', CASE i % 2 WHEN 0 THEN -5 ELSE 5 END FROM n",
    "INSERT INTO postings SELECT i, 'held:1', CASE i % 2 WHEN 0 THEN 5 ELSE -5 END FROM n",
)


def test_memory_does_not_grow_with_the_journal(tmp_path: Path, clock: HandClock) -> None:
    peaks = []
    for past in (2_000, 20_000):
        store = store_at(tmp_path / f"{past}.sqlite")
        kit(store, clock)
        with store.writing() as unit:
            for statement in PAST:
                unit.connection.execute(sa.text(statement), {"last": past + 99} if ":last" in statement else {})
        played(store)
        tracemalloc.start()
        found = played(store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.postings > 2 * past
        assert {row.invariant for row in found.broken} == {"no-transaction-missing"}
        store.close()
    assert peaks[1] < 1.1 * peaks[0]
