"""The whole ledger against an oracle: everything that moves GPU-hours, in any order, broken off at every boundary.

The portal is the real one, turned by hand; after every step its database says what the oracle says, to the unit.
``NVLHUB_PROOF=3600`` looks for new sequences for so many seconds.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from nvlhub.store import Store
from tests.faults import POINTS, Crash, Fault, StumbleError
from tests.store.proving import CAPPED, DAY, HOUR, LONGEST, MEMBERS, NONE, POOLS, PROGRAMMES, PROJECTS, Proving, prepare

SECONDS = int(os.environ.get("NVLHUB_PROOF", "0"))
"""How long to look for new sequences; 0: the same ones every time."""
OFFICE = ["budget", "award", "award", "supplement", "transfer", "change end", "revoke", "cap award", "cap", "factor"]
HOLDER = [
    "ask", "ask", "ask and be refused by the engine", "ask again", "ask for something else with the same key", "end",
    "break", "vanish", "extend", "extend", "correct",
]  # fmt: skip
KINDS = [Crash, StumbleError]
seeds = st.integers(0, 2**32)
"""Hypothesis chooses the rules and the seeds; from the seed on every choice is as likely as any other."""


def begin(proof: Proving, hours: int) -> None:
    """Every project has an award of so many GPU-hours, which ends in three days."""
    for programme in PROGRAMMES:
        proof.budget(programme, POOLS[0], 30)
    for project in PROJECTS:
        proof.award(project, POOLS[0], hours, 3, None)


class LedgerMachine(RuleBasedStateMachine):
    """Made for one kind of database: `new_database` returns the URL of a prepared one."""

    new_database: Callable[[], str]
    seen: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.proof = Proving(type(self).new_database(), self.seen)
        self.steps = 0

    def teardown(self) -> None:
        try:
            self.proof.wind_up()
        finally:
            self.proof.store.close()

    @initialize(hours=st.integers(1, 8))
    def begin(self, hours: int) -> None:
        begin(self.proof, hours)

    def dice(self, seed: int) -> Random:
        return Random(seed + self.steps)

    def fault(self, dice: Random, points: Sequence[str], most: int) -> Fault:
        if dice.random() < 0.5:
            return NONE
        return Fault(dice.choice(points), dice.randint(1, most), dice.choice(KINDS))

    @rule(seed=seeds)
    def office(self, seed: int) -> None:
        dice = self.dice(seed)
        proof, award = self.proof, dice.choice(list(self.proof.oracle.awards))
        fault, cap, programme = self.fault(dice, POINTS[:3], 1), dice.randint(0, 8) or None, dice.choice(PROGRAMMES)
        match dice.choice(OFFICE):
            case "budget":
                proof.budget(programme, dice.choice(POOLS), dice.randint(0, 40), fault)
            case "award":
                pool = dice.choice([*POOLS, POOLS[0]])
                proof.award(dice.choice([*PROJECTS]), pool, dice.randint(1, 10), dice.randint(1, 4), cap, fault)
            case "supplement":
                proof.supplement(award, dice.randint(1, 5), fault)
            case "transfer":
                proof.transfer(award, dice.randint(1, 5), fault)
            case "change end":
                proof.change_end(award, dice.randint(-1, 4), fault)
            case "revoke":
                proof.revoke(award, fault)
            case "cap award":
                proof.cap_award(award, cap, fault)
            case "cap":
                proof.cap(dice.choice(CAPPED), cap, fault)
            case "factor":
                proof.factor(programme, dice.choice([1, 333, 1000, 2500]), fault)

    @rule(seed=seeds)
    def holder(self, seed: int) -> None:
        """What needs a lease that there is not yet asks for one."""
        dice = self.dice(seed)
        proof, active, playing = self.proof, self.proof.active(), list(self.proof.engine.played)
        settled = [lease for lease in proof.oracle.leases if lease not in active]
        granted = [asked for asked in proof.asked if asked["leases"]]
        fault = self.fault(dice, POINTS, 3)
        match dice.choice(HOLDER):
            case "ask again" if proof.asked:
                proof.ask_again(dice.choice(proof.asked), fault)
            case "ask for something else with the same key" if granted:
                proof.ask_for_something_else(dice.choice(granted))
            case "end" if active:
                proof.end(dice.choice(active), fault)
            case "break" | "vanish" as what if playing:
                proof.break_down(dice.choice(playing), fault, vanishes=what == "vanish")
            case "extend" if active:
                proof.extend(dice.choice(active), dice.choice([60, 1801, 2 * HOUR]), fault)
            case "correct" if settled:
                proof.correct(dice.choice(settled), dice.choice([-3600, -60, -1, 1, 60, 3600]), fault)
            case what:
                proof.engine.refuses_next = what == "ask and be refused by the engine"
                gpus = dice.choice([*LONGEST])
                count = dice.choice([1, 1, 2, 3]) if gpus < 4 else 1
                proof.ask(dice.choice(MEMBERS), gpus, dice.choice([60, 600, HOUR, 2 * HOUR]), count, fault)

    other_holder = holder

    @rule(seed=seeds)
    def pass_time(self, seed: int) -> None:
        dice = self.dice(seed)
        silent = dice.choice([None, None, *self.proof.active()])
        self.proof.pass_time(dice.choice([1, 10, 59, 600, HOUR, DAY]), silent, self.fault(dice, POINTS, 3))

    @rule()
    def die_and_come_back(self) -> None:
        self.proof.come_back()

    @invariant()
    def the_database_says_what_the_oracle_says(self) -> None:
        self.proof.settle_down()
        self.proof.compare()
        self.steps += 1
        if self.steps % 5 == 0:
            assert self.proof.kit.broken() == []


# --- databases -----------------------------------------------------------------------------------------------------


def prepared(url: str) -> None:
    store = Store(url)
    store.migrate()
    prepare(store)
    store.close()


@contextmanager
def sqlite_copies(
    request: pytest.FixtureRequest, prepare: Callable[[str], None] = prepared
) -> Iterator[Callable[[], str]]:
    directory: Path = request.getfixturevalue("tmp_path")
    prepare(f"sqlite:///{directory / 'prepared'}")

    def copied() -> str:
        for old in directory.glob("run*"):
            old.unlink()
        shutil.copy(directory / "prepared", directory / "run")
        return f"sqlite:///{directory / 'run'}"

    yield copied


@contextmanager
def postgres_copies(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    server, name = request.getfixturevalue("postgres"), f"proof{time.monotonic_ns()}"
    with psycopg.connect(f"{server}/postgres".replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        prepared(f"{server}/{name}")

        def copied() -> str:
            admin.execute(f"DROP DATABASE IF EXISTS {name}_run WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {name}_run TEMPLATE {name}")
            return f"{server}/{name}_run"

        yield copied
        for made in (f"{name}_run", name):
            admin.execute(f"DROP DATABASE {made} WITH (FORCE)")


Operation = Callable[[Proving, str, Fault], None]
OPERATIONS: dict[str, Operation] = {
    "award": lambda proof, lease, fault: proof.award("chem", POOLS[0], 1, 9, None, fault),
    "transfer": lambda proof, lease, fault: proof.transfer(2, 1, fault),
    "revoke": lambda proof, lease, fault: proof.revoke(1, fault),
    "ask": lambda proof, lease, fault: proof.ask(MEMBERS[0], 1, HOUR, 2, fault),
    "ask and wait": lambda proof, lease, fault: proof.ask(MEMBERS[1], 8, 60, 1, fault),
    "extend": lambda proof, lease, fault: proof.extend(lease, 60, fault),
    "end": lambda proof, lease, fault: proof.end(lease, fault),
    "break": lambda proof, lease, fault: proof.break_down(lease, fault, vanishes=False),
    "vanish": lambda proof, lease, fault: proof.break_down(lease, fault, vanishes=True),
    "deadline": lambda proof, lease, fault: proof.pass_time(3 * HOUR, None, fault),
    "silence": lambda proof, lease, fault: proof.pass_time(600, lease, fault),
    "expiry": lambda proof, lease, fault: proof.pass_time(4 * DAY, None, fault),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_that_breaks_off_at_any_boundary_came_about_as_a_whole_or_not_at_all(
    operation: Operation, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    seen: Counter[str] = Counter()
    begun: list[Proving] = []

    def prepare(url: str) -> None:
        prepared(url)
        proof = Proving(url, seen)
        begin(proof, 8)
        proof.budget(PROGRAMMES[1], POOLS[1], 5)
        proof.ask(MEMBERS[0], 2, 2 * HOUR, 1, NONE)
        proof.settle_down()
        proof.store.close()
        begun.append(proof)

    def reached(url: str, fault: Fault) -> Mapping[str, int]:
        proof = Proving(url, seen, begun[0])
        operation(proof, proof.active()[0], fault)
        reached = proof.reached
        proof.settle_down()
        proof.compare()
        for asked in proof.asked:
            proof.ask_again(asked, NONE)
        proof.wind_up()
        proof.store.close()
        return reached

    with sqlite_copies(request, prepare) as new_database:
        for point, times in reached(new_database(), NONE).items():
            for nth, kind in product(range(1, times + 1), KINDS):
                reached(new_database(), Fault(point, nth, kind))
    assert {*POINTS[:3]} <= seen.keys()


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize(
    ("copies", "runs"),
    [pytest.param(sqlite_copies, 20, id="sqlite"),
     pytest.param(postgres_copies, 5, id="postgres", marks=pytest.mark.postgres)],
)  # fmt: skip
def test_the_ledger_says_what_an_oracle_says(
    copies: Callable[..., AbstractContextManager[Callable[[], str]]],
    runs: int,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)  # what breaks off is told in the log, at length
    seen: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    with copies(request) as new_database:
        machine = type("Machine", (LedgerMachine,), {"new_database": staticmethod(new_database), "seen": seen})
        while True:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=runs, stateful_step_count=40, derandomize=not SECONDS, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )  # fmt: skip
            if time.monotonic() > until:
                break
    # What was not tried proves nothing; a few runs cannot try everything.
    tried = {f"ended by {reason}" for reason in ("user", "admin", "deadline", "lost", "engine")}
    tried |= {f"{what} {came}" for what in ("ask", "extend", "correct") for came in ("allowed", "refused")}
    assert runs < 20 or tried - seen.keys() == set()
