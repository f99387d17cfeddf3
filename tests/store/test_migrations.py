"""Tables of an older version with data in them: brought up to date, back, and up again, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DatabaseError

from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.flow.awarding import RequestKind
from nvlhub.forms import Correction, NewAward, NewBudget, NewPool, NewRequest, Review, Revocation
from nvlhub.store import Store, verify
from nvlhub.store.database import WRITES
from nvlhub.store.tables import metadata
from nvlhub.wire import EndReason, State
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit

HOUR, MILLI = 3600, 3_600_000
PROJECTS = {
    "alpha": ("council", "Institute of Physics"), "beta": ("council", "Institute of Physics"),
    "gamma": ("industry", "institute of physics!"), "delta": ("industry", ""), "epsilon": ("council", "國家實驗室"),
}  # fmt: skip
AWARDS = [("alpha", "main", 100), ("alpha", "old", 10), ("beta", "main", 50), ("gamma", "main", 7)]
SECONDS = 100


def upgrade(store: Store, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "nvlhub.store:migrations")
    with store._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


class Before:
    """Writes the rows of version 0002, as the portal of that time did."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.tables = sa.MetaData()
        self.tables.reflect(connection)

    def add(self, table: str, **values: Any) -> None:
        self.connection.execute(self.tables.tables[table].insert().values(**values))

    def transaction(self, key: str, award: int, lease: str = "", corrects: str = "", **postings: int) -> None:
        entry = key.partition(":")[0]
        self.add("transactions", key=key, entry=entry, at=START, actor="a", award=award, lease=lease, corrects=corrects)
        number = self.connection.scalar(sa.text("SELECT MAX(id) FROM transactions"))
        for account, amount in postings.items():
            self.add("postings", transaction_id=number, account=account.replace("_", ":"), amount=amount)

    def lease(self, name: str, project: str, award: int, state: str, **more: Any) -> None:
        programme = PROJECTS[project][0]
        share = {"domain": "nvl001", "tray": 1, "gpus": [0, 1]}
        held = 2 * HOUR * 1000
        self.add(
            "leases", id=name, state=state, user="researcher", project=project, programme=programme, profile="gpu2",
            version=1, pool="main", kind="kernel", gpus=2, span="domain", seconds=HOUR, factor_milli=1000, asked_at=START,
            award=award, held=held, placement=[share], handle={}, started_at=START, beat_at=START, **more,
        )  # fmt: skip
        self.add("keys", user="researcher", key=name, body_hash="h", lease=name, at=START)
        self.transaction(f"hold:{name}", award, name, **{f"award_{award}": -held, f"held_{award}": held})
        if state == "settled":
            used = 2 * SECONDS * 1000
            back = {f"held_{award}": -held, f"award_{award}": held - used, "charged_main": used}
            self.transaction(f"settle:{name}", award, name, **back)
            if more.get("refunded"):
                refund = {"charged_main": -used, f"award_{award}": used}
                self.transaction(f"refund:{name}", award, name, f"settle:{name}", **refund)
        else:
            for gpu in share["gpus"]:  # type: ignore[attr-defined]
                self.add("holdings", pool="main", domain="nvl001", tray=1, gpu=gpu, lease=name)


def fill(before: Before) -> None:
    for pool in ("main", "old"):
        before.add("pools", name=pool, gpu_model="GB300", factor_milli=1000, domain_gpus=72, gpus=72)
    before.add(
        "profiles",
        name="gpu2",
        version=1,
        display_name="2",
        pool="main",
        gpus=2,
        span="domain",
        longest=HOUR,
        published=True,
    )
    for programme in ("council", "industry"):
        before.add("programmes", slug=programme, name=programme)
    for project, (programme, institution) in PROJECTS.items():
        before.add("projects", slug=project, name=project, programme=programme, institution=institution)
        before.add("members", project=project, user="researcher", role="pi")
    held, used = 2 * HOUR * 1000, 2 * SECONDS * 1000
    for number, (project, pool, hours) in enumerate(AWARDS, start=1):
        columns = {"charged": used, "held": held} if number == 1 else {}
        before.add(
            "awards", project=project, pool=pool, awarded=hours * MILLI, starts=START - 1, ends=START + 10**7, **columns
        )
        programme = PROJECTS[project][0]
        before.transaction(
            f"award:{number}", number, **{f"programme_{programme}": -hours * MILLI, f"award_{number}": hours * MILLI}
        )  # fmt: skip
    ended = {"ended_at": START + SECONDS, "charged": used}
    before.lease("charged", "alpha", 1, "settled", **ended, end_reason="user")
    before.lease("refunded", "beta", 3, "settled", **ended, refunded=used, end_reason="engine")
    before.lease("active", "alpha", 1, "running")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database of version 0002 with data, brought up to date."""
    made = Store(database_url)
    upgrade(made, "0002")
    with made.writing() as unit:
        fill(Before(unit.connection))
    made.migrate()
    yield made
    made.close()


def rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.reading() as unit:
        return [tuple(row) for row in unit.connection.execute(sa.text(query)).all()]


def proven(store: Store) -> None:
    with store.reading() as unit:
        assert verify(unit) == []


BUDGETS = {("council", "main"): 150, ("council", "old"): 10, ("industry", "main"): 7}


def test_what_older_tables_held_is_proven_right_in_the_new_ones(store: Store) -> None:
    proven(store)
    made = dict(rows(store, "SELECT slug, name FROM institutions"))
    assert sorted(made.values()) == ["Institute of Physics", "institute of physics!", "國家實驗室"]
    assert made.keys() == {"institute-of-physics", "institute-of-physics-2", "institution"}
    theirs = dict(rows(store, "SELECT slug, institution FROM projects"))
    assert {slug: made.get(theirs[slug], "") for slug in PROJECTS} == {
        slug: name for slug, (_, name) in PROJECTS.items()
    }
    budgets = {(who, pool): (granted, awarded) for who, pool, granted, awarded in rows(store, "SELECT * FROM budgets")}
    assert budgets == {key: (hours * MILLI, hours * MILLI) for key, hours in BUDGETS.items()}
    assert dict(rows(store, "SELECT id, ran FROM leases")) == {"charged": SECONDS, "refunded": SECONDS, "active": 0}
    assert rows(store, "SELECT name FROM users") == [("researcher",)]


def portal_on(store: Store) -> Kit:
    with store.writing() as unit:
        unit.know_user(ADMIN.name, START)
    return Kit(store, HandClock(), ScriptedEngine(SimulatedFloor(1)))


def test_leases_of_the_older_version_go_on(store: Store) -> None:
    portal = portal_on(store)
    assert portal.desk.lease(ADMIN, "active").state is State.ENDING
    portal.step(1)
    ended = portal.desk.lease(ADMIN, "active")
    assert (ended.state, ended.end_reason, ended.charged) == (State.SETTLED, EndReason.LOST, 0)
    assert portal.broken() == []


def lived_in(portal: Kit) -> None:
    """Some of everything that the older tables know nothing of."""
    awards, directory, now = portal.registry.awards, portal.registry.directory, portal.clock.now()
    portal.registry.capacity.add_pool(ADMIN, NewPool(name="new", gpu_model="GB300"))
    for programme, pool in (("council", "main"), ("council", "new"), ("industry", "new")):
        directory.set_budget(ADMIN, programme, pool, NewBudget(gpu_hours=500))
    for kind, facts in (
        (RequestKind.SUPPLEMENT, {"gpu_hours": 5}), (RequestKind.TRANSFER, {"gpu_hours": 3, "pool": "new"})
    ):  # fmt: skip
        request = awards.ask(RESEARCHER, NewRequest(project="alpha", kind=kind, award="1", reasons="x", **facts))  # type: ignore[arg-type]
        awards.review(ADMIN, int(request.id), Review(verdict="approve", reason="x"))
    for pool in ("main", "new"):
        new = NewAward(project="epsilon", pool=pool, gpu_hours=4, starts=now, ends=now + HOUR)
        awards.add_award(ADMIN, new)
    awards.revoke(ADMIN, 3, Revocation(reason="x"))
    portal.registry.ledger.correct(ADMIN, Correction(lease="charged", gpu_seconds=-30, reason="x"))
    portal.ask("gpu2", project="alpha", seconds=600)
    portal.step(SECONDS)


@pytest.mark.parametrize("lived", [False, True])
def test_going_back_and_forth_keeps_the_ledger_right(store: Store, lived: bool) -> None:
    if lived:
        lived_in(portal_on(store))
    told = "SELECT id, project, pool, awarded, returned, charged, held FROM awards ORDER BY id"
    of_leases = "SELECT id, state, charged, refunded, corrected, ran, preemptible FROM leases ORDER BY id"
    awards, leases = rows(store, told), rows(store, of_leases)
    for _ in range(2):
        store.migrate("0002")
        store.migrate()
        proven(store)
        assert (rows(store, told), rows(store, of_leases)) == (awards, leases)
    of_projects = (
        "SELECT p.slug, COALESCE(i.name, '') FROM projects p LEFT JOIN institutions i ON i.slug = p.institution"
    )
    assert dict(rows(store, of_projects)) == {slug: name for slug, (_, name) in PROJECTS.items()}
    if lived:
        portal = portal_on(store)
        portal.registry.directory.set_budget(ADMIN, "council", "main", NewBudget(gpu_hours=900))
        portal.step(1)
        assert portal.broken() == []


@pytest.mark.parametrize("statement", ["DELETE FROM postings", "DELETE FROM transactions"])
def test_what_is_written_stays_written_after_going_back_and_forth(store: Store, statement: str) -> None:
    store.migrate("0002")
    for _ in range(2):
        with pytest.raises(DatabaseError), store.writing() as unit:
            unit.connection.execute(sa.text(statement))
        store.migrate()


def shape(store: Store) -> dict[str, Any]:
    """Everything that the database says of its tables."""
    with store.reading() as unit:
        seen = sa.inspect(unit.connection)
        return {
            table: {
                "columns": {(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)},
                "key": set(seen.get_pk_constraint(table)["constrained_columns"]),
                "foreign": {(*f["constrained_columns"], f["referred_table"]) for f in seen.get_foreign_keys(table)},
                "unique": {tuple(u["column_names"]) for u in seen.get_unique_constraints(table)},
                "indexes": {(i["name"], *i["column_names"]) for i in seen.get_indexes(table)},
                "checks": {c["name"] for c in seen.get_check_constraints(table)},
            }
            for table in seen.get_table_names()
        }


def test_going_back_leaves_the_older_tables_as_they_were(database_url: str) -> None:
    store = Store(database_url)
    upgrade(store, "0002")
    before = shape(store)
    store.migrate()
    store.migrate("0002")
    assert shape(store) == before
    store.close()


def test_the_tables_are_those_that_the_code_knows(store: Store) -> None:
    with store.reading() as unit:
        assert compare_metadata(MigrationContext.configure(unit.connection), metadata) == []
