"""The run loop over an engine that places tasks and keeps time by itself, on every database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from nvlhub.engines.base import AwayError, EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.errors import ConflictError
from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.queue import Running, Wait
from nvlhub.forms import NewReservation
from nvlhub.sightings import HELD_BACK
from nvlhub.store import Store
from nvlhub.text import say
from nvlhub.wire import Beat, EndReason, Extend, Share, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit


@dataclass
class OwnMind(ScriptedEngine):
    """Says of every task what it is told to say here, by lease."""

    says: dict[str, dict[str, Any]] = field(default_factory=dict)
    strangers: tuple[Running, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    refuses: bool = False
    started: list[Task] = field(default_factory=list)
    drained: set[int] = field(default_factory=set)
    """Trays that are out of service."""

    shut: bool = False

    def capacity(self) -> tuple[Domain, ...]:
        self.closed = self.shut
        return tuple(
            replace(
                domain, trays=tuple(replace(tray, in_service=tray.index not in self.drained) for tray in domain.trays)
            )
            for domain in super().capacity()
        )

    def start(self, task: Task) -> Iterator[Handle]:
        self.started.append(task)
        return super().start(task)

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        seen = super().look(tasks)
        return {lease: replace(sighting, **self.says.get(lease, {})) for lease, sighting in seen.items()}

    def others(self) -> tuple[Running, ...]:
        return self.strangers

    def extend(self, lease_id: str, handle: Handle, seconds: int) -> None:
        if self.refuses:
            raise AwayError("slurm-away") if self.away else EngineError("slurm-away")
        self.limits[lease_id] = seconds


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    return Kit(store, clock, OwnMind(SimulatedFloor(1), {"*": Script(pending=2)}, now=clock.now))


def mind(portal: Kit) -> OwnMind:
    assert isinstance(portal.engine, OwnMind)
    return portal.engine


def gpus(tray: int, *indices: int) -> Placement:
    return (Share(domain="nvl001", tray=tray, gpus=indices),)


def test_what_the_engine_gave_is_what_the_map_shows(portal: Kit) -> None:
    lease = portal.ask("gpu2")
    assert (lease.state, lease.placement) == (State.STARTING, gpus(1, 0, 1))
    mind(portal).says[lease.id] = {"placement": gpus(5, 2, 3)}
    portal.step(2)
    portal.step(2)
    seen = portal.seen(lease)
    assert (seen.state, seen.placement) == (State.RUNNING, gpus(5, 2, 3))
    assert portal.free() == 70
    portal.restart()
    assert portal.seen(lease).placement == gpus(5, 2, 3)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    assert portal.free() == 72
    assert portal.broken() == []


def test_two_leases_that_got_each_others_gpus_change_places(portal: Kit) -> None:
    first, second, third = portal.ask("gpu2"), portal.ask("gpu1"), portal.ask("gpu1")
    assert [lease.placement for lease in (first, second, third)] == [gpus(1, 0, 1), gpus(1, 2), gpus(1, 3)]
    says = mind(portal).says
    says[second.id] = {"placement": gpus(1, 0)}
    says[first.id] = {"placement": gpus(1, 2, 3)}
    says[third.id] = {"sight": Sight.PENDING}
    for _ in range(3):
        portal.step(1)
    assert portal.seen(first).placement == gpus(1, 2, 3)
    assert portal.seen(second).placement == gpus(1, 0)
    # It had one of those, and is to have what was left over.
    assert portal.seen(third).placement == gpus(1, 1)
    assert portal.free() == 68
    says[third.id] = {"placement": gpus(1, 1)}
    for lease in (first, second, third):
        portal.step(1)
        portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    assert portal.free() == 72
    assert portal.broken() == []


def test_the_engines_clock_is_charged_not_the_moment_of_seeing(portal: Kit) -> None:
    lease = portal.ask("gpu2")
    asked = portal.clock.now()
    for _ in range(2):
        portal.step(5)
    assert portal.seen(lease).state is State.STARTING or portal.seen(lease).started_at == asked + 10
    mind(portal).says[lease.id] = {"began": asked + 4}
    portal.restart()
    portal.step(0)
    began = portal.seen(lease).started_at
    portal.step(60)
    mind(portal).says[lease.id] = {"began": began, "ran": 63}
    ended = portal.desk.end(RESEARCHER, lease.id)
    portal.step(3)
    settled = portal.seen(ended)
    assert (settled.state, settled.charged) == (State.SETTLED, 2 * 63 * 1000)
    assert portal.broken() == []


def test_an_engine_that_is_slow_to_end_is_not_the_holders_to_pay(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    for _ in range(3):
        portal.step(1)
    began = portal.seen(lease).started_at
    assert began is not None
    portal.step(10)
    mind(portal).says[lease.id] = {"began": began, "ran": 5000}
    ended = portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    assert portal.seen(ended).charged == (portal.clock.now() - 1 - began + 60) * 1000


def test_what_began_and_ended_unseen_is_charged_by_the_engines_word(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    mind(portal).says[lease.id] = {"began": portal.clock.now(), "ran": 2}
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(2)
    assert portal.seen(lease).charged == 2000
    assert portal.broken() == []


def test_a_start_is_never_before_there_was_room_nor_in_the_future(portal: Kit) -> None:
    early, late = portal.ask("gpu1"), portal.ask("gpu1")
    now = portal.clock.now()
    mind(portal).says |= {early.id: {"began": now - 500}, late.id: {"began": now + 500}}
    for _ in range(3):
        portal.step(1)
    assert portal.seen(early).started_at == now
    assert now < (portal.seen(late).started_at or 0) <= portal.clock.now()


def test_what_ran_and_waits_again_is_paid_for(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    for _ in range(3):
        portal.step(1)
    assert portal.seen(lease).state is State.RUNNING
    mind(portal).says[lease.id] = {"sight": Sight.PENDING}
    portal.step(10)
    seen = portal.seen(lease)
    assert seen.end_reason is EndReason.LOST
    assert say("slurm-end-requeued", "en") in seen.detail
    # What the engine tells of a run that never was, or of a later one, is none of what was seen.
    for said in ({"began": None, "ran": 0}, {"began": portal.clock.now() + 5, "ran": 1}):
        mind(portal).says[lease.id] = {"sight": Sight.GONE, **said}
    portal.step(1)
    settled = portal.seen(lease)
    assert (settled.state, settled.refunded) == (State.SETTLED, 0)
    assert settled.charged >= 2000
    assert portal.broken() == []


def test_what_has_more_gpus_than_it_pays_for_ends(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    for _ in range(3):
        portal.step(1)
    mind(portal).says[lease.id] = {"placement": gpus(18, 0, 1)}
    portal.step(1)
    seen = portal.seen(lease)
    assert seen.end_reason is EndReason.LOST
    assert say("slurm-end-more-gpus", "en") in seen.detail


def test_nobody_keeps_gpus_by_holding_a_task_back(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    mind(portal).says[lease.id] = {"sight": Sight.PENDING, "wait": Wait("slurm-wait-held"), "held_back": True}
    for _ in range(HELD_BACK // 10):
        portal.step(10)
        portal.desk.beat(RESEARCHER, lease.id, Beat(), "en")
    assert portal.seen(lease).state is State.STARTING
    portal.step(10)
    seen = portal.seen(lease)
    assert seen.end_reason is EndReason.LOST
    assert say("slurm-end-held-back", "en") in seen.detail


def test_strangers_gpus_are_neither_free_nor_lost(portal: Kit) -> None:
    held = tuple(Share(domain="nvl001", tray=tray, gpus=(0, 1, 2, 3)) for tray in range(1, 18))
    mind(portal).strangers = (Running(held, portal.clock.now() + 600),)
    portal.step(1)
    assert portal.free() == 4
    assert portal.runner.board.others == mind(portal).strangers
    small = portal.ask("gpu4")
    assert small.placement == gpus(18, 0, 1, 2, 3)
    # It waits for the strangers: it is not said that it never fits.
    large = portal.ask("gpu8")
    assert (large.state, large.expected_start) == (State.HELD, portal.clock.now() + 599)
    mind(portal).strangers = ()
    portal.step(1)
    assert portal.seen(large).state is State.STARTING


PENDING = {"sight": Sight.PENDING}


def test_what_waits_for_a_tray_that_goes_out_of_service_is_placed_anew(portal: Kit) -> None:
    """Nothing is charged, its hold stays, and so does its turn."""
    engine = mind(portal)
    first, second = portal.ask("gpu2"), portal.ask("gpu1")
    engine.says |= {first.id: PENDING, second.id: PENDING}
    portal.step(1)
    engine.drained = {1}
    portal.step(1)
    del engine.says[first.id]
    moved = portal.seen(first)
    # The task is stopped; until it is gone, the lease stays what it is.
    assert (moved.state, moved.placement) == (State.STARTING, first.placement)
    portal.step(1)
    moved = portal.seen(first)
    assert (moved.state, moved.placement) == (State.STARTING, gpus(2, 0, 1))
    assert (moved.held, moved.charged, moved.asked_at) == (first.held, 0, first.asked_at)
    assert [task.placement for task in engine.started if task.lease_id == first.id] == [gpus(1, 0, 1), gpus(2, 0, 1)]
    # As long as the other one is not gone, it is stopped again and again.
    assert portal.seen(second).placement == second.placement
    engine.says.clear()
    for _ in range(5):
        portal.step(1)
    assert {portal.seen(lease).state for lease in (first, second)} == {State.RUNNING}
    assert portal.seen(second).placement == gpus(2, 2)
    assert portal.broken() == []


def test_a_tray_that_is_back_in_the_meantime_costs_nobody_their_lease(portal: Kit) -> None:
    engine, lease = mind(portal), portal.ask("gpu1")
    engine.drained = {1}
    portal.step(1)
    engine.drained = set()
    for _ in range(4):
        portal.step(1)
    assert portal.seen(lease).state is State.RUNNING
    assert len([task for task in engine.started if task.lease_id == lease.id]) == 2


def test_a_start_in_the_moment_of_being_stopped_is_refunded(portal: Kit) -> None:
    engine, lease = mind(portal), portal.ask("gpu1")
    engine.drained = {1}
    portal.step(1)
    engine.says[lease.id] = {"sight": Sight.RUNNING}
    portal.step(1)
    engine.says.clear()
    portal.step(1)
    ended = portal.seen(lease)
    assert (ended.state, ended.end_reason, ended.charged - ended.refunded) == (State.SETTLED, EndReason.ENGINE, 0)
    assert say("slurm-end-tray", "en") in ended.detail


def test_what_runs_on_a_tray_that_goes_out_of_service_goes_on(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    for _ in range(3):
        portal.step(1)
    mind(portal).drained = {1}
    portal.step(1)
    assert portal.seen(lease).state is State.RUNNING


def test_where_others_took_its_gpus_a_lease_is_placed_anew(portal: Kit) -> None:
    engine = mind(portal)
    taken, other = portal.ask("gpu2"), portal.ask("gpu2")
    engine.says = {taken.id: PENDING, other.id: PENDING}
    engine.strangers = (Running(gpus(1, 0, 1), portal.clock.now() + 600),)
    portal.step(1)
    engine.says = {other.id: PENDING}
    portal.step(1)
    assert portal.seen(taken).placement == gpus(2, 0, 1)
    engine.to_the_tray = False
    engine.strangers = (Running(gpus(1, 0, 1, 2, 3), portal.clock.now() + 600),)
    for _ in range(3):
        portal.step(1)
    # Where it may start elsewhere the engine has the last word.
    assert (portal.seen(other).state, portal.seen(other).placement) == (State.STARTING, gpus(1, 2, 3))


def test_why_it_waits_is_told_in_words_and_with_a_time(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    mind(portal).says[lease.id] = {"sight": Sight.PENDING, "wait": Wait("slurm-wait-held", 12345)}
    portal.step(1)
    seen = portal.desk.lease(RESEARCHER, lease.id, "zh-TW")
    assert "暫停" in seen.detail
    assert seen.expected_start == 12345
    mind(portal).says[lease.id] = {}
    portal.step(1)
    assert portal.seen(lease).detail == ""


def test_an_engine_that_is_closed_starts_nothing_and_says_so(portal: Kit) -> None:
    engine = mind(portal)
    before = portal.ask("gpu1")
    engine.says[before.id] = PENDING | {"wait": Wait("slurm-wait-closed")}
    engine.shut = True
    portal.step(1)
    lease = portal.ask("gpu2")
    offer = next(offer for offer in portal.desk.offers("researcher", "en") if offer.profile == "gpu1")
    assert (offer.free_now, offer.expected_wait, offer.why_not) == (0, None, None)
    for waiting in (lease, before):
        assert "partition is closed at the moment" in portal.seen(waiting).detail
    assert (portal.seen(lease).state, portal.seen(lease).expected_start) == (State.HELD, None)
    # Those that its queue has stay there: they start by themselves.
    assert portal.seen(before).placement == before.placement
    engine.shut = False
    portal.step(1)
    assert portal.seen(lease).state is State.STARTING


def test_who_waits_is_told_of_strangers_that_wait_too(portal: Kit) -> None:
    engine = mind(portal)
    engine.strangers = (
        Running(
            tuple(Share(domain="nvl001", tray=tray, gpus=(0, 1, 2, 3)) for tray in range(1, 19)),
            portal.clock.now() + 600,
        ),
    )
    engine.queue_outside = 3
    portal.step(1)
    lease = portal.ask("gpu1")
    assert lease.queue_outside == 3
    assert "3 jobs outside the portal wait in the cluster's queue, too" in lease.detail
    offer = next(offer for offer in portal.desk.offers("researcher", "en") if offer.profile == "gpu1")
    assert (offer.expected_wait, offer.queue_outside) == (599, 3)
    engine.queue_outside = 0
    portal.step(1)
    assert portal.seen(lease).detail == "Waiting for room."


def test_an_engine_that_is_away_starts_nothing_and_loses_nobody(portal: Kit) -> None:
    engine = mind(portal)
    engine.away = True
    portal.step(1)
    lease = portal.ask("gpu1")
    portal.step(5)
    waiting = portal.seen(lease)
    assert waiting.state is State.HELD
    assert "does not answer" in waiting.detail
    engine.away = False
    portal.step(1)
    assert portal.seen(lease).state is State.STARTING


def test_more_time_is_paid_for_only_when_the_engine_gives_it(portal: Kit) -> None:
    lease = portal.ask("gpu1", seconds=600)
    for _ in range(3):
        portal.step(1)
    held = portal.seen(lease).held
    mind(portal).refuses = True
    with pytest.raises(ConflictError) as refused:
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=300))
    assert refused.value.slug == "extend-engine"
    mind(portal).away = True
    with pytest.raises(ConflictError) as refused:
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=300))
    assert "does not answer" in say(refused.value.slug, "en")
    mind(portal).away = False
    assert portal.seen(lease).held == held
    mind(portal).refuses = False
    longer = portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=300))
    assert (longer.seconds, mind(portal).limits[lease.id]) == (900, 900)
    assert portal.broken() == []


def test_the_end_is_told_in_the_engines_words(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    for _ in range(3):
        portal.step(1)
    mind(portal).says[lease.id] = {"sight": Sight.GONE, "note": "slurm-end-cancelled"}
    portal.step(1)
    assert portal.seen(lease).detail == "the cluster ended it: its job was cancelled in the cluster"


def test_a_task_on_kept_trays_is_told_by_which_reservation(portal: Kit) -> None:
    now = portal.clock.now()
    kept = NewReservation(name="Class", project="demo", gpus=4, starts=now, ends=now + 86_400)
    reserved = portal.registry.reservations.add(ADMIN, kept)
    portal.step(1)
    inside = portal.ask("gpu4")
    outside = portal.ask("gpu4")
    told = {task.lease_id: task.reservation for task in mind(portal).started}
    assert told == {inside.id: int(reserved.id), outside.id: None}
