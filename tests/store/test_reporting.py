"""What reports and statements read, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from nvlhub.flow.report import By, LeaseFact
from nvlhub.flow.statement import Balance
from nvlhub.store import Store, reporting
from nvlhub.store import tables as t
from nvlhub.store.reporting import Reach
from nvlhub.wire import EndReason, Share, State
from tests.conftest import START, HandClock
from tests.flow.strategies import lease as asked
from tests.portal_kit import ADMIN, Kit, kit

SINCE, UNTIL = START, START + 1000


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    made = kit(store, clock)
    with store.writing() as unit:
        unit.add_programme("other", "Other")
        unit.add_project("alone", "Alone", "other")
    return made


def put(store: Store, label: str, **changes: object) -> None:
    """Save a lease as it is told, whatever the ledger says; it ran from 100 to 200 s in the period."""
    facts = {
        "id": str(uuid.uuid4()), "state": State.SETTLED, "project": "demo", "programme": "demo", "user": "researcher",
        "award": 1, "asked_at": SINCE + 50, "started_at": SINCE + 100, "ended_at": SINCE + 200, "ran": 100,
        "charged": 200_000, "end_reason": EndReason.USER, "label": label,
    }  # fmt: skip
    with store.writing() as unit:
        unit.connection.execute(t.leases.insert().values(**t.row_of(asked(**{**facts, **changes}))))


def read(store: Store, reach: Reach | None = None, wanted: Mapping[By, str] | None = None) -> list[LeaseFact]:
    with store.reading() as unit:
        return list(unit.lease_facts(SINCE, UNTIL, reach, wanted or {}, domains=True))


RUNS = {"state": State.RUNNING, "ended_at": None, "end_reason": None, "ran": 0, "charged": 0}
INSIDE = [
    {},
    {"asked_at": SINCE - 90, "started_at": SINCE - 80, "ended_at": SINCE},
    {"ended_at": UNTIL + 500},
    {"state": State.ENDING, "ran": 0},
    RUNS,
    {"started_at": None, "ran": 0},
]
OUTSIDE = [
    {"asked_at": SINCE - 90, "started_at": SINCE - 80, "ended_at": SINCE - 1},
    {"asked_at": UNTIL, "started_at": UNTIL, "ended_at": UNTIL + 5},
    {**RUNS, "started_at": UNTIL},
    {**RUNS, "state": State.HELD, "started_at": None},
    {**RUNS, "state": State.REFUSED, "started_at": None},
]


def test_leases_that_ran_or_ended_in_the_period_are_read_and_no_others(
    portal: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "FETCHED", 2)
    for changes in (*INSIDE, *OUTSIDE):
        put(portal.store, "x", **changes)
    found = read(portal.store)
    assert len(found) == len(INSIDE)
    assert sum(fact.ended_at is None for fact in found) == 1


def test_a_lease_is_read_with_all_that_a_report_needs(portal: Kit) -> None:
    placement = (
        Share(domain="d1", tray=1, gpus=(0, 1)),
        Share(domain="d1", tray=2, gpus=(0,)),
        Share(domain="d2", tray=1, gpus=(3,)),
    )
    put(portal.store, "x", gpus=4, placement=placement, refunded=50_000, preemptible=True)
    with portal.store.writing() as unit:
        unit.connection.execute(t.leases.update().values(corrected=-10_000))
    [fact] = read(portal.store)
    assert fact == LeaseFact(
        "researcher", "demo", "demo", "demo", "main", 4, SINCE + 50, SINCE + 100, SINCE + 200, 100, 140_000,
        EndReason.USER, preemptible=True, domains={"d1": 3, "d2": 1},
    )  # fmt: skip
    put(portal.store, "y", state=State.ENDING)
    assert [fact.ran for fact in read(portal.store)] == [100, None]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({By.PROGRAMME: "demo"}, 2),
        ({By.PROJECT: "alone"}, 1),
        ({By.INSTITUTION: "demo"}, 2),
        ({By.USER: "researcher"}, 2),
        ({By.USER: "researcher", By.PROJECT: "demo"}, 1),
        ({By.POOL: "main"}, 3),
        ({By.POOL: "moon"}, 0),
    ],
)
def test_filters_leave_what_is_wanted(portal: Kit, wanted: dict[By, str], count: int) -> None:
    put(portal.store, "a")
    put(portal.store, "b", user="instructor")
    put(portal.store, "c", project="alone", programme="other")
    assert len(read(portal.store, wanted=wanted)) == count


@pytest.mark.parametrize(
    ("reach", "labels"),
    [
        (Reach(frozenset(), frozenset(), "nobody"), 0),
        (Reach(frozenset(), frozenset(), "researcher"), 2),
        (Reach(frozenset({"other"}), frozenset(), "nobody"), 1),
        (Reach(frozenset(), frozenset({"demo"}), "nobody"), 2),
        (Reach(frozenset({"other"}), frozenset({"demo"}), "researcher"), 3),
        (None, 3),
    ],
)
def test_a_reader_gets_what_is_in_reach(portal: Kit, reach: Reach | None, labels: int) -> None:
    put(portal.store, "a")
    put(portal.store, "b", user="instructor")
    put(portal.store, "c", project="alone", programme="other")
    assert len(read(portal.store, reach)) == labels


def test_the_long_past_is_not_read_for_a_recent_period(portal: Kit) -> None:
    """SQLite says how it would find the leases: by their end, not by looking at all."""
    if portal.store.url.startswith("postgresql"):
        pytest.skip("PostgreSQL chooses by statistics, which an empty table has not")
    with portal.store.reading() as unit:
        query = unit._facts(None, {}, domains=False).where(t.leases.c.asked_at < UNTIL, t.leases.c.ended_at >= SINCE)
        plan = unit.connection.execute(
            sa.text(f"EXPLAIN QUERY PLAN {query.compile(compile_kwargs={'literal_binds': True})}")
        )
        assert any("leases_by_end" in row[-1] for row in plan)


def test_capacities_come_in_order_and_without_what_was_said_of_later(portal: Kit) -> None:
    with portal.store.writing() as unit:
        for gpus, at in ((8, 100), (4, 50), (16, 100), (99, 1000)):
            unit.add_capacity("main", "announced", gpus, at, "a letter", "admin")
        assert unit.capacity_words(1000)["announced"] == {"main": [(50, 4), (100, 8), (100, 16)]}
        assert unit.capacity_words(1000, "moon") == {}


def test_a_statement_ends_with_what_the_award_says(portal: Kit, clock: HandClock) -> None:
    first = portal.ask("gpu4")
    portal.step(60)
    portal.desk.end(ADMIN, first.id)
    portal.step(1)
    middle = clock.now()
    portal.ask("gpu2")
    portal.step(5)
    with portal.store.reading() as unit:
        assert unit.awards_with_pools("demo", START) == []
        assert unit.awards_with_pools("demo", middle) == [(1, "main")]
        award = unit.award(1)
        now = Balance(award["awarded"] - award["charged"] - award["held"], award["held"], award["charged"])
        assert unit.balance_before(1, START) == Balance()
        assert unit.balance_before(1, clock.now() + 1) == now
        lines = [*unit.movements(1, START, middle), *unit.movements(1, middle, clock.now() + 1)]
        assert [line.entry for line in lines] == ["award", "hold", "settle", "hold"]
        total = Balance()
        for line in lines:
            total = total.plus(line.change)
        assert total == now
        assert unit.balance_before(1, middle).charged == 4 * 60 * 1000
        assert unit.count_movements("demo", START, middle) == 3
        assert unit.count_movements("demo-small", START, middle) == 1
