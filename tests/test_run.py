"""The run loop over a scripted engine, on every database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from nvlhub.engines.base import Handle, Sight, Sighting
from nvlhub.engines.scripted import Script
from nvlhub.errors import BadInputError, ConflictError, NotFoundError
from nvlhub.store import Store
from nvlhub.visitor import Visitor
from nvlhub.wire import Beat, EndReason, Extend, LeaseAsk, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, GRACE, MAILBOX, RESEARCHER, kit

OTHER = Visitor("instructor")


def test_a_lease_is_charged_to_the_second(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask("gpu2")
    assert lease.state is State.RUNNING
    assert lease.devices == ("SIM-nvl001-t01-g0", "SIM-nvl001-t01-g1")
    portal.step(5)
    portal.step(37)
    ended = portal.desk.end(RESEARCHER, lease.id)
    portal.step(2)
    settled = portal.seen(ended)
    assert (settled.state, settled.charged, settled.end_reason) == (State.SETTLED, 2 * 42 * 1000, EndReason.USER)
    assert portal.free() == 72
    assert portal.broken() == []


def test_what_began_while_the_engine_was_looked_at_began_then(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, scripts={"*": Script(pending=2)})
    lease, look = portal.ask(), portal.engine.look

    def slow(tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        clock.forward(2)
        now = clock.now()
        return {
            lease_id: replace(sighting, began=now if sighting.sight is Sight.RUNNING else None)
            for lease_id, sighting in look(tasks).items()
        }

    portal.engine.look = slow  # type: ignore[method-assign]
    while portal.seen(lease).state is not State.RUNNING:
        portal.step()
    assert portal.seen(lease).started_at == clock.now()


def test_waiting_costs_nothing_and_starts_in_turn(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    first, second, third = portal.ask("gpu4"), portal.ask("gpu4"), portal.ask("gpu1")
    assert (first.state, second.state, third.state) == (State.RUNNING, State.HELD, State.HELD)
    assert (second.position, third.position) == (1, 2)
    assert second.expected_start == first.deadline
    for _ in range(10):
        portal.step(10)
    portal.desk.end(RESEARCHER, first.id)
    portal.step(1)
    assert portal.seen(second).state is State.RUNNING
    assert portal.seen(third).position == 1
    portal.desk.end(RESEARCHER, third.id)
    assert portal.seen(third).charged == 0
    portal.desk.end(RESEARCHER, second.id)
    portal.step(1)
    assert portal.free() == 4
    assert portal.broken() == []


def test_silence_ends_a_lease_and_costs_the_grace_at_most(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.step(10)
    for _ in range(30):
        portal.step(1, beats=False)
    portal.step(1, beats=False)
    settled = portal.seen(lease)
    assert (settled.state, settled.end_reason) == (State.SETTLED, EndReason.LOST)
    assert 10_000 <= settled.charged <= (10 + GRACE + 1) * 1000
    assert portal.broken() == []


def test_what_the_portal_itself_stood_still_for_is_nobodys_silence(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.step(10)
    # A machine that is paused: its monotonic clock and the portal's go on meanwhile.
    portal.runner._looked -= 3600
    portal.step(3600, beats=False)
    portal.step(GRACE, beats=False)
    assert portal.seen(lease).state is State.RUNNING
    portal.step(1, beats=False)
    portal.step(1, beats=False)
    assert portal.seen(lease).end_reason is EndReason.LOST
    assert portal.broken() == []


def test_a_task_that_vanishes_is_lost_and_one_that_the_machine_broke_is_refunded(
    store: Store, clock: HandClock
) -> None:
    scripts = {"researcher": Script(runs=3), "instructor": Script(runs=3, then=Sight.BROKEN)}
    portal = kit(store, clock, scripts)
    lost, broken = portal.ask(), portal.ask(who=OTHER)
    for _ in range(8):
        portal.step(5)
    assert portal.seen(lost).end_reason is EndReason.LOST
    settled = portal.seen(broken)
    assert settled.end_reason is EndReason.ENGINE
    assert settled.refunded == settled.charged > 0
    assert portal.broken() == []


def test_an_engine_that_refuses_says_why_and_costs_nothing(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, {"*": Script(refuses="the node is on fire")})
    portal.ask()
    portal.step(1)
    [ended], _ = portal.desk.leases(RESEARCHER, user="researcher", state="ended")
    assert (ended.state, ended.charged) == (State.SETTLED, 0)
    assert "the node is on fire" in ended.detail
    assert portal.broken() == []


@pytest.mark.parametrize("ending", [0, 3])
def test_a_restart_goes_on_where_it_stood(store: Store, clock: HandClock, ending: int) -> None:
    portal = kit(store, clock, {"*": Script(ending=ending)}, trays=1)
    running, waiting = portal.ask("gpu4"), portal.ask("gpu1")
    portal.step(20)
    clock.forward(1000)
    portal.restart()
    assert (portal.seen(running).state, portal.seen(waiting).state) == (State.RUNNING, State.HELD)
    portal.desk.end(RESEARCHER, running.id)
    portal.restart()
    for _ in range(5):
        portal.step(1)
    settled = portal.seen(running)
    assert (settled.state, settled.charged) == (State.SETTLED, 4 * 1020 * 1000)
    assert portal.seen(waiting).state is State.RUNNING
    assert portal.broken() == []


def test_a_restart_ends_what_died_meanwhile(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.step(10)
    portal.engine.played.clear()  # type: ignore[attr-defined]
    clock.forward(5000)
    portal.restart()
    portal.step(1)
    settled = portal.seen(lease)
    assert settled.end_reason is EndReason.LOST
    assert settled.charged <= (10 + GRACE) * 1000
    assert portal.broken() == []


def test_a_task_without_a_lease_is_stopped(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.engine.played["stray"] = portal.engine.played[lease.id]  # type: ignore[attr-defined]
    portal.step(1)
    assert portal.engine.played["stray"].stopped  # type: ignore[attr-defined]


def test_the_deadline_ends_a_lease_with_the_whole_hold_charged(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask(seconds=60)
    for _ in range(14):
        portal.step(5)
    settled = portal.seen(lease)
    assert (settled.end_reason, settled.charged) == (EndReason.DEADLINE, 60_000)


def test_idleness_ends_a_lease(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    clock.forward(3500)
    answer = portal.desk.beat(RESEARCHER, lease.id, Beat(idle_seconds=3500), "en")
    assert "given back in" in answer.warn
    portal.runner.step()
    clock.forward(100)
    portal.desk.beat(RESEARCHER, lease.id, Beat(idle_seconds=3600), "en")
    portal.runner.step()
    portal.runner.step()
    assert portal.seen(lease).end_reason is EndReason.IDLE


def test_more_time_is_paid_for_or_refused(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask("gpu1")
    longer = portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=3600))
    assert longer.deadline == (lease.deadline or 0) + 3600
    with pytest.raises(BadInputError):
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=4 * 3600))
    small = portal.ask("gpu1", project="demo-small", seconds=7200)
    with pytest.raises(ConflictError) as caught:
        portal.desk.extend(RESEARCHER, small.id, Extend(seconds=60))
    assert caught.value.slug == "extend-balance"
    assert portal.broken() == []


def test_the_same_key_starts_once_and_another_body_is_refused(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    body = LeaseAsk(project="demo", profile="gpu1", mailbox=MAILBOX)
    first, fresh = portal.desk.ask(RESEARCHER, body, "k")
    again, repeated = portal.desk.ask(RESEARCHER, body, "k")
    assert (first.id, fresh, repeated) == (again.id, True, False)
    with pytest.raises(ConflictError) as caught:
        portal.desk.ask(RESEARCHER, body.model_copy(update={"profile": "gpu2"}), "k")
    assert caught.value.slug == "key-reused"
    assert portal.free() == 71


def test_a_stopped_server_gives_everything_back(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    running, waiting = portal.ask("gpu4"), portal.ask("gpu1")
    assert set(portal.desk.server_stopped(Visitor("hub", hub=True), "researcher/")) == {running.id, waiting.id}
    portal.step(1)
    assert {portal.seen(running).state, portal.seen(waiting).state} == {State.SETTLED}
    assert portal.free() == 4


def test_others_cannot_see_or_end_a_lease(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    for forbidden in (portal.desk.lease, portal.desk.end):
        with pytest.raises(NotFoundError):
            forbidden(OTHER, lease.id)
    assert portal.desk.end(ADMIN, lease.id).end_reason is EndReason.ADMIN


def test_a_drained_tray_takes_nothing_new(store: Store, clock: HandClock) -> None:
    from nvlhub.forms import Service  # noqa: PLC0415

    portal = kit(store, clock, trays=2)
    portal.registry.capacity.set_service(ADMIN, "main", "nvl001", Service(in_service=False, tray=1))
    portal.step(1)
    assert portal.ask("gpu1").placement[0].tray == 2
    with pytest.raises(ConflictError) as caught:
        portal.ask("gpu8")
    assert caught.value.slug == "never-fits"


def test_a_clock_set_back_makes_no_time_run_twice(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    portal.step(10)
    clock.forward(-100)
    portal.runner.step()
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    assert portal.seen(lease).charged == 0
    assert portal.broken() == []
