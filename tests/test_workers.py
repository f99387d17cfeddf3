"""Leases of workers: asked for together, near their kernel, and never longer than it. On every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nvlhub.engines.base import EngineError, Handle, Task
from nvlhub.errors import BadInputError, ConflictError, NotFoundError
from nvlhub.flow.lease import End
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import Beat, Beats, EndReason, Kind, LeaseView, State, WorkersAsk
from tests.conftest import HandClock
from tests.portal_kit import GRACE, MAILBOX, RESEARCHER, Kit, StepRunner, kit

OTHER = Visitor("instructor")
HOUR = 3600


def ask(portal: Kit, count: int, who: Visitor = RESEARCHER, **more: object) -> list[LeaseView]:
    portal.keys += 1
    body = WorkersAsk(**{"project": "demo", "profile": "gpu1", "mailbox": MAILBOX, "count": count, **more})  # type: ignore[arg-type]
    return portal.desk.ask_together(who, body, f"key-{portal.keys}")[0]


def where(leases: list[LeaseView]) -> set[str]:
    return {share.domain for lease in leases for share in lease.placement}


def test_workers_are_placed_in_their_kernels_domain_and_held_no_longer_than_it(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, domains=2)
    kernel = portal.ask("gpu4", seconds=2 * HOUR)
    portal.step(600)
    workers = ask(portal, 8, parent=kernel.id, domain="nvl001")
    assert where(workers) == {"nvl001"}
    assert {worker.state for worker in workers} == {State.RUNNING}
    assert {(worker.kind, worker.parent, worker.gpus) for worker in workers} == {(Kind.WORKER, kernel.id, 1)}
    assert {worker.seconds for worker in workers} == {2 * HOUR - 600}
    found, total = portal.desk.leases(RESEARCHER, user="researcher", parent=kernel.id)
    assert (total, {lease.id for lease in found}) == (8, {worker.id for worker in workers})


def test_workers_overflow_into_another_domain_unless_they_are_pinned(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, domains=2, trays=2)
    kernel = portal.ask("gpu4")
    assert where(ask(portal, 6, parent=kernel.id, domain="nvl001")) == {"nvl001", "nvl002"}
    waiting = ask(portal, 4, parent=kernel.id, domain="nvl002", pinned=True)
    assert [worker.state for worker in waiting].count(State.HELD) == 0
    more = ask(portal, 1, parent=kernel.id, domain="nvl001")
    assert where(more) == {"nvl002"}


def test_pinned_workers_wait_for_their_domain_even_when_another_has_room(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, domains=2, trays=2)
    kernel, full = portal.ask("gpu4"), portal.ask("gpu4")
    assert {share.domain for share in full.placement} == {"nvl001"}
    [worker] = ask(portal, 1, parent=kernel.id, domain="nvl001", pinned=True)
    assert (worker.state, worker.position) == (State.HELD, 1)
    portal.desk.end(RESEARCHER, full.id)
    portal.step(1)
    assert where([portal.seen(worker)]) == {"nvl001"}


def test_more_than_a_domain_can_ever_hold_is_refused_before_anything_is_held(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, domains=2, trays=2)
    kernel = portal.ask("gpu4")
    with pytest.raises(ConflictError) as caught:
        ask(portal, 5, parent=kernel.id, domain="nvl001", pinned=True)
    assert (caught.value.slug, caught.value.members["largest_count"]) == ("never-fit-domain", 4)
    with pytest.raises(ConflictError):
        ask(portal, 13, parent=kernel.id)
    with pytest.raises(NotFoundError):
        ask(portal, 1, domain="moon", pinned=True)
    assert len(portal.runner.board.leases) == 1
    assert portal.broken() == []


def test_all_or_none_is_admitted_and_the_refusal_says_how_many_would_be(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    with store.writing() as unit:
        unit.set_member("demo", "researcher", "pi", cap=5)
    with pytest.raises(ConflictError) as caught:
        ask(portal, 8)
    members = caught.value.members
    assert (caught.value.slug, members["gpus"], members["largest_count"], members["largest_gpus"]) == (
        "cap-member", 8, 5, 5,
    )  # fmt: skip
    assert members["hold"] == 8 * 4 * HOUR * 1000
    assert portal.runner.board.leases == {}
    assert len(ask(portal, int(str(members["largest_count"])))) == 5
    assert portal.broken() == []


def test_a_balance_that_is_too_low_for_all_says_the_time_that_would_do(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    with pytest.raises(ConflictError) as caught:
        ask(portal, 4, project="demo-small", seconds=HOUR)
    members = caught.value.members
    assert (caught.value.slug, members["largest_count"], members["longest_gpus"]) == ("balance-too-low", 2, 4)
    assert len(ask(portal, 4, project="demo-small", seconds=members["longest_seconds"])) == 4


def test_what_there_is_no_room_for_waits_or_is_left_out(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    assert len(ask(portal, 4, wait=False, gpus=1)) == 4
    with pytest.raises(ConflictError) as caught:
        ask(portal, 1, wait=False)
    assert caught.value.slug == "no-room"
    [waiting] = ask(portal, 1)
    assert waiting.state is State.HELD
    with pytest.raises(ConflictError):
        ask(portal, 1, wait=False)


def test_the_end_of_a_kernels_lease_is_the_end_of_its_workers(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    kernel, other = portal.ask("gpu4"), portal.ask("gpu1", who=OTHER)
    workers = ask(portal, 4, parent=kernel.id)
    assert [worker.state for worker in workers] == [State.RUNNING] * 3 + [State.HELD]
    portal.step(10)
    portal.desk.end(RESEARCHER, kernel.id)
    for _ in range(3):
        portal.step(1)
    ended = [portal.seen(worker) for worker in workers]
    assert {(worker.state, worker.end_reason) for worker in ended} == {(State.SETTLED, EndReason.USER)}
    assert [worker.charged > 0 for worker in ended] == [True, True, True, False]
    assert portal.seen(other).state is State.RUNNING
    assert portal.broken() == []


def test_a_lost_kernel_loses_its_workers_and_a_restart_of_the_portal_forgets_none(
    store: Store, clock: HandClock
) -> None:
    portal = kit(store, clock)
    kernel = portal.ask("gpu4")
    workers = ask(portal, 2, parent=kernel.id)
    portal.restart()
    for _ in range(GRACE + 5):
        clock.forward(1)
        for worker in workers:
            portal.runner.beat(worker.id, 0)
        portal.runner.step()
    assert {portal.seen(worker).end_reason for worker in workers} == {EndReason.LOST}
    assert portal.free() == 72
    assert portal.broken() == []


def test_a_key_gives_the_same_workers_again_and_none_twice(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    body = WorkersAsk(project="demo", profile="gpu1", mailbox=MAILBOX, count=3)
    first, fresh = portal.desk.ask_together(RESEARCHER, body, "k")
    again, repeated = portal.desk.ask_together(RESEARCHER, body, "k")
    assert ([lease.id for lease in first], fresh, repeated) == ([lease.id for lease in again], True, False)
    assert portal.free() == 69


def test_a_worker_belongs_to_an_own_running_kernel_or_to_none(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    kernel = portal.ask("gpu1")
    with pytest.raises(NotFoundError):
        ask(portal, 1, who=OTHER, parent=kernel.id)
    [worker] = ask(portal, 1, parent=kernel.id)
    with pytest.raises(ConflictError):
        ask(portal, 1, parent=worker.id)
    with pytest.raises(BadInputError):
        portal.ask("gpu1", parent=kernel.id)
    portal.desk.end(RESEARCHER, kernel.id)
    with pytest.raises((ConflictError, NotFoundError)):
        ask(portal, 1, parent=kernel.id)


def test_many_beats_are_one_call_and_tell_only_the_holder(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    mine, theirs = ask(portal, 2), portal.ask("gpu1", who=OTHER)
    clock.forward(HOUR - 60)
    beats = Beats(beats={lease.id: Beat(idle_seconds=HOUR - 60) for lease in [*mine, theirs]} | {"nope": Beat()})
    told = portal.desk.beat_all(RESEARCHER, beats, "en")
    assert [answer.lease.id for answer in told] == [lease.id for lease in mine]
    assert all("given back in" in answer.warn for answer in told)


def test_many_starts_take_as_many_transactions_as_one(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = kit(store, clock, domains=2)
    begun: list[int] = []
    real = store.writing
    monkeypatch.setattr(store, "writing", lambda: begun.append(1) or real())
    counts = []
    for count in (1, 30):
        begun.clear()
        workers = ask(portal, count)
        assert {worker.state for worker in workers} == {State.RUNNING}
        counts.append(len(begun))
    assert counts[0] == counts[1]


def test_one_that_cannot_be_saved_does_not_keep_the_others_waiting(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=3)
    gone = portal.ask()
    portal.desk.end(RESEARCHER, gone.id)
    portal.step(1)
    # The database knows of a holder that the run loop does not.
    row = {"pool": "main", "domain": "nvl001", "tray": 2, "gpu": 0, "lease": gone.id}
    with store.writing() as unit:
        unit.connection.execute(t.holdings.insert(), [row])
    workers = ask(portal, 3, profile="gpu4")
    assert sorted(worker.state for worker in workers) == [State.HELD, State.RUNNING, State.RUNNING]
    with store.writing() as unit:
        unit.connection.execute(t.holdings.delete().where(t.holdings.c.lease == gone.id))
    portal.step(1)
    assert {portal.seen(worker).state for worker in workers} == {State.RUNNING}
    assert portal.broken() == []


def test_an_engine_that_fails_with_one_start_goes_on_with_the_others(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = kit(store, clock)
    real, tasks = portal.engine.start, []

    def start(task: Task) -> Iterator[Handle]:
        tasks.append(task)
        number, steps = len(tasks), real(task)
        yield next(steps)
        if number == 2:
            raise RuntimeError("a bug of the engine")
        if number == 3:
            raise EngineError("no such node")
        yield from steps

    monkeypatch.setattr(portal.engine, "start", start)
    workers = ask(portal, 4)
    portal.step(1)
    seen = [portal.seen(worker) for worker in workers]
    # What a bug has left in the middle is tried again.
    assert [lease.state for lease in seen] == [State.RUNNING, State.RUNNING, State.SETTLED, State.RUNNING]
    assert "no such node" in seen[2].detail
    assert portal.broken() == []


def test_whatever_was_said_of_a_lease_in_one_turn_everybody_is_answered(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    [one], [other] = ask(portal, 1), ask(portal, 1)
    end = End(EndReason.USER, clock.now())
    told = [super(StepRunner, portal.runner).tell(lease.id, end, "researcher") for lease in (one, one, other)]
    told.append(super(StepRunner, portal.runner).tell("unknown", end, "researcher"))
    portal.runner.step()
    assert [answer.exception() is None for answer in told] == [True, False, True, False]
    assert {portal.seen(lease).end_reason for lease in (one, other)} == {EndReason.USER}
    portal.step(1)
    assert portal.broken() == []
