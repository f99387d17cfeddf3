"""An engine with a queue of its own, strangers on its GPUs, and bad days: what the portal says and does not promise."""

from __future__ import annotations

import pytest

from nvlhub.engines.base import Sight
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.flow.queue import Running, Wait
from nvlhub.store import Store
from nvlhub.text import LANGUAGES, say
from nvlhub.waits import time_of, waits_for
from nvlhub.wire import LeaseView, Offer, Share, State
from tests.conftest import HandClock
from tests.portal_kit import RESEARCHER, Kit, kit

NOON = 1_800_014_400
"""12:00 UTC, 20:00 in Taipei."""
LEASE = {
    "id": "L1", "state": "starting", "user": "u", "project": "demo", "profile": "gpu1", "kind": "kernel", "gpus": 1, "pool": "main",
    "factor_milli": 1000, "seconds": 3600, "held": 1, "asked_at": NOON, "now": NOON, "detail": "No room.",
}  # fmt: skip


def view(**more: object) -> LeaseView:
    return LeaseView.model_validate(LEASE | more)


def engine(portal: Kit) -> ScriptedEngine:
    assert isinstance(portal.engine, ScriptedEngine)
    return portal.engine


def offer(portal: Kit, profile: str) -> Offer:
    return next(one for one in portal.desk.offers("researcher", "en") if one.profile == profile)


# --- in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expected_start": NOON + 3600}, "No room. Expected at 21:00 CST (UTC+8)."),
        ({"expected_start": NOON + 5 * 3600}, "No room. Expected at 2027-01-16 01:00 CST (UTC+8)."),
        ({"expected_start": NOON - 1}, "No room. It should start at any moment."),
        ({}, "No room."),
        ({"state": "held", "expected_start": NOON + 60}, "No room. Expected at 20:01 CST (UTC+8)."),
        ({"detail": ""}, ""),
        ({"state": "running"}, ""),
        ({"state": "ending", "expected_start": NOON + 60}, ""),
        ({"state": "settled", "end_reason": "user"}, ""),
    ],
)
def test_why_and_until_when_by_the_clock_of_the_site(changes: dict[str, object], words: str) -> None:
    assert waits_for(view(**changes), "en", "Asia/Taipei") == words


def test_a_zone_that_nobody_knows_is_utc() -> None:
    assert time_of(NOON, NOON, "Mars/Base") == "12:00 UTC"


# --- an engine that has it queued -----------------------------------------------------------------------------------


def test_a_lease_that_its_engine_has_queued_says_why_until_it_runs(store: Store, clock: HandClock) -> None:
    wait = Wait("slurm-wait-limit", clock.now() + 900)
    portal = kit(store, clock, {"*": Script(pending=5, wait=wait)})
    lease = portal.ask("gpu2")
    portal.step(1)
    for lang in LANGUAGES:
        seen = portal.desk.lease(RESEARCHER, lease.id, lang)
        assert (seen.state, seen.expected_start, seen.position) == (State.STARTING, wait.start, None)
        assert say("slurm-wait-limit", lang) in waits_for(seen, lang, "UTC")
    for _ in range(4):
        portal.step(1)
    seen = portal.seen(lease)
    assert (seen.state, seen.detail, seen.expected_start) == (State.RUNNING, "", None)


@pytest.mark.parametrize("reason", ["slurm-wait-held", "slurm-wait-never"])
def test_what_is_held_or_can_never_start_reads_as_such_and_ends_unpaid(
    store: Store, clock: HandClock, reason: str
) -> None:
    portal = kit(store, clock, {"*": Script(pending=1000, wait=Wait(reason))})
    lease = portal.ask("gpu2")
    portal.step(100)
    assert waits_for(portal.seen(lease), "en", "UTC") == say(reason)
    assert "end it" in say(reason).lower()
    ending = portal.desk.end(RESEARCHER, lease.id)
    assert (ending.expected_start, waits_for(ending, "en", "UTC")) == (None, "")
    portal.step(1)
    settled = portal.seen(lease)
    assert (settled.state, settled.charged, settled.held) == (State.SETTLED, 0, lease.held)
    assert portal.free() == 72
    assert portal.broken() == []


# --- strangers ------------------------------------------------------------------------------------------------------


def test_offers_and_the_forecast_count_what_strangers_hold(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    theirs = tuple(Share(domain="nvl001", tray=tray, gpus=(0, 1, 2, 3)) for tray in (1, 2))
    until = clock.now() + 600
    engine(portal).outside = (Running(theirs[:1], until),)
    portal.step(1)
    assert (offer(portal, "gpu4").free_now, offer(portal, "gpu1").free_now) == (1, 4)
    assert portal.ask("gpu4").placement == theirs[1:]
    found = offer(portal, "gpu4")
    assert (found.free_now, found.expected_wait) == (0, until - clock.now())
    waiting = portal.ask("gpu4")
    assert (waiting.state, waiting.expected_start) == (State.HELD, until)
    engine(portal).outside = ()
    portal.step(1)
    assert portal.seen(waiting).placement == theirs[:1]


def test_what_delays_nobody_who_waits_is_free_now(store: Store, clock: HandClock) -> None:
    """Two trays, one of them taken: who waits for both does not keep the other one from those that end before."""
    portal = kit(store, clock, trays=2)
    portal.ask("gpu4", seconds=4 * 3600)
    assert portal.ask("gpu8").state is State.HELD
    found = offer(portal, "gpu4")
    assert (found.free_now, found.expected_wait) == (1, 0)
    assert portal.ask("gpu4").state is not State.HELD
    later = offer(portal, "gpu4")
    assert later.free_now == 0
    assert later.expected_wait is not None
    assert later.expected_wait > 0


# --- an engine that does not answer ---------------------------------------------------------------------------------


def test_while_the_engine_is_away_what_runs_goes_on_and_nothing_new_is_promised(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    runs = portal.ask("gpu2")
    portal.step(10)
    engine(portal).away = True
    portal.step(1)
    found = offer(portal, "gpu4")
    assert (found.free_now, found.expected_wait, found.why_not) == (0, None, None)
    waits = portal.ask("gpu4")
    portal.step(60)
    assert portal.seen(runs).state is State.RUNNING
    seen = portal.seen(waits)
    assert (seen.state, seen.position, seen.expected_start) == (State.HELD, None, None)
    assert waits_for(seen, "en", "UTC") == say("engine-away-waiting")
    engine(portal).away = False
    portal.step(1)
    assert portal.seen(waits).state is State.RUNNING
    portal.desk.end(RESEARCHER, runs.id)
    portal.step(1)
    assert portal.seen(runs).charged == 2 * 72 * 1000
    assert portal.broken() == []


def test_nothing_is_seen_of_any_task_while_the_scripted_engine_is_away(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    lease = portal.ask()
    engine(portal).away = True
    assert engine(portal).look({lease.id: {}})[lease.id].sight is Sight.UNKNOWN


def test_what_the_engine_had_queued_says_that_it_does_not_answer(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, {"*": Script(pending=1000, wait=Wait("slurm-wait-resources", clock.now() + 60))})
    lease = portal.ask()
    portal.step(1)
    engine(portal).away = True
    portal.step(1)
    seen = portal.seen(lease)
    assert (seen.state, seen.expected_start) == (State.STARTING, None)
    assert waits_for(seen, "en", "UTC") == say("engine-away-waiting")
    engine(portal).away = False
    portal.step(1)
    assert say("slurm-wait-resources") in waits_for(portal.seen(lease), "en", "UTC")
