"""Pre-emptible leases over the run loop: who may have one, what it costs, and how it makes room. On every database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nvlhub.engines.scripted import Script
from nvlhub.errors import BadInputError, ConflictError
from nvlhub.explain import problem
from nvlhub.forms import ProgrammePatch
from nvlhub.store import Store
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR, Beat, EndReason, Extend, LeaseView, State, WorkersAsk
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, MAILBOX, RESEARCHER, Kit, kit

OTHER = Visitor("instructor")
HOUR = 3600
NOTICE = 120


def open_kit(store: Store, clock: HandClock, **more: object) -> Kit:
    """A portal whose programme allows low-priority use."""
    portal = kit(store, clock, **more)  # type: ignore[arg-type]
    with store.writing() as unit:
        unit.set_programme("demo", at_zero="low_priority")
    return portal


def idle(portal: Kit, profile: str = "gpu1", **more: object) -> LeaseView:
    """Ask for what the project has too few GPU-hours for."""
    return portal.ask(profile, **{"project": "demo-small", "preemptible": True, **more})  # type: ignore[arg-type]


def change(portal: Kit, programme: str, **rules: object) -> None:
    _, etag = portal.registry.directory.programme(ADMIN, programme)
    portal.registry.directory.change_programme(ADMIN, programme, ProgrammePatch(**rules), etag)  # type: ignore[arg-type]


def warned(portal: Kit) -> dict[str, int | None]:
    return {lease.id: lease.preempt_at for lease in portal.runner.board.leases.values() if lease.preempt_at}


def wait(portal: Kit, seconds: int) -> None:
    for _ in range(seconds // 10):
        portal.step(10)
    portal.step(seconds % 10)


# --- who may, and what it costs ---------------------------------------------------------------------------------------


def test_a_preemptible_lease_costs_nothing(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    lease = idle(portal, "gpu4")
    assert (lease.state, lease.preemptible, lease.held, lease.price_milli) == (State.RUNNING, True, 0, 0)
    portal.step(10)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    settled = portal.seen(lease)
    assert (settled.state, settled.charged, settled.refunded) == (State.SETTLED, 0, 0)
    with store.reading() as unit:
        assert [award.charged + award.held for award in unit.awards("demo", "main")] == [0]
    assert portal.broken() == []


def test_it_needs_a_programme_that_allows_it(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    with pytest.raises(ConflictError) as caught:
        idle(portal)
    assert caught.value.slug == "preemptible-off"
    assert portal.runner.board.leases == {}


@pytest.mark.parametrize("lost", ["expired", "revoked"])
def test_it_needs_an_award_that_is_valid_now(store: Store, clock: HandClock, lost: str) -> None:
    portal = open_kit(store, clock)
    with store.writing() as unit:
        [award] = unit.awards("demo-small", "main")
        unit.set_award(award.id, **({"ends": clock.now()} if lost == "expired" else {"revoked_at": clock.now()}))
    with pytest.raises(ConflictError) as caught:
        idle(portal)
    assert caught.value.slug == "no-award"


def test_it_ends_before_its_award_does(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    with store.writing() as unit:
        [award] = unit.awards("demo-small", "main")
        unit.set_award(award.id, ends=clock.now() + HOUR)
    with pytest.raises(ConflictError) as caught:
        idle(portal, "gpu4")
    assert (caught.value.slug, caught.value.members["ends_in"]) == ("award-ends-first", HOUR)
    assert idle(portal, "gpu4", seconds=HOUR).state is State.RUNNING


def test_nobody_uses_for_nothing_what_they_can_pay_for(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    with pytest.raises(ConflictError) as caught:
        idle(portal, project="demo")
    assert caught.value.slug == "preemptible-unneeded"
    assert portal.free() == 72


def spend(portal: Kit) -> None:
    """Leave nothing of the small project's award."""
    portal.ask("gpu1", project="demo-small", seconds=2 * HOUR)


def capped(by: str) -> Callable[[Kit], None]:
    def limit(portal: Kit) -> None:
        with portal.store.writing() as unit:
            if by == "user":
                unit.set_user("researcher", 1)
            elif by == "member":
                unit.set_member("demo-small", "researcher", "pi", cap=1)
            elif by == "project":
                unit.set_project("demo-small", cap=1)
            elif by == "programme":
                unit.set_programme("demo", cap=1)
            else:
                [award] = unit.awards("demo-small", "main")
                unit.set_award(award.id, cap=1)
        portal.ask("gpu1", project="demo-small", seconds=600)

    return limit


OVER = {"balance-too-low": spend} | {
    f"cap-{by}": capped(by) for by in ("user", "member", "project", "programme", "award")
}


@pytest.mark.parametrize("slug", list(OVER))
def test_over_balance_and_caps_a_start_is_refused_and_could_be_preemptible(
    store: Store, clock: HandClock, slug: str
) -> None:
    portal = open_kit(store, clock)
    OVER[slug](portal)
    with pytest.raises(ConflictError) as caught:
        portal.ask("gpu1", project="demo-small", seconds=600)
    assert caught.value.slug == slug
    told = problem(caught.value, "en")
    assert told.member("low_priority") is True
    assert "pre-emptible" in told.detail
    assert "可中斷" in problem(caught.value, "zh-TW").detail
    lease = idle(portal, project="demo-small", seconds=600)
    assert (lease.state, lease.held) == (State.RUNNING, 0)
    # It counts against no cap, so what may be held otherwise is as much as before.
    offers = {offer.profile: offer for offer in portal.desk.offers("researcher", "en", "demo-small")}
    assert offers["gpu1"].low_priority
    assert offers["gpu1"].why_not is not None
    assert portal.broken() == []


def test_preemptible_leases_count_against_no_cap(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    with store.writing() as unit:
        unit.set_user("researcher", 1)
    idle(portal, "gpu4")
    assert portal.ask("gpu1").state is State.RUNNING


def test_no_way_out_is_named_where_there_is_none(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    spend(portal)
    with pytest.raises(ConflictError) as caught:
        portal.ask("gpu1", project="demo-small", seconds=600)
    assert "low_priority" not in caught.value.members
    assert not any(offer.low_priority for offer in portal.desk.offers("researcher", "en"))


def test_workers_together_may_be_preemptible_and_are_told_when_only_so(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    with store.writing() as unit:
        unit.set_user("researcher", 2)
    body = {"project": "demo", "profile": "gpu1", "mailbox": MAILBOX, "count": 3}
    with pytest.raises(ConflictError) as caught:
        portal.desk.ask_together(RESEARCHER, WorkersAsk(**body), "k1")  # type: ignore[arg-type]
    assert caught.value.members["low_priority"] is True
    workers, _ = portal.desk.ask_together(RESEARCHER, WorkersAsk(**body, preemptible=True), "k2")  # type: ignore[arg-type]
    assert {(worker.state, worker.preemptible, worker.held) for worker in workers} == {(State.RUNNING, True, 0)}
    assert portal.broken() == []


def test_more_time_costs_nothing_within_the_same_limits(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock)
    lease = idle(portal)
    longer = portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=HOUR))
    assert (longer.deadline, longer.held) == ((lease.deadline or 0) + HOUR, 0)
    with pytest.raises(BadInputError):
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=4 * HOUR))
    with store.writing() as unit:
        [award] = unit.awards("demo-small", "main")
        unit.set_award(award.id, revoked_at=clock.now())
    with pytest.raises(ConflictError) as caught:
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=60))
    assert caught.value.slug == "extend-award-ends"
    change(portal, "demo", at_zero="stop")
    with pytest.raises(ConflictError) as caught:
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=60))
    assert caught.value.slug == "preemptible-off"
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    assert portal.broken() == []


# --- making room ------------------------------------------------------------------------------------------------------


def test_who_needs_the_gpus_has_them_after_the_notice(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=1)
    lease = idle(portal, "gpu4")
    assert lease.preempt_at is None
    portal.step(10)
    waiting = portal.ask("gpu4", who=OTHER)
    assert (waiting.state, waiting.position, waiting.expected_start) == (State.HELD, 1, clock.now() + NOTICE)
    told = portal.seen(lease)
    assert (told.state, told.preempt_at) == (State.RUNNING, clock.now() + NOTICE)
    assert "2 min" in portal.desk.beat(RESEARCHER, lease.id, Beat(), "en").warn
    wait(portal, NOTICE - 1)
    assert portal.seen(lease).state is State.RUNNING
    portal.step(1)
    over = portal.seen(lease)
    assert (over.state, over.end_reason, over.charged) == (State.SETTLED, EndReason.PREEMPTED, 0)
    assert "others" in over.detail
    assert portal.seen(waiting).state is State.RUNNING
    assert portal.broken() == []


def test_only_as_many_go_as_it_takes_and_the_idle_first(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=1)
    old, busy, newest = idle(portal), idle(portal, "gpu2"), idle(portal)
    clock.forward(5)
    for lease, seconds in ((old, 70), (busy, 0), (newest, 0)):
        portal.runner.beat(lease.id, seconds)
    portal.runner.step()
    portal.ask("gpu1", who=OTHER)
    assert set(warned(portal)) == {old.id}
    portal.ask("gpu2", who=OTHER)
    assert set(warned(portal)) == {old.id, busy.id}


def test_a_warning_is_taken_back_when_the_need_is_gone(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=1)
    lease = idle(portal, "gpu4")
    waiting = portal.ask("gpu4", who=OTHER)
    portal.step(30)
    assert warned(portal) == {lease.id: clock.now() + NOTICE - 30}
    portal.desk.end(OTHER, waiting.id)
    portal.step(1)
    assert (warned(portal), portal.seen(lease).preempt_at) == ({}, None)
    assert portal.desk.beat(RESEARCHER, lease.id, Beat(), "en").warn == ""
    wait(portal, 2 * NOTICE)
    assert portal.seen(lease).state is State.RUNNING
    assert portal.seen(waiting).charged == 0


def test_a_warning_is_taken_back_when_other_gpus_come_free(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=2)
    normal, lease = portal.ask("gpu4", who=OTHER), idle(portal, "gpu4")
    waiting = portal.ask("gpu4", who=OTHER)
    assert set(warned(portal)) == {lease.id}
    portal.desk.end(OTHER, normal.id)
    portal.step(1)
    assert portal.seen(waiting).state is State.RUNNING
    assert warned(portal) == {}


def test_nobody_is_told_to_go_while_somebody_is_ending_anyway(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=2, scripts={"instructor": Script(ending=3)})
    normal, lease = portal.ask("gpu4", who=OTHER), idle(portal, "gpu4")
    portal.desk.end(OTHER, normal.id)
    assert portal.seen(normal).state is State.ENDING
    waiting = portal.ask("gpu4")
    assert (waiting.state, warned(portal)) == (State.HELD, {})
    wait(portal, 10)
    assert portal.seen(waiting).state is State.RUNNING
    assert portal.seen(lease).state is State.RUNNING


def test_a_preemptible_lease_makes_nobody_go(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=1)
    running, waiting = idle(portal, "gpu4"), idle(portal, "gpu4", who=OTHER)
    assert (waiting.state, waiting.expected_start, warned(portal)) == (State.HELD, running.deadline, {})
    # A start with a hold goes before it, though it came later.
    normal = portal.ask("gpu4", who=OTHER)
    assert (portal.seen(normal).position, portal.seen(waiting).position) == (1, 2)


def test_gpus_that_are_being_freed_are_left_to_whom_they_are_for(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=2, scripts={"researcher": Script(ending=2)})
    slow, quick = idle(portal, "gpu4"), idle(portal, "gpu4", who=OTHER)
    head = portal.ask("gpu8", who=OTHER)
    later, late = portal.ask("gpu1", who=OTHER), idle(portal, "gpu1", who=OTHER)
    assert set(warned(portal)) == {slow.id, quick.id}
    wait(portal, NOTICE)
    assert (portal.seen(quick).state, portal.seen(slow).state) == (State.SETTLED, State.ENDING)
    assert {portal.seen(lease).state for lease in (head, later, late)} == {State.HELD}
    wait(portal, 10)
    assert portal.seen(head).state is State.RUNNING
    assert {portal.seen(lease).state for lease in (later, late)} == {State.HELD}
    assert portal.broken() == []


@pytest.mark.parametrize("away", [10, NOTICE + 50])
def test_a_restart_between_warning_and_end_goes_on_where_it_stood(store: Store, clock: HandClock, away: int) -> None:
    portal = open_kit(store, clock, trays=1)
    lease = idle(portal, "gpu4")
    waiting = portal.ask("gpu4", who=OTHER)
    at = portal.seen(lease).preempt_at
    assert at == clock.now() + NOTICE
    clock.forward(away)
    portal.restart()
    assert portal.seen(lease).preempt_at == at
    for known in (lease, waiting):
        portal.runner.beat(known.id, 0)
    wait(portal, max(0, at - clock.now()))
    settled = portal.seen(lease)
    assert (settled.state, settled.end_reason, settled.charged) == (State.SETTLED, EndReason.PREEMPTED, 0)
    assert portal.seen(waiting).state is State.RUNNING
    assert portal.broken() == []


def test_workers_of_a_kernel_that_makes_room_end_with_it(store: Store, clock: HandClock) -> None:
    portal = open_kit(store, clock, trays=2)
    kernel = idle(portal, "gpu4")
    body = WorkersAsk(
        project="demo-small", profile="gpu1", mailbox=MAILBOX, count=4, preemptible=True, parent=kernel.id
    )
    workers, _ = portal.desk.ask_together(RESEARCHER, body, "workers")
    portal.step(5)
    portal.ask("gpu8", who=OTHER)
    wait(portal, NOTICE)
    portal.step(1)
    assert {portal.seen(lease).end_reason for lease in (kernel, *workers)} == {EndReason.PREEMPTED}
    assert portal.free() == 0
    assert portal.broken() == []


# --- whose turn it is -------------------------------------------------------------------------------------------------


def two_programmes(store: Store, clock: HandClock) -> Kit:
    """One tray; a second programme beside the demo."""
    portal = kit(store, clock, trays=1)
    with store.writing() as unit:
        unit.add_programme("other", "Other programme")
        unit.set_budget("other", "main", 1000 * MILLI_PER_GPU_HOUR, ref="t", at=clock.now(), actor="t")
        unit.add_project("other", "Other project", "other")
        unit.set_member("other", "researcher", "pi")
        unit.add_award(
            "other", "main", 100 * MILLI_PER_GPU_HOUR, clock.now(), clock.now() + 10**6, cap=None, at=clock.now(), actor="t"
        )  # fmt: skip
    return portal


def positions(portal: Kit, *leases: LeaseView) -> list[int | None]:
    return [portal.seen(lease).position for lease in leases]


def test_the_programme_with_the_fewest_gpus_for_its_share_is_next(store: Store, clock: HandClock) -> None:
    portal = two_programmes(store, clock)
    running = portal.ask("gpu4")
    first, second, third = portal.ask("gpu2"), portal.ask("gpu2", project="other"), portal.ask("gpu2", project="other")
    assert positions(portal, first, second, third) == [3, 1, 2]
    portal.desk.end(RESEARCHER, running.id)
    portal.step(1)
    assert [portal.seen(lease).state for lease in (first, second, third)] == [State.RUNNING, State.RUNNING, State.HELD]


def test_a_change_of_a_programmes_rules_changes_the_queue_at_once(store: Store, clock: HandClock) -> None:
    portal = two_programmes(store, clock)
    portal.ask("gpu4", project="other")
    first, second = portal.ask("gpu2"), portal.ask("gpu2", project="other")
    assert positions(portal, first, second) == [1, 2]
    change(portal, "other", priority=1)
    portal.runner.step()
    assert positions(portal, first, second) == [2, 1]


def test_an_offer_tells_when_the_programme_would_have_its_turn(store: Store, clock: HandClock) -> None:
    portal = two_programmes(store, clock)
    running = portal.ask("gpu4", seconds=HOUR)
    portal.ask("gpu4", seconds=HOUR)
    waits = {offer.project: offer.expected_wait for offer in portal.desk.offers("researcher", "en") if offer.gpus == 4}
    assert waits["demo"] == 2 * HOUR
    assert waits["other"] == HOUR
    assert running.state is State.RUNNING
