"""A real portal and the oracle side by side: everything that moves GPU-hours is done to both, then they are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nvlhub.demo_data import PROFILES
from nvlhub.engines.base import Sight
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import Script
from nvlhub.errors import NvlhubError
from nvlhub.flow.awarding import RequestKind
from nvlhub.flow.request import Pool, Profile
from nvlhub.forms import (
    AwardPatch,
    Correction,
    Membership,
    NewAward,
    NewBudget,
    NewRequest,
    ProgrammePatch,
    ProjectPatch,
    Review,
    Revocation,
    UserPatch,
)
from nvlhub.store import Store
from nvlhub.visitor import Visitor
from nvlhub.wire import Extend, LeaseAsk, Span, WorkersAsk
from tests.conftest import START, HandClock
from tests.faults import Crash, Fault, Faults, FaultyEngine, FaultyStore, StumbleError
from tests.portal_kit import ADMIN, GRACE, MAILBOX, Kit, StepRunner
from tests.store.oracle import Facts, Oracle

HOUR, DAY, MILLI = 3600, 86_400, 3_600_000
GPUS = 8
PROJECTS = {"chem": "research", "bio": "research", "chips": "industry"}
"""Project: its programme."""
PROGRAMMES = sorted(set(PROJECTS.values()))
MEMBERS = [("researcher", "chem"), ("researcher", "bio"), ("researcher", "chips"), ("instructor", "chem")]
USERS = sorted({user for user, _ in MEMBERS})
POOLS = ["main", "other"]
"""Leases run in the first."""
LONGEST = {gpus: longest for _, _, gpus, longest in PROFILES}
CAPPED = [*((name,) for name in (*USERS, *PROJECTS, *PROGRAMMES)), *MEMBERS]
NONE = Fault()


def prepare(store: Store) -> None:
    """Two programmes, three projects, two pools; nothing is awarded yet."""
    with store.writing() as unit:
        for pool in POOLS:
            unit.set_pool(Pool(pool, "GB300", 1000, GPUS, GPUS))
        for user in (*USERS, ADMIN.name):
            unit.know_user(user, START)
        for programme in PROGRAMMES:
            unit.add_programme(programme, programme)
        for project, programme in PROJECTS.items():
            unit.add_project(project, project, programme)
        for user, project in MEMBERS:
            unit.set_member(project, user, _role(user))
        for name, title, gpus, longest in PROFILES:
            unit.publish(name, unit.add_profile(Profile(name, 0, title, POOLS[0], gpus, Span.DOMAIN, longest, HOUR)))


def _role(user: str) -> Any:
    return "pi" if user == "researcher" else "member"


class ToughRunner(StepRunner):
    """A turn that fails is taken again, as the loop's own thread does."""

    def step(self, *said: Any) -> None:
        try:
            super().step(*said)
        except Exception:  # noqa: BLE001  # as in the loop
            return


@dataclass
class Done:
    """What came of an operation. `broken`: by what it was broken off, after so many `commits`."""

    value: Any = None
    refused: str = ""
    broken: type[BaseException] | None = None
    commits: int = 0


class Proving:
    """Each operation takes a fault that may break it off.

    `seen` counts what was tried. `begun`: the database is a copy of that one's, so go on from there.
    """

    def __init__(self, url: str, seen: Counter[str], begun: Proving | None = None) -> None:
        self.seen = seen
        self.reached: Mapping[str, int] = {}
        """Points where the last operation could have been broken off."""
        self.faults = Faults()
        self.store = FaultyStore(url, self.faults)
        self.clock = HandClock()
        self.engine = FaultyEngine(SimulatedFloor(1, trays=2))
        self.engine.faults = self.faults
        self.engine.played = deepcopy(begun.engine.played) if begun else {}
        self.kit = Kit(self.store, self.clock, self.engine, loop=ToughRunner)
        self.oracle = deepcopy(begun.oracle) if begun else Oracle(PROGRAMMES)
        self.asked: list[Facts] = deepcopy(begun.asked) if begun else []
        self.ends: dict[str, set[str | None]] = {}
        self.listening = START

    # --- what all operations need -----------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.clock.now()

    def rows(self, query: str) -> list[Any]:
        with self.store.reading() as unit:
            return list(unit.connection.execute(sa.text(query)).all())

    def do(self, fault: Fault, operation: Callable[[], Any]) -> Done:
        """Do something to the portal; dead, it comes back."""
        done = Done()
        self.faults.arm(fault)
        try:
            done.value = operation()
        except NvlhubError as error:
            done.refused = error.slug if error.status < 500 else ""
            done.value = error
        except (Crash, StumbleError) as fault_come:
            done.value = fault_come
        assert self.faults.hit or not isinstance(done.value, BaseException) or done.refused, done.value
        done.commits, self.reached = self.faults.commits, self.faults.reached
        if self.faults.hit:
            done.broken = fault.kind
            self.seen[fault.point] += 1
        self.faults.arm(NONE)
        if done.broken is Crash:
            self.come_back()
        return done

    def happened(self, name: str, done: Done, *, allowed: bool) -> bool:
        """Tell whether an operation came about: broken off, if it was answered or its unit, the first one, committed."""
        self.seen[f"{name} {'broken off' if done.broken else 'allowed' if allowed else 'refused'}"] += 1
        if done.broken:
            return allowed and (done.commits > 0 or not isinstance(done.value, BaseException))
        assert allowed is not bool(done.refused), (name, done.refused)
        return allowed

    def come_back(self) -> None:
        """Forget all that was not saved: signs of life may be older then, and silence counts from now."""
        for row in self.rows("SELECT id, beat_at, asked_at FROM leases WHERE state <> 'settled'"):
            if row.id in self.oracle.leases:
                self.oracle.leases[row.id]["beat"] = row.beat_at or row.asked_at
        self.listening = self.now
        self.kit.restart()

    def active(self) -> list[str]:
        return [lease for lease, facts in self.oracle.leases.items() if not facts["settled"]]

    def settle_down(self) -> None:
        """Let the loop turn until nothing is on its way, then see what became of every lease."""
        for _ in range(4):
            self.kit.runner.step()
        if self.engine.refused:
            # Where the portal died before it could say so, it was started again.
            self.ends[self.engine.refused] = self.ends.get(self.engine.refused, {None}) | {"engine"}
            self.engine.refused = ""
        for row in self.rows("SELECT id, state, started_at, ended_at, end_reason FROM leases ORDER BY number"):
            if not self.oracle.leases[row.id]["settled"]:
                self._see(row)
        self.ends.clear()
        self.oracle.sweep(self.now)

    def _see(self, row: Any) -> None:
        facts = self.oracle.leases[row.id]
        if facts["started"] is None and row.started_at is not None:
            assert row.started_at == self.now
            facts["started"], facts["beat"] = row.started_at, max(facts["beat"], row.started_at)
        assert row.started_at == facts["started"]
        reason = row.end_reason if row.state == "settled" else None
        assert reason in self.ends.get(row.id, {None}), (row.id, row.state, reason, self.ends.get(row.id))
        if reason is not None:
            assert row.ended_at == self.now
            self.seen[f"ended by {reason}"] += 1
            self.oracle.settle(row.id, reason, self.now, GRACE)

    # --- budgets and awards -----------------------------------------------------------------------------------

    def budget(self, programme: str, pool: str, hours: int, fault: Fault = NONE) -> None:
        new = NewBudget(gpu_hours=hours)
        done = self.do(fault, lambda: self.kit.registry.directory.set_budget(ADMIN, programme, pool, new))
        _, awarded = self.oracle.budgets.get((programme, pool), (0, 0))
        if self.happened("budget", done, allowed=hours * MILLI >= awarded):
            self.oracle.budgets[programme, pool] = [hours * MILLI, awarded]

    def award(self, project: str, pool: str, hours: int, days: int, cap: int | None, fault: Fault = NONE) -> None:
        facts = {"project": project, "pool": pool, "starts": self.now, "ends": self.now + days * DAY, "cap": cap}
        new = NewAward(**facts, gpu_hours=hours)  # type: ignore[arg-type]
        done = self.do(fault, lambda: self.kit.registry.awards.add_award(ADMIN, new))
        if self.happened("award", done, allowed=self._affords(project, pool, hours * MILLI)):
            self._awarded(hours * MILLI, **facts)

    def _affords(self, project: str, pool: str, amount: int) -> bool:
        granted, awarded = self.oracle.budgets.get((PROJECTS[project], pool), (0, 0))
        return awarded + amount <= granted

    def _awarded(self, amount: int, **facts: Any) -> None:
        [new] = [row.id for row in self.rows("SELECT id FROM awards") if row.id not in self.oracle.awards]
        self.oracle.award(new, amount, programme=PROJECTS[facts["project"]], **facts)

    def supplement(self, award: int, hours: int, fault: Fault) -> None:
        facts = self.oracle.awards[award]
        done = self._decided(award, RequestKind.SUPPLEMENT, fault, hours, gpu_hours=hours + 5)
        if done and self.happened(
            "supplement", done, allowed=self._affords(facts["project"], facts["pool"], hours * MILLI)
        ):
            self.oracle.supplement(award, hours * MILLI)

    def transfer(self, award: int, hours: int, fault: Fault) -> None:
        facts = self.oracle.awards[award]
        [pool] = {*POOLS} - {facts["pool"]}
        done = self._decided(award, RequestKind.TRANSFER, fault, None, gpu_hours=hours, pool=pool)
        enough = self.oracle.left(award) >= hours * MILLI and self._affords(facts["project"], pool, hours * MILLI)
        if done and self.happened("transfer", done, allowed=enough):
            self.oracle.give_back(award, hours * MILLI)
            same = {name: facts[name] for name in ("project", "starts", "ends")}
            self._awarded(hours * MILLI, **same, pool=pool, cap=None)

    def _decided(
        self, award: int, kind: RequestKind, fault: Fault, granted: int | None, **facts: Any
    ) -> Done | None:  # fmt: skip
        """Ask for a change of an award and have it approved; None: it cannot even be asked for."""
        new = NewRequest(
            project=self.oracle.awards[award]["project"], kind=kind, award=str(award), reasons="x", **facts
        )
        asked = self.do(NONE, lambda: self.kit.registry.awards.ask(Visitor("researcher"), new))
        if not self.happened("request", asked, allowed=not self.oracle.over(award, self.now)):
            return None
        review = Review(verdict="approve", gpu_hours=granted, reason="x")
        return self.do(fault, lambda: self.kit.registry.awards.review(ADMIN, int(asked.value.id), review))

    def change_end(self, award: int, days: int, fault: Fault) -> None:
        facts, patch = self.oracle.awards[award], AwardPatch(ends=self.now + days * DAY)
        done = self.do(fault, lambda: self.kit.registry.awards.change_award(ADMIN, award, patch, "*"))
        paid_until = [
            (lease["started"] or self.now) + lease["seconds"]
            for lease in self.oracle.leases.values()
            if lease["award"] == award and not lease["settled"]
        ]
        allowed = not self.oracle.over(award, self.now) and patch.ends > self.now and patch.ends > facts["starts"]
        if self.happened("change end", done, allowed=allowed and patch.ends >= max(paid_until, default=0)):
            facts["ends"] = patch.ends

    def revoke(self, award: int, fault: Fault) -> None:
        done = self.do(fault, lambda: self.kit.registry.awards.revoke(ADMIN, award, Revocation(reason="misuse")))
        if self.happened("revoke", done, allowed=not self.oracle.over(award, self.now)):
            self.oracle.awards[award]["revoked"] = True

    def cap_award(self, award: int, cap: int | None, fault: Fault) -> None:
        patch = AwardPatch(cap=cap)
        done = self.do(fault, lambda: self.kit.registry.awards.change_award(ADMIN, award, patch, "*"))
        if self.happened("cap of award", done, allowed=True):
            self.oracle.awards[award]["cap"] = cap

    # --- caps and factors -------------------------------------------------------------------------------------

    def cap(self, whose: tuple[str, ...], cap: int | None, fault: Fault) -> None:
        directory, name = self.kit.registry.directory, whose[0]

        def change() -> None:
            if len(whose) == 2:
                directory.set_member(ADMIN, whose[1], name, Membership(role=_role(name), cap=cap))
            elif name in USERS:
                directory.change_user(ADMIN, name, UserPatch(cap=cap), "*")
            elif name in PROJECTS:
                directory.change_project(ADMIN, name, ProjectPatch(cap=cap), "*")
            else:
                directory.change_programme(ADMIN, name, ProgrammePatch(cap=cap), "*")

        if self.happened("cap", self.do(fault, change), allowed=True):
            self.oracle.caps[whose] = cap

    def factor(self, programme: str, factor: int, fault: Fault) -> None:
        patch = ProgrammePatch(factor_milli=factor)
        done = self.do(fault, lambda: self.kit.registry.directory.change_programme(ADMIN, programme, patch, "*"))
        if self.happened("factor", done, allowed=True):
            self.oracle.factors[programme] = factor

    # --- leases -----------------------------------------------------------------------------------------------

    def ask(self, who: tuple[str, str], gpus: int, seconds: int, count: int, fault: Fault) -> None:
        user, project = who
        self.asked.append(
            {"key": f"key-{len(self.asked)}", "user": user, "project": project, "programme": PROJECTS[project],
             "gpus": gpus, "seconds": seconds, "count": count, "leases": None}
        )  # fmt: skip
        self.ask_again(self.asked[-1], fault)

    def ask_again(self, asked: Facts, fault: Fault) -> None:
        """Ask with a key: what was granted once is answered, what was not is decided now."""
        body = {
            "project": asked["project"], "profile": f"gpu{asked['gpus']}", "seconds": asked["seconds"], "mailbox": MAILBOX,
        }  # fmt: skip
        visitor, desk = Visitor(asked["user"]), self.kit.desk

        def ask() -> tuple[list[str], bool]:
            if asked["count"] == 1:
                lease, fresh = desk.ask(visitor, LeaseAsk(**body), asked["key"])
                return [lease.id], fresh
            leases, fresh = desk.ask_together(visitor, WorkersAsk(**body, count=asked["count"]), asked["key"])
            return [lease.id for lease in leases], fresh

        done = self.do(fault, ask)
        if asked["leases"] is not None:
            self.seen["ask again"] += 1
            assert done.broken or done.value == (asked["leases"], False)
            return
        who = {name: asked[name] for name in ("user", "project", "programme")}
        payers = self.oracle.payers(who, asked["gpus"], asked["seconds"], asked["count"], self.now)
        if self.happened("ask", done, allowed=payers is not None):
            known = self.oracle.leases
            new = [row.id for row in self.rows("SELECT id FROM leases ORDER BY number") if row.id not in known]
            assert done.broken or done.value == (new, True)
            asked["leases"] = new
            for lease, payer in zip(new, payers or (), strict=True):
                self.oracle.hold(lease, payer, who, asked["gpus"], asked["seconds"], self.now)

    def ask_for_something_else(self, asked: Facts) -> None:
        body = LeaseAsk(project=asked["project"], profile="gpu1", seconds=61, mailbox=MAILBOX)
        done = self.do(NONE, lambda: self.kit.desk.ask(Visitor(asked["user"]), body, asked["key"]))
        assert done.refused == "key-reused"

    def end(self, lease: str, fault: Fault) -> None:
        visitor = Visitor(self.oracle.leases[lease]["user"])
        if self.happened("end", self.do(fault, lambda: self.kit.desk.end(visitor, lease)), allowed=True):
            self.ends[lease] = {"user"}

    def break_down(self, lease: str, fault: Fault, *, vanishes: bool) -> None:
        """The task of a lease vanishes, or the machine breaks under it."""
        if vanishes:
            del self.engine.played[lease]
        else:
            self.engine.played[lease].script = Script(runs=0, then=Sight.BROKEN)
        self.do(fault, self.kit.runner.step)
        self.ends[lease] = {"lost" if vanishes else "engine"}

    def extend(self, lease: str, seconds: int, fault: Fault) -> None:
        facts = self.oracle.leases[lease]
        done = self.do(
            fault, lambda: self.kit.desk.extend(Visitor(facts["user"]), lease, Extend(seconds=seconds))
        )  # fmt: skip
        longer = facts["seconds"] + seconds
        allowed = (
            facts["started"] is not None
            and longer <= 2 * LONGEST[facts["gpus"]]
            and self.oracle.left(facts["award"]) >= seconds * facts["rate"]
            and facts["started"] + longer <= self.oracle.awards[facts["award"]]["ends"]
        )
        if self.happened("extend", done, allowed=allowed):
            self.oracle.extend(lease, seconds)

    def correct(self, lease: str, seconds: int, fault: Fault) -> None:
        wrong = Correction(lease=lease, gpu_seconds=seconds, reason="counted wrongly")
        done = self.do(fault, lambda: self.kit.registry.ledger.correct(ADMIN, wrong))
        amount, award = seconds * 1000, self.oracle.leases[lease]["award"]
        allowed = self.oracle.paid(lease) + amount >= 0 and (amount < 0 or self.oracle.left(award) >= amount)
        if self.happened("correct", done, allowed=allowed):
            self.oracle.correct(lease, amount)

    def pass_time(self, seconds: int, silent: str | None, fault: Fault) -> None:
        """Let time pass; everybody but `silent` says that they are alive."""
        self.clock.forward(seconds)
        lost = silent and self.now - max(self.oracle.leases[silent]["beat"], self.listening) > GRACE

        def live() -> None:
            for lease in self.active():
                if lease != silent and self.kit.runner.beat(lease, 0):
                    self.oracle.leases[lease]["beat"] = self.now
            self.kit.runner.step()

        done = self.do(fault, live)
        if silent and lost:
            # What was not lost before a crash lives on after it: its silence counts from there.
            self.ends[silent] = {"lost", None} if done.broken is Crash else {"lost"}
        for lease in self.active():
            facts = self.oracle.leases[lease]
            if facts["started"] is not None and self.now >= facts["started"] + facts["seconds"]:
                self.ends[lease] = {"deadline"}

    # --- the proof --------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """The database says what the oracle says, in its columns and in its journal."""
        budgets = {(row.programme, row.pool): [row.granted, row.awarded] for row in self.rows("SELECT * FROM budgets")}
        assert budgets == self.oracle.budgets
        awards, leases = self.rows("SELECT * FROM awards"), self.rows("SELECT * FROM leases")
        for rows, known, names in (
            (awards, self.oracle.awards, ("awarded", "charged", "held", "returned")),
            (leases, self.oracle.leases, ("award", "held", "charged", "refunded", "corrected")),
        ):
            said = {key: [facts[name] for name in names] for key, facts in known.items()}
            assert {row.id: [getattr(row, name) for name in names] for row in rows} == said
        fold = self.rows("SELECT account, SUM(amount) AS amount FROM postings GROUP BY account")
        assert {row.account: int(row.amount) for row in fold if row.amount} == self.oracle.accounts()
        assert sum(row.amount for row in fold) == 0

    def wind_up(self) -> None:
        """Everything can be ended; then every GPU is free again, and the ledger is proven right."""
        self.engine.refuses_next = False
        for lease in self.active():
            self.kit.desk.end(ADMIN, lease)
            self.ends[lease] = {"admin"}
        self.settle_down()
        assert self.active() == []
        self.compare()
        assert self.kit.broken() == []
        assert self.kit.free() == GPUS
        assert all(task.stopped for task in self.engine.played.values())
