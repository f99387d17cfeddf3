"""The engine's own records against the ledger, on every database."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import zmq

from nvlhub.engines.base import EngineError, Sight
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.errors import BadInputError, ConflictError, FailedError, NotFoundError
from nvlhub.flow.reconciliation import Action, DifferenceKind, Record
from nvlhub.forms import Correction, DifferenceClosing, DifferenceView, NewReconciliation, Reconciliation
from nvlhub.portal.service import Portal
from nvlhub.settings import Settings
from nvlhub.store import Store, verify
from nvlhub.store import tables as t
from nvlhub.wire import LeaseAsk, LeaseView, Mailbox, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, GRACE, RESEARCHER, Kit, kit

RAN = 100


def played(
    store: Store, clock: HandClock, script: Script | None = None, profile: str = "gpu2"
) -> tuple[Kit, LeaseView]:
    """A portal in which one lease ran for 100 s and is settled."""
    portal = kit(store, clock, {"*": script or Script()})
    return portal, run_once(portal, profile)


def run_once(portal: Kit, profile: str = "gpu2", project: str = "demo") -> LeaseView:
    lease = portal.ask(profile, project=project)
    for _ in range(RAN // 10):
        portal.step(10)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    return portal.seen(lease)


def reconcile(portal: Kit, since: int | None = None) -> Reconciliation:
    return portal.registry.reconciling.run(ADMIN, NewReconciliation(since=since))


def counted(found: Reconciliation) -> dict[str, int]:
    return {kind.value: count for kind, count in found.counts.items() if count}


def close(portal: Kit, difference: DifferenceView, action: str, reason: str = "looked into it") -> DifferenceView:
    body = DifferenceClosing(action=Action(action), reason=reason)
    return portal.registry.reconciling.close(ADMIN, int(difference.id), body)


def paid(portal: Kit, lease: LeaseView) -> int:
    """What the journal says that a lease was charged in the end."""
    written, _ = portal.registry.ledger.transactions(ADMIN, lease=lease.id)
    return sum(posting.amount for row in written for posting in row.postings if posting.account == "charged:main")


def engine_of(portal: Kit) -> ScriptedEngine:
    assert isinstance(portal.engine, ScriptedEngine)
    return portal.engine


def test_an_exact_charge_matches(store: Store, clock: HandClock) -> None:
    portal, _ = played(store, clock)
    running = portal.ask("gpu1")
    found = reconcile(portal)
    assert (counted(found), found.open, found.found) == ({"matched": 1}, 0, [])
    portal.desk.end(RESEARCHER, running.id)


def test_a_charge_within_the_tolerance_matches(store: Store, clock: HandClock) -> None:
    portal, _ = played(store, clock, Script(extra=-10))
    assert counted(reconcile(portal)) == {"matched": 1}
    assert counted(reconcile(portal, since=0)) == {"matched": 1}


def test_what_was_charged_beyond_the_records_is_given_back_by_rule_once(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=-40))
    left = portal.registry.awards.award(ADMIN, 1)[0].left
    found = reconcile(portal)
    [difference] = found.found
    assert (counted(found), found.open) == ({"amount": 1}, 0)
    assert (difference.kind, difference.ledger, difference.engine) == (DifferenceKind.AMOUNT, 2 * RAN, 2 * (RAN - 40))
    assert (difference.state, difference.closed_by, difference.project, difference.user) == (
        "closed", "rule", "demo", "researcher",
    )  # fmt: skip
    assert paid(portal, lease) == 2 * (RAN - 40) * 1000
    assert portal.registry.awards.award(ADMIN, 1)[0].left == left + 2 * 40 * 1000
    [written], _ = portal.registry.ledger.transactions(ADMIN, lease=lease.id, entry="correct")
    assert (written.key, written.corrects, written.actor) == (difference.correction, f"settle:{lease.id}", "rule")
    for _ in range(2):
        assert counted(reconcile(portal)) == {"matched": 1}
    assert portal.registry.ledger.transactions(ADMIN, lease=lease.id, entry="correct")[1] == 1
    [line] = portal.registry.ledger.audit(RESEARCHER, what=f"difference:{difference.id}")[0]
    assert (line.action, line.project, line.user, line.actor) == ("difference-correct", "demo", "researcher", "admin")
    assert portal.broken() == []


def test_many_who_reconcile_at_once_give_back_once(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=-40))
    read = threading.Barrier(4)
    real = portal.registry.reconciling._compared

    def together(*what: Any) -> Any:
        judged = list(real(*what))
        read.wait(60)
        return judged

    portal.registry.reconciling._compared = together  # type: ignore[method-assign]
    threads = [threading.Thread(target=reconcile, args=(portal,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert portal.registry.ledger.transactions(ADMIN, lease=lease.id, entry="correct")[1] == 1
    assert paid(portal, lease) == 2 * (RAN - 40) * 1000
    assert portal.broken() == []


def test_what_a_person_gave_back_meanwhile_is_not_given_back_again(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=-40))
    real = portal.registry.reconciling._compared

    def corrected_meanwhile(*what: Any) -> Any:
        judged = list(real(*what))
        body = Correction(lease=lease.id, gpu_seconds=-2 * 40, reason="asked for")
        portal.registry.ledger.correct(ADMIN, body)
        return judged

    portal.registry.reconciling._compared = corrected_meanwhile  # type: ignore[method-assign]
    assert reconcile(portal).open == 1
    portal.registry.reconciling._compared = real  # type: ignore[method-assign]
    found = reconcile(portal)
    assert (counted(found), found.open) == ({"matched": 1}, 0)
    assert paid(portal, lease) == 2 * (RAN - 40) * 1000
    [row], _ = portal.registry.reconciling.differences(ADMIN, state="closed")
    assert (row.closed_by, row.reason) == ("rule", "no longer so: it is matched now")


def test_a_person_corrects_upward_within_the_balance(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=500))
    found = reconcile(portal)
    [difference] = found.found
    assert (difference.state, difference.engine, found.open) == ("open", 2 * (RAN + 500), 1)
    closed = close(portal, difference, "correct")
    assert (closed.state, closed.closed_by, closed.reason) == ("closed", "admin", "looked into it")
    assert closed.correction.startswith(f"correct:{lease.id}:")
    assert paid(portal, lease) == 2 * (RAN + 500) * 1000
    assert counted(reconcile(portal)) == {"matched": 1}
    with pytest.raises(ConflictError, match="difference-closed"):
        close(portal, difference, "accept")
    assert portal.broken() == []


def test_what_the_award_cannot_pay_is_refused_and_stays_open(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=200 * 3600))
    [difference] = reconcile(portal).found
    with pytest.raises(ConflictError, match="difference-balance") as refused:
        close(portal, difference, "correct")
    assert refused.value.members["held"] == 2 * 200 * 3600 * 1000
    assert paid(portal, lease) == 2 * RAN * 1000
    [still], _ = portal.registry.reconciling.differences(ADMIN)
    assert still == difference
    assert close(portal, difference, "accept").correction == ""
    assert portal.registry.reconciling.differences(ADMIN)[1] == 0
    assert portal.broken() == []


def test_an_accepted_difference_stays_closed_until_the_amounts_change(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=500))
    [difference] = reconcile(portal).found
    close(portal, difference, "accept", "the node hung")
    found = reconcile(portal)
    assert (counted(found), found.open) == ({"amount": 1}, 0)
    assert found.found[0].reason == "the node hung"
    engine_of(portal).ended.append(Record(lease.id, 2, clock.now(), clock.now() + 50))
    clock.forward(10)
    found = reconcile(portal)
    [again] = found.found
    assert (again.id, again.state, again.engine) == (difference.id, "open", 2 * (RAN + 550))
    assert (again.reason, again.closed_at, again.found_at) == ("", None, clock.now())
    engine_of(portal).ended.append(Record(lease.id, 2, clock.now(), clock.now() + 50))
    [later] = reconcile(portal).found
    assert (later.found_at, later.engine) == (again.found_at, 2 * (RAN + 600))


def test_a_stranger_waits_for_a_person_who_can_only_accept(store: Store, clock: HandClock) -> None:
    portal, _ = played(store, clock, Script(stranger="nobody-knows-this-one-and-it-is-longer-than-a-lease"))
    found = reconcile(portal)
    [difference] = found.found
    assert (counted(found), found.open) == ({"matched": 1, "missing-lease": 1}, 1)
    assert (difference.ledger, difference.engine, difference.user) == (None, 2 * RAN, "")
    assert difference.lease == "nobody-knows-this-one-and-it-is-longer-than-a-lease"[:36]
    with pytest.raises(ConflictError, match="difference-no-lease"):
        close(portal, difference, "correct")
    assert reconcile(portal).open == 1
    close(portal, difference, "accept", "a test of mine")
    assert reconcile(portal).open == 0
    [line] = portal.registry.ledger.audit(ADMIN, what=f"difference:{difference.id}")[0]
    assert (line.project, line.user) == ("", "")


def test_a_lost_record_waits_for_a_person_who_can_give_all_of_it_back(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(unrecorded=True))
    found = reconcile(portal)
    [difference] = found.found
    assert (counted(found), difference.engine) == ({"missing-record": 1}, None)
    assert paid(portal, lease) == 2 * RAN * 1000
    close(portal, difference, "correct")
    assert paid(portal, lease) == 0
    assert counted(reconcile(portal)) == {"matched": 1}
    assert portal.broken() == []


def test_what_still_runs_after_it_was_settled_is_found_however_long_ago_that_was(
    store: Store, clock: HandClock
) -> None:
    portal, lease = played(store, clock)
    [record] = engine_of(portal).ended
    engine_of(portal).ended.clear()
    engine_of(portal).running[lease.id] = (Script(), Record(lease.id, 2, record.started_at, None))
    clock.forward(3 * 86_400)
    found = reconcile(portal)
    [difference] = found.found
    assert (counted(found), difference.engine) == ({"still-running": 1}, 2 * (RAN + 1 + 3 * 86_400))
    with pytest.raises(ConflictError, match="difference-running"):
        close(portal, difference, "correct")
    engine_of(portal).running.clear()
    engine_of(portal).ended.append(record)
    found = reconcile(portal, since=record.started_at)
    assert (counted(found), found.open) == ({"matched": 1}, 0)
    [row], _ = portal.registry.reconciling.differences(ADMIN, state="all")
    assert (row.closed_by, row.correction) == ("rule", "")


def test_only_what_ended_in_the_period_is_compared_and_with_all_its_runs(store: Store, clock: HandClock) -> None:
    portal, lease = played(store, clock, Script(extra=500))
    whole = engine_of(portal).ended.pop()
    middle = whole.started_at + 20
    # It was started twice, and the first run ended long before the period begins.
    engine_of(portal).ended += [
        Record(lease.id, 2, whole.started_at, middle),
        Record(lease.id, 2, middle, whole.started_at + RAN),
    ]
    clock.forward(86_400 - 10)
    assert counted(reconcile(portal)) == {"matched": 1}
    clock.forward(20)
    assert counted(reconcile(portal)) == {}
    assert counted(reconcile(portal, since=0)) == {"matched": 1}


def test_what_never_started_matches_and_what_costs_nothing_is_not_compared(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, {"researcher": Script(runs=3, then=Sight.BROKEN, extra=500)}, trays=1)
    refunded = portal.ask("gpu4")
    waiting = portal.ask("gpu1")
    portal.desk.end(RESEARCHER, waiting.id)
    for _ in range(8):
        portal.step(5)
    assert portal.seen(refunded).refunded > 0
    assert counted(reconcile(portal)) == {"matched": 1}
    run_once(portal)
    with store.writing() as unit:
        unit.connection.execute(t.leases.update().values(preemptible=sa.true()))
    assert counted(reconcile(portal)) == {}


def test_silence_and_a_portal_that_was_away_need_no_person(store: Store, clock: HandClock) -> None:
    portal, _ = played(store, clock)
    silent = portal.ask()
    portal.step(50)
    for _ in range(GRACE + 2):
        portal.step(1, beats=False)
    portal.step(1)
    assert portal.seen(silent).state == "settled"
    kept = portal.ask()
    clock.forward(5000)
    portal.restart()
    portal.step(10)
    portal.desk.end(RESEARCHER, kept.id)
    portal.step(1)
    assert counted(reconcile(portal)) == {"matched": 3}


def test_an_engine_that_cannot_tell_changes_nothing(store: Store, clock: HandClock) -> None:
    portal, _ = played(store, clock, Script(extra=-40))

    def records(since: int) -> list[Record]:
        raise EngineError("no accounting here")

    portal.engine.records = records  # type: ignore[method-assign]
    with pytest.raises(FailedError, match="engine-records"):
        reconcile(portal)
    assert portal.registry.reconciling.differences(ADMIN, state="all")[1] == 0


def test_a_time_to_come_and_an_unknown_difference_are_refused(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    with pytest.raises(BadInputError, match="since-future"):
        reconcile(portal, since=clock.now() + 1)
    with pytest.raises(NotFoundError, match="difference-unknown"):
        portal.registry.reconciling.close(ADMIN, 7, DifferenceClosing(action=Action.ACCEPT, reason="x"))


def test_a_real_agent_ran_as_long_as_its_lease_was_charged(tmp_path: Path) -> None:
    portal = Portal(Settings(data=tmp_path, simulate=1, run_as="portal", demo=True, tick=0.2))
    portal.open()
    mailbox = Mailbox(address="tcp://127.0.0.1:9", public_key=zmq.curve_keypair()[0].decode(), token="t" * 40)
    lease, _ = portal.desk.ask(RESEARCHER, LeaseAsk(project="demo", profile="gpu2", mailbox=mailbox), "k")
    try:
        time.sleep(2)
    finally:
        portal.desk.end(RESEARCHER, lease.id)
        while portal.desk.lease(RESEARCHER, lease.id).state is not State.SETTLED:
            time.sleep(0.1)
        portal.runner.stop()
    found = portal.registry.reconciling.run(ADMIN, NewReconciliation())
    [record] = portal.engine.records(0)
    assert (counted(found), record.gpus, (tmp_path / "accounting.jsonl").exists()) == ({"matched": 1}, 2, True)
    assert record.ended_at is not None
    assert abs(2 * (record.ended_at - record.started_at) - portal.desk.lease(RESEARCHER, lease.id).charged // 1000) <= 8
    with portal.store.reading() as unit:
        assert verify(unit) == []
    portal.close()
