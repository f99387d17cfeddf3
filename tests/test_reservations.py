"""Reservations over run loop, desk and registry, on every database."""

from __future__ import annotations

from typing import Any

import pytest

from nvlhub.errors import BadInputError, ConflictError, NotAllowedError, NotFoundError
from nvlhub.explain import problem
from nvlhub.forms import NewReservation, ReservationPatch, ReservationView
from nvlhub.registry.office import ChangedError, UnreadError
from nvlhub.store import Store
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR, EndReason, Extend, LeaseView, State, WorkersAsk
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, MAILBOX, RESEARCHER, Kit, kit

HOUR = 3600
DAY = 24 * HOUR
NOTICE = 120
SMALL = "demo-small"


def reserve(portal: Kit, gpus: int = 4, starts: int = HOUR, ends: int = 9 * HOUR, **more: Any) -> ReservationView:
    """Reserve for the small project; times from now on."""
    now = portal.clock.now()
    body = {"name": "Demo", "project": SMALL, "gpus": gpus, "starts": now + starts, "ends": now + ends} | more
    made = portal.registry.reservations.add(ADMIN, NewReservation(**body))
    portal.runner.step()
    return made


def fund(portal: Kit, project: str) -> None:
    """Award a project more than it can use here."""
    now = portal.clock.now()
    with portal.store.writing() as unit:
        unit.add_award(
            project, "main", 100 * MILLI_PER_GPU_HOUR, now, now + 10**6, cap=None, at=now, actor="t"
        )  # fmt: skip


def on(lease: LeaseView) -> set[tuple[str, int]]:
    return {(share.domain, share.tray) for share in lease.placement}


def trays(made: ReservationView) -> set[tuple[str, int]]:
    return {(place.domain, place.tray) for place in made.trays}


def waits(portal: Kit, project: str = "demo") -> dict[str, tuple[int, int | None]]:
    offers = portal.desk.offers("researcher", "en", project)
    return {offer.profile: (offer.free_now, offer.expected_wait) for offer in offers}


# --- placement ----------------------------------------------------------------------------------------------------------


def test_others_use_reserved_trays_only_while_they_would_be_gone_in_time(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    made = reserve(portal)
    short = [portal.ask("gpu4", seconds=HOUR) for _ in range(2)]
    assert set.union(*(on(lease) for lease in short)) == {("nvl001", 1), ("nvl001", 2)}
    for lease in short:
        portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    long, other = portal.ask("gpu4", seconds=4 * HOUR), portal.ask("gpu4", seconds=HOUR)
    assert on(long).isdisjoint(trays(made))
    assert (other.state, other.expected_start) == (State.HELD, long.deadline)
    portal.desk.end(RESEARCHER, long.id)
    portal.step(1)
    assert portal.seen(other).state is State.RUNNING


def test_the_project_has_its_trays_from_the_first_second_to_the_last(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    fund(portal, SMALL)
    made = reserve(portal, gpus=8)
    early = portal.ask("gpu4", project=SMALL, seconds=HOUR + 1)
    theirs = portal.ask("gpu4", seconds=2 * HOUR)
    assert (early.state, early.expected_start, theirs.expected_start) == (State.HELD, START + HOUR, made.ends)
    assert portal.runner.board.reserved == frozenset()
    portal.step(HOUR - 1)
    assert portal.seen(early).state is State.HELD
    portal.step(1)
    assert portal.runner.board.reserved == frozenset(trays(made))
    assert (portal.seen(early).state, portal.seen(theirs).state) == (State.RUNNING, State.HELD)
    portal.step(8 * HOUR)
    portal.step(1)
    assert portal.runner.board.reserved == frozenset()
    assert portal.seen(theirs).state is State.RUNNING
    assert portal.broken() == []


def test_a_projects_leases_go_to_its_trays_first(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=4)
    made = reserve(portal, starts=0)
    taken = [portal.ask("gpu2", project=SMALL, seconds=600) for _ in range(3)]
    assert [on(lease) == trays(made) for lease in taken] == [True, True, False]
    assert on(portal.ask("gpu1", seconds=600)).isdisjoint(trays(made))


def test_what_runs_when_a_reservation_is_made_is_named_and_goes_on(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    lease = portal.ask("gpu1", seconds=4 * HOUR)
    tried = reserve(portal, dry_run=True)
    assert (tried.id, [one.lease for one in tried.in_the_way]) == ("", [lease.id])
    assert tried.in_the_way[0].until == lease.deadline
    assert portal.registry.reservations.reservations(ADMIN, since=None, until=None, page=1, per_page=9) == ([], 0)
    made = reserve(portal)
    portal.step(2 * HOUR)
    assert portal.seen(lease).state is State.RUNNING
    [seen], _ = portal.registry.reservations.reservations(ADMIN, since=None, until=None, page=1, per_page=9)
    assert [one.lease for one in seen.in_the_way] == [lease.id]
    mine = portal.ask("gpu2", project=SMALL, seconds=HOUR)
    assert on(mine) == trays(made)
    [seen], _ = portal.registry.reservations.reservations(ADMIN, since=None, until=None, page=1, per_page=9)
    assert [one.lease for one in seen.in_the_way] == [lease.id]


def test_free_trays_are_reserved_before_those_that_are_held(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=3)
    held = portal.ask("gpu4", seconds=4 * HOUR)
    assert trays(reserve(portal, gpus=8)).isdisjoint(on(held))
    assert trays(reserve(portal, gpus=8, starts=10 * HOUR, ends=11 * HOUR)) == {("nvl001", 1), ("nvl001", 2)}


def test_offers_say_what_is_free_and_how_long_the_wait_is(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    reserve(portal, gpus=8, starts=2 * HOUR)
    # The profile's longest time reaches into the reservation.
    assert waits(portal)["gpu4"] == (0, 9 * HOUR)
    assert waits(portal, SMALL)["gpu4"] == (0, 2 * HOUR)
    portal.step(2 * HOUR)
    blocked = portal.ask("gpu8")
    assert blocked.state is State.HELD
    assert waits(portal, SMALL)["gpu4"] == (2, 0)
    assert waits(portal)["gpu4"][0] == 0


def test_workers_that_do_not_wait_are_as_many_as_may_be_placed(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    reserve(portal)
    body = WorkersAsk(project="demo", profile="gpu4", mailbox=MAILBOX, count=2, seconds=2 * HOUR, wait=False)
    workers, _ = portal.desk.ask_together(RESEARCHER, body, "workers")
    assert len(workers) == 1


def test_a_lease_is_not_extended_into_a_reservation(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    reserve(portal, starts=2 * HOUR)
    lease = portal.ask("gpu4", seconds=HOUR)
    with pytest.raises(ConflictError) as caught:
        portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=HOUR + 1))
    assert (caught.value.slug, caught.value.members["most_seconds"]) == ("extend-reserved", HOUR)
    assert "1 h" in problem(caught.value, "en").detail
    assert portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=HOUR)).deadline == START + 2 * HOUR


def test_preemptible_leases_make_room_for_a_reservation(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    with store.writing() as unit:
        unit.set_programme("demo", at_zero="low_priority")
    made = reserve(portal, gpus=4, project="demo")
    idle = portal.ask("gpu4", project=SMALL, preemptible=True)
    assert (idle.state, idle.preempt_at) == (State.RUNNING, None)
    portal.step(HOUR - NOTICE - 1)
    assert portal.seen(idle).preempt_at is None
    portal.step(1)
    assert portal.seen(idle).preempt_at == made.starts
    portal.step(NOTICE)
    portal.step(1)
    assert portal.seen(idle).end_reason is EndReason.PREEMPTED
    again = portal.ask("gpu4", project=SMALL, preemptible=True)
    assert again.state is State.HELD
    assert portal.ask("gpu4", seconds=HOUR).state is State.RUNNING
    assert portal.broken() == []


def test_a_cancelled_reservation_keeps_nothing_from_anybody(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    made = reserve(portal)
    waiting = portal.ask("gpu4", seconds=2 * HOUR)
    assert waiting.state is State.HELD
    gone = portal.registry.reservations.cancel(ADMIN, int(made.id))
    assert (gone.state, gone.gpus, gone.trays) == ("cancelled", 4, [])
    portal.runner.step()
    assert portal.seen(waiting).state is State.RUNNING
    assert portal.registry.reservations.cancel(ADMIN, int(made.id)) == gone


def test_a_restart_remembers_what_is_kept(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=1)
    made = reserve(portal)
    clock.forward(HOUR)
    portal.restart()
    assert portal.runner.board.reserved == frozenset(trays(made))
    assert portal.ask("gpu4", seconds=600).state is State.HELD


# --- making, moving, refusing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "ends", "slug", "field"),
    [
        (-1, HOUR, "reservation-past", "starts"),
        (HOUR, HOUR, "reservation-reversed", "ends"),
        (0, 90 * DAY + 1, "reservation-too-long", "ends"),
        (2 * 365 * DAY + 1, 2 * 365 * DAY + 2, "reservation-too-far", "starts"),
    ],
)
def test_times_that_cannot_be_are_refused_with_those_that_can(
    store: Store, clock: HandClock, starts: int, ends: int, slug: str, field: str
) -> None:
    portal = kit(store, clock)
    with pytest.raises(BadInputError) as caught:
        reserve(portal, starts=starts, ends=ends)
    assert (caught.value.slug, caught.value.members["field"]) == (slug, field)
    for lang in ("en", "zh-TW"):
        assert problem(caught.value, lang).detail.startswith(field)


def test_too_many_gpus_are_refused_with_what_would_be_possible(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    reserve(portal, gpus=64)
    with pytest.raises(ConflictError) as caught:
        reserve(portal, gpus=12)
    told = problem(caught.value, "en")
    assert (told.member("most_gpus"), told.member("next_starts")) == (8, START + 9 * HOUR)
    assert "8 GPUs" in told.detail
    with pytest.raises(ConflictError) as caught:
        reserve(portal, gpus=76)
    assert (caught.value.slug, caught.value.members["next_starts"]) == ("reservation-no-room", None)


def test_a_move_is_all_or_nothing_and_overwrites_nobody(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    office = portal.registry.reservations
    made, other = reserve(portal, gpus=8), reserve(portal, gpus=4, starts=10 * HOUR, ends=12 * HOUR)
    number = int(made.id)
    _, tag = office.reservation(ADMIN, number)
    with pytest.raises(ConflictError):
        office.move(ADMIN, number, ReservationPatch(ends=other.starts + 1), tag)
    assert office.reservation(ADMIN, number)[0] == made
    with pytest.raises(UnreadError):
        office.move(ADMIN, number, ReservationPatch(ends=other.starts), "")
    moved, fresh = office.move(ADMIN, number, ReservationPatch(ends=other.starts), tag)
    assert (moved.ends, moved.trays) == (other.starts, made.trays)
    with pytest.raises(ChangedError):
        office.move(ADMIN, number, ReservationPatch(ends=other.starts - 1), tag)
    clock.forward(2 * HOUR)
    # It has begun: its end can be moved, its start to no other time in the past.
    _, fresh = office.move(ADMIN, number, ReservationPatch(ends=other.starts - HOUR), fresh)
    with pytest.raises(BadInputError):
        office.move(ADMIN, number, ReservationPatch(starts=made.starts + 1), fresh)
    clock.forward(DAY)
    for change in (lambda: office.cancel(ADMIN, number), lambda: office.move(ADMIN, number, ReservationPatch(), "*")):
        with pytest.raises(ConflictError) as caught:
            change()
        assert caught.value.slug == "reservation-over"


def test_only_those_concerned_are_told_whose_it_is(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    made = reserve(portal, note="for the paper")
    for who, told in ((RESEARCHER, True), (Visitor("outsider"), False)):
        seen, _ = portal.registry.reservations.reservation(who, int(made.id))
        assert (bool(seen.name), bool(seen.project), bool(seen.note), bool(seen.made_by)) == (told,) * 4
        assert (seen.trays, seen.starts, seen.gpus, seen.in_the_way) == (made.trays, made.starts, 4, [])
    for change in (
        lambda: reserve_as(portal, RESEARCHER), lambda: portal.registry.reservations.cancel(RESEARCHER, int(made.id))
    ):  # fmt: skip
        with pytest.raises(NotAllowedError):
            change()
    with pytest.raises(NotFoundError):
        reserve(portal, project="nobodys")


def reserve_as(portal: Kit, who: Visitor) -> ReservationView:
    now = portal.clock.now()
    body = NewReservation(name="x", project="demo", gpus=4, starts=now, ends=now + HOUR)
    return portal.registry.reservations.add(who, body)


def test_every_change_is_in_the_audit_trail_once(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock)
    office = portal.registry.reservations
    now = clock.now()
    body = NewReservation(name="x", project="demo", gpus=4, starts=now, ends=now + HOUR)
    first, again = office.add(ADMIN, body, "key"), office.add(ADMIN, body, "key")
    assert first.id == again.id
    office.move(ADMIN, int(first.id), ReservationPatch(ends=now + 2 * HOUR), "*")
    office.cancel(ADMIN, int(first.id))
    with store.reading() as unit:
        lines, _ = unit.audit_lines(what=f"reservation:{first.id}")
    assert [line["action"] for line in lines] == ["reservation-cancel", "reservation-move", "reservation-add"]
    assert lines[1]["before"]["ends"] == now + HOUR
    assert (lines[0]["project"], lines[0]["after"]["state"]) == ("demo", "cancelled")


def test_a_tray_out_of_service_is_not_reserved(store: Store, clock: HandClock) -> None:
    portal = kit(store, clock, trays=2)
    with store.writing() as unit:
        unit.set_service("main", "nvl001", [1], in_service=False)
    portal.desk.capacity_changed()
    portal.runner.step()
    assert trays(reserve(portal)) == {("nvl001", 2)}
