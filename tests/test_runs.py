"""Runs of courses: planned, asked for, decided, moved, ended; what is reserved and paid for with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nvlhub.errors import BadInputError, ConflictError, NotAllowedError, NotFoundError, NvlhubError, RefusedError
from nvlhub.flow.course import MOVES, Action, RunState
from nvlhub.forms import (
    AwardPatch,
    CoursePatch,
    NewReservation,
    ReservationPatch,
    RunAsk,
    RunDecision,
    RunPatch,
    RunView,
    UsageAsk,
)
from nvlhub.registry.codes import ALPHABET, fresh_pseudonyms, normalised
from nvlhub.store import Store, replay
from nvlhub.visitor import Visitor
from nvlhub.wire import Extend, Kind, WorkersAsk
from tests.conftest import START, HandClock
from tests.courses_kit import HOUR, MINUTE, TEACHER, approved, charge_slots, make_course, plan, sit
from tests.portal_kit import ADMIN, MAILBOX, RESEARCHER, Kit, kit

OUTSIDER = Visitor("outsider")
LEARNER = Visitor("ann", server="ann/class-1")
SLOT = 2 * HOUR + 30 * MINUTE
YES, NO = RunDecision(approve=True, reason="good"), RunDecision(approve=False, reason="full")


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    made = kit(store, clock, trays=4)
    make_course(made)
    return made


def draft(portal: Kit, **more: Any) -> int:
    return int(portal.registry.runs.add(TEACHER, plan(**more)).id)


def asked(portal: Kit, **more: Any) -> int:
    number = draft(portal, **more)
    portal.registry.runs.request(TEACHER, number, RunAsk())
    return number


def seen(portal: Kit, run: RunView | int) -> RunView:
    return portal.registry.runs.run(TEACHER, int(run.id if isinstance(run, RunView) else run))[0]


def held(portal: Kit) -> tuple[int, int]:
    """Return what the awards of the project have set aside and what they were charged."""
    with portal.store.reading() as unit:
        awards = unit.awards("demo", "main")
        assert replay(unit).broken == []
    assert portal.broken() == []
    return sum(one.held for one in awards), sum(one.charged for one in awards)


def reserved(portal: Kit) -> list[tuple[int, int, int]]:
    with portal.store.reading() as unit:
        return [(one.starts, one.ends, len(one.trays)) for one in unit.bookings("main", 0)]


@contextmanager
def refused(slug: str, error: type[NvlhubError] = ConflictError, field: str = "") -> Iterator[None]:
    with pytest.raises(error) as told:
        yield
    assert (told.value.slug, told.value.members.get("field", "")) == (slug, field)


# --- planning ---------------------------------------------------------------------------------------------------------


def test_a_plan_says_at_once_which_trays_it_would_have_and_what_its_slot_costs(portal: Kit) -> None:
    tried = portal.registry.runs.add(TEACHER, plan(dry_run=True))
    assert tried.room is not None
    assert (tried.id, tried.code, tried.room.fits, tried.room.gpus) == ("", "", True, 8)
    assert [(tray.domain, tray.tray) for tray in tried.room.trays] == [("nvl001", 1), ("nvl001", 2)]
    assert (tried.slot_gpus, tried.price) == (8, 8 * SLOT * 1000)
    assert portal.registry.runs.runs(TEACHER) == ([], 0)
    assert reserved(portal) == []


def test_a_plan_without_room_says_what_could_be_had_and_when(portal: Kit) -> None:
    keep = NewReservation(name="x", project="demo", gpus=12, starts=START + 3 * HOUR, ends=START + 10 * HOUR)
    portal.registry.reservations.add(ADMIN, keep)
    tried = portal.registry.runs.add(TEACHER, plan(dry_run=True))
    assert tried.room is not None
    assert (tried.room.fits, tried.room.most_gpus, tried.room.trays) == (False, 4, [])
    # Its seats are warmed half an hour before: the slot begins when the trays are free, the class later.
    assert tried.room.next_starts == START + 10 * HOUR + 30 * MINUTE
    number = draft(portal)
    with refused("run-no-room-then"):
        portal.registry.runs.request(TEACHER, number, RunAsk())
    portal.registry.runs.change(TEACHER, number, RunPatch(starts=tried.room.next_starts, ends=START + 13 * HOUR), "*")
    assert portal.registry.runs.request(TEACHER, number, RunAsk()).state == "requested"


@pytest.mark.parametrize(("seats", "gpus", "trays"), [(8, 1, 2), (9, 1, 3), (3, 3, 3), (2, 8, 4), (5, 0, 0), (4, 2, 2)])
def test_seats_get_whole_trays_and_none_is_torn(portal: Kit, seats: int, gpus: int, trays: int) -> None:
    run = approved(portal, seats=seats, gpus=gpus)
    assert (len(run.trays), run.slot_gpus) == (trays, 4 * trays)
    assert bool(run.reservation) is bool(trays)


@pytest.mark.parametrize(
    ("facts", "slug", "field"),
    [
        ({"starts": START - 1}, "run-past", "starts"),
        ({"starts": START + 3 * 366 * 24 * HOUR, "ends": START + 3 * 366 * 24 * HOUR + HOUR}, "run-too-far", "starts"),
        ({"ends": START + 2 * HOUR}, "run-reversed", "ends"),
        ({"ends": START + HOUR}, "run-reversed", "ends"),
        ({"ends": START + 26 * HOUR + 1}, "run-too-long", "ends"),
        ({"ends": START + 2 * HOUR + 299}, "run-too-short", "ends"),
        ({"zone": "Asia/Taipeh"}, "run-zone", "zone"),
        ({"zone": "Asia"}, "run-zone", "zone"),
        ({"zone": "/etc/passwd"}, "run-zone", "zone"),
        ({"gpus": 6}, "run-gpus-trays", "gpus"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_field(portal: Kit, facts: dict[str, Any], slug: str, field: str) -> None:
    for dry_run in (True, False):
        with refused(slug, BadInputError, field):
            portal.registry.runs.add(TEACHER, plan(**facts, dry_run=dry_run))


def test_a_run_may_last_across_midnight_and_a_change_of_clocks(portal: Kit) -> None:
    """Times are seconds: 23:00 to 05:00 over the end of summer time are seven hours, and seven are paid for."""
    charge_slots(portal)
    starts = 1_824_757_200  # 2027-10-30 23:00 in Berlin
    with portal.store.writing() as unit:
        unit.set_award(1, ends=starts + 400 * 24 * HOUR)
    run = approved(portal, zone="Europe/Berlin", starts=starts, ends=starts + 7 * HOUR, warm_minutes=0)
    assert run.price == 8 * 7 * HOUR * 1000 == held(portal)[0]


def test_a_seat_has_at_least_the_gpus_of_the_profile(portal: Kit) -> None:
    make_course(portal, "trays", profile="gpu4")
    with refused("run-gpus-few", BadInputError, "gpus"):
        portal.registry.runs.add(TEACHER, plan("trays", gpus=2))
    assert portal.registry.runs.add(TEACHER, plan("trays", gpus=8)).slot_gpus == 64


def test_codes_and_pseudonyms_are_of_their_own(portal: Kit) -> None:
    codes = {seen(portal, draft(portal)).code for _ in range(20)}
    assert len(codes) == 20
    assert all(len(code) == 8 and set(code) <= set(ALPHABET) for code in codes)
    assert not set("01OIL") & set(ALPHABET)
    code = codes.pop()
    assert normalised(f" {code[:4].lower()}-{code[4:]} ") == code
    again = portal.registry.runs.new_code(TEACHER, 1).code
    assert again not in codes | {code}
    with portal.store.reading() as unit:
        names = [seat["pseudonym"] for seat in unit.seats(1)]
    assert len(set(names)) == 8
    assert len(set(fresh_pseudonyms(1000, names))) == 1000


# --- who may ----------------------------------------------------------------------------------------------------------


def test_nobody_decides_about_a_run_of_their_own(portal: Kit) -> None:
    number = asked(portal)
    with refused("not-allowed", NotAllowedError):
        portal.registry.runs.decide(RESEARCHER, number, YES)
    portal.registry.courses.change(RESEARCHER, "frames", CoursePatch(instructors=["instructor", "admin"]), "*")
    with refused("decision-own", NotAllowedError):
        portal.registry.runs.decide(ADMIN, number, YES)
    portal.registry.courses.change(RESEARCHER, "frames", CoursePatch(instructors=["instructor"]), "*")
    with refused("run-unknown", NotFoundError):
        portal.registry.runs.decide(OUTSIDER, number, YES)
    mine = draft(portal)
    portal.registry.runs.request(ADMIN, mine, RunAsk())
    with refused("decision-own", NotAllowedError):
        portal.registry.runs.decide(ADMIN, mine, YES)
    assert portal.registry.runs.decide(ADMIN, number, YES).decided_by == "admin"


def test_who_decides_is_not_told_the_code(portal: Kit) -> None:
    with portal.store.writing() as unit:
        unit.set_officer("demo", "olga", is_one=True)
    number, olga = asked(portal), Visitor("olga")
    assert portal.registry.runs.run(olga, number)[0].code == ""
    assert portal.registry.runs.decide(olga, number, NO).code == ""
    assert [run.code for run in portal.registry.runs.runs(olga)[0]] == [""]
    with refused("not-allowed", NotAllowedError):
        portal.registry.rosters.roster(olga, number)
    assert seen(portal, number).reason == "full"


def test_who_teaches_is_named_by_those_who_answer_for_the_project(portal: Kit) -> None:
    courses = portal.registry.courses
    for patch in (CoursePatch(instructors=["friend"]), CoursePatch(retired=True)):
        with refused("not-allowed", NotAllowedError):
            courses.change(TEACHER, "frames", patch, "*")
    assert courses.change(TEACHER, "frames", CoursePatch(title="Frames"), "*")[0].title == "Frames"
    assert courses.change(RESEARCHER, "frames", CoursePatch(retired=True), "*")[0].retired_at == START
    with refused("course-retired"):
        draft(portal)
    assert courses.change(RESEARCHER, "frames", CoursePatch(retired=False), "*")[0].retired_at is None
    assert draft(portal)


# --- asking and deciding ----------------------------------------------------------------------------------------------


def test_instructors_who_were_never_here_are_taken_and_told(portal: Kit) -> None:
    courses = portal.registry.courses
    changed, _ = courses.change(RESEARCHER, "frames", CoursePatch(instructors=["instructor", "newcomer"]), "*")
    assert (changed.instructors, changed.unseen) == (["instructor", "newcomer"], ["newcomer"])
    with portal.store.writing() as unit:
        unit.know_user("newcomer", START)
    assert courses.course(RESEARCHER, "frames")[0].unseen == []
    assert [one.unseen for one in courses.courses(RESEARCHER, 1, 50)[0]] == [[]]


def test_approval_reserves_and_sets_aside_all_or_nothing(portal: Kit) -> None:
    charge_slots(portal)
    number = asked(portal)
    with portal.store.writing() as unit:
        unit.give_back(unit.award(1), 195 * 3_600_000, "x", at=START, actor="x")
    with refused("run-balance"):
        portal.registry.runs.decide(ADMIN, number, YES)
    assert (seen(portal, number).state, reserved(portal), held(portal)) == ("requested", [], (0, 0))
    with portal.store.writing() as unit:
        unit.supplement(unit.award(1), 100 * 3_600_000, ref="x", at=START, actor="x")
    run = portal.registry.runs.decide(ADMIN, number, YES)
    assert (run.state, run.slot_charge, run.held) == ("approved", True, 8 * SLOT * 1000)
    assert reserved(portal) == [(START + 2 * HOUR - 30 * MINUTE, START + 4 * HOUR, 2)]
    assert held(portal) == (8 * SLOT * 1000, 0)


def test_where_use_is_charged_nothing_is_set_aside(portal: Kit) -> None:
    run = approved(portal)
    assert (run.slot_charge, run.held, len(run.trays)) == (False, 0, 2)
    assert held(portal) == (0, 0)


def test_a_request_is_refused_with_a_reason_and_can_be_put_right(portal: Kit) -> None:
    number = asked(portal)
    assert portal.registry.runs.decide(ADMIN, number, NO).state == "refused"
    with refused("run-cannot"):
        portal.registry.runs.request(TEACHER, number, RunAsk())
    portal.registry.runs.change(TEACHER, number, RunPatch(seats=4), "*")
    assert portal.registry.runs.request(TEACHER, number, RunAsk(note="fewer now")).note == "fewer now"


def test_what_is_changed_while_it_is_looked_at_must_be_asked_for_again(portal: Kit) -> None:
    number = asked(portal)
    assert portal.registry.runs.change(TEACHER, number, RunPatch(name="Other"), "*")[0].state == "requested"
    assert portal.registry.runs.change(TEACHER, number, RunPatch(seats=4), "*")[0].state == "draft"
    with refused("run-cannot"):
        portal.registry.runs.decide(ADMIN, number, YES)


def test_an_approval_that_comes_late_keeps_what_is_left(portal: Kit) -> None:
    charge_slots(portal)
    number = asked(portal)
    portal.clock.forward(3 * HOUR)
    assert portal.registry.runs.decide(ADMIN, number, YES).held == 8 * HOUR * 1000
    late = asked(portal, starts=START + 3 * HOUR, ends=START + 4 * HOUR)
    portal.clock.forward(HOUR)
    with refused("run-over"):
        portal.registry.runs.decide(ADMIN, late, YES)


def test_a_run_moves_as_its_table_says(portal: Kit) -> None:
    do = {
        Action.EDIT: lambda run: portal.registry.runs.change(TEACHER, run, RunPatch(seats=7), "*"),
        Action.REQUEST: lambda run: portal.registry.runs.request(TEACHER, run, RunAsk()),
        Action.APPROVE: lambda run: portal.registry.runs.decide(ADMIN, run, YES),
        Action.REFUSE: lambda run: portal.registry.runs.decide(ADMIN, run, NO),
        Action.CANCEL: lambda run: portal.registry.runs.cancel(TEACHER, run, RunAsk()),
        Action.CLOSE: lambda run: portal.registry.runs.close(TEACHER, run),
    }
    for state, moves in MOVES.items():
        for action in Action:
            number = draft(portal, seats=8, gpus=0, warm_minutes=0, starts=portal.clock.now())
            with portal.store.writing() as unit:
                unit.change_run(number, state=state.value)
            same = (state, action) in {(RunState.CANCELLED, Action.CANCEL), (RunState.CLOSED, Action.CLOSE)}
            if action in moves or same:
                do[action](number)
                assert seen(portal, number).state == moves.get(action, state)
            else:
                with refused("run-cannot"):
                    do[action](number)


# --- moving -----------------------------------------------------------------------------------------------------------


def test_an_approved_run_moves_with_its_trays_and_its_money(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    moved, _ = portal.registry.runs.change(
        TEACHER, int(run.id), RunPatch(starts=START + 10 * HOUR, ends=START + 13 * HOUR), "*"
    )
    assert (moved.state, moved.trays, moved.reservation) == ("approved", run.trays, run.reservation)
    assert reserved(portal) == [(START + 10 * HOUR - 30 * MINUTE, START + 13 * HOUR, 2)]
    assert held(portal) == (8 * (3 * HOUR + 30 * MINUTE) * 1000, 0)
    with portal.store.reading() as unit:
        entries = [row.entry for row in unit.journal()[0] if row.entry.startswith("slot")]
    assert entries == ["slot-hold", "slot-end", "slot-hold"]


def test_a_run_that_cannot_move_stays_with_all_it_has(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    keep = NewReservation(name="x", project="demo", gpus=12, starts=START + 10 * HOUR, ends=START + 20 * HOUR)
    portal.registry.reservations.add(ADMIN, keep)
    before = (reserved(portal), held(portal), seen(portal, run))
    for patch, slug in (
        (RunPatch(starts=START + 11 * HOUR, ends=START + 12 * HOUR), "run-no-room-then"),
        (RunPatch(ends=START + 2 * HOUR + 24 * HOUR), "run-no-room-then"),
    ):
        with refused(slug):
            portal.registry.runs.change(TEACHER, int(run.id), patch, "*")
    with portal.store.writing() as unit:
        award = unit.award(1)
        unit.give_back(award, award["awarded"] - award["held"] - 1, "x", at=START, actor="x")
    with refused("run-balance"):
        portal.registry.runs.change(TEACHER, int(run.id), RunPatch(ends=START + 5 * HOUR), "*")
    assert (reserved(portal), held(portal), seen(portal, run)) == before


def test_a_run_that_has_begun_can_only_be_made_longer_or_shorter(portal: Kit) -> None:
    charge_slots(portal)
    run = int(approved(portal).id)
    portal.step(2 * HOUR)
    with refused("run-begun-starts", BadInputError, "starts"):
        portal.registry.runs.change(TEACHER, run, RunPatch(starts=START + 3 * HOUR), "*")
    longer, _ = portal.registry.runs.change(TEACHER, run, RunPatch(ends=START + 5 * HOUR), "*")
    assert longer.held == 8 * (SLOT + HOUR) * 1000 == held(portal)[0]
    portal.step(600)
    with refused("run-ends-past", BadInputError, "ends"):
        portal.registry.runs.change(TEACHER, run, RunPatch(ends=START + 2 * HOUR + 500), "*")
    shorter, _ = portal.registry.runs.change(TEACHER, run, RunPatch(ends=START + 3 * HOUR), "*")
    assert shorter.held == 8 * (SLOT - HOUR) * 1000 == held(portal)[0]
    portal.step(HOUR)
    with refused("run-over"):
        portal.registry.runs.change(TEACHER, run, RunPatch(name="x"), "*")


def test_seats_come_and_go_within_what_was_approved(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal, seats=6)
    number = int(run.id)
    assert portal.registry.runs.change(TEACHER, number, RunPatch(seats=8), "*")[0].held == run.held
    with refused("run-seats-approved", BadInputError, "seats"):
        portal.registry.runs.change(TEACHER, number, RunPatch(seats=9), "*")
    with refused("run-gpus-approved", BadInputError, "gpus"):
        portal.registry.runs.change(TEACHER, number, RunPatch(gpus=2), "*")
    assert portal.registry.runs.change(TEACHER, number, RunPatch(seats=4), "*")[0].held == run.held // 2
    assert [trays for _, _, trays in reserved(portal)] == [1]
    sit(portal, run, "ann")
    with refused("run-seats-taken"):
        with portal.store.writing() as unit:
            unit.change_seat(number, 1, user=None)
            unit.change_seat(number, 4, user="ann")
        portal.registry.runs.change(TEACHER, number, RunPatch(seats=3), "*")
    with portal.store.reading() as unit:
        assert len(unit.seats(number)) == 4
    assert held(portal) == (run.held // 2, 0)


def test_what_is_kept_for_a_run_is_not_moved_without_it(portal: Kit) -> None:
    reservation = int(approved(portal).reservation)
    with refused("reservation-of-run"):
        portal.registry.reservations.cancel(ADMIN, reservation)
    with refused("reservation-of-run"):
        portal.registry.reservations.move(ADMIN, reservation, ReservationPatch(ends=START + 9 * HOUR), "*")


# --- ending -----------------------------------------------------------------------------------------------------------


def test_a_cancelled_run_gives_everything_back(portal: Kit) -> None:
    charge_slots(portal)
    run = int(approved(portal).id)
    with refused("run-not-begun"):
        portal.registry.runs.close(TEACHER, run)
    gone = portal.registry.runs.cancel(TEACHER, run, RunAsk(note="teacher ill"))
    assert (gone.state, gone.reason, gone.charged, gone.reservation) == ("cancelled", "teacher ill", 0, "")
    assert (reserved(portal), held(portal)) == ([], (0, 0))
    assert portal.registry.runs.cancel(TEACHER, run, RunAsk()).state == "cancelled"


def test_a_cancelled_run_leaves_no_members_that_it_made(portal: Kit) -> None:
    run = approved(portal, flex_minutes=120)
    portal.step(60, beats=False)
    portal.registry.joining.join(LEARNER, run.code)
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is not None
    portal.registry.runs.cancel(TEACHER, int(run.id), RunAsk())
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is None
        assert not any(seat["made_member"] for seat in unit.seats(int(run.id)))


def test_a_run_that_is_closed_early_pays_for_what_was_kept(portal: Kit) -> None:
    charge_slots(portal)
    run = int(approved(portal).id)
    portal.step(3 * HOUR)
    with refused("run-begun"):
        portal.registry.runs.cancel(TEACHER, run, RunAsk())
    closed = portal.registry.runs.close(TEACHER, run)
    kept = 8 * (HOUR + 30 * MINUTE + HOUR - HOUR) * 1000
    assert (closed.state, closed.charged, closed.closed_at) == ("closed", kept, START + 3 * HOUR)
    assert held(portal) == (0, kept)
    assert reserved(portal) == [(START + 90 * MINUTE, START + 3 * HOUR, 2)]
    assert portal.registry.runs.close(TEACHER, run).charged == kept


def test_a_slot_that_is_over_is_charged_once_whether_it_was_used_or_not(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    portal.step(4 * HOUR)
    assert held(portal) == (0, run.price)
    portal.step(HOUR)
    portal.restart()
    closed = portal.registry.runs.close(TEACHER, int(run.id))
    assert (closed.charged, held(portal)) == (run.price, (0, run.price))


# --- leases of a run --------------------------------------------------------------------------------------------------


def test_leases_of_a_slot_cost_nothing_and_end_with_it(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    [offer] = [one for one in portal.desk.offers("ann", "en") if one.profile == "gpu1"]
    assert (offer.hold, offer.price_milli, offer.why_not) == (0, 0, None)
    lease = portal.ask("gpu1", LEARNER)
    portal.step(1)
    ran = portal.seen(lease)
    assert (ran.held, ran.price_milli, ran.seconds) == (0, 0, 2 * HOUR)
    assert {(share.domain, share.tray) for share in ran.placement} <= {(one.domain, one.tray) for one in run.trays}
    assert held(portal) == (run.price, 0)
    with refused("extend-slot"):
        portal.desk.extend(LEARNER, lease.id, Extend(seconds=600))
    portal.registry.runs.change(TEACHER, int(run.id), RunPatch(ends=START + 5 * HOUR), "*")
    assert portal.desk.extend(LEARNER, lease.id, Extend(seconds=600)).seconds == 2 * HOUR + 600
    portal.step(HOUR)
    portal.desk.end(LEARNER, lease.id)
    portal.step(1)
    assert portal.seen(lease).charged == 0
    late = portal.ask("gpu1", LEARNER)
    portal.step(2 * HOUR + 10)
    portal.step(1)
    assert portal.seen(late).ended_at is not None
    assert seen(portal, run).charged == 8 * (SLOT + HOUR) * 1000 == held(portal)[1]


def test_leases_end_when_the_run_is_closed(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    lease = portal.ask("gpu1", LEARNER)
    portal.step(60)
    portal.registry.runs.close(TEACHER, int(run.id))
    portal.step(1)
    portal.step(1)
    assert portal.seen(lease).ended_at is not None
    assert held(portal) == (0, 8 * (30 * MINUTE + 60) * 1000)


def test_a_seat_has_its_gpus_for_nothing_and_pays_for_more(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal, seats=4)
    with portal.store.writing() as unit:
        unit.know_user("ann", START)
        unit.set_member("demo", "ann", "member")
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    free, paid = portal.ask("gpu1", LEARNER), portal.ask("gpu1", LEARNER)
    assert (free.held, paid.held) == (0, 4 * HOUR * 1000)
    with refused("slot-ends"):
        portal.step(2 * HOUR - 30)
        portal.desk.end(LEARNER, free.id)
        portal.step(1)
        portal.ask("gpu1", LEARNER)
    assert portal.broken() == []


def test_who_has_no_seat_pays_as_ever(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    sit(portal, run, "ann")
    early = portal.ask("gpu1", LEARNER)
    portal.step(2 * HOUR)
    others = portal.ask("gpu1", RESEARCHER)
    elsewhere = portal.ask("gpu1", RESEARCHER, project="demo-small", seconds=600)
    assert min(lease.held for lease in (early, others, elsewhere)) > 0


def test_slot_leases_count_against_no_cap_but_that_of_their_user(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal, gpus=2, seats=4)
    with portal.store.writing() as unit:
        unit.set_project("demo", cap=1)
    for user in ("ann", "bob"):
        sit(portal, run, user)
    portal.step(2 * HOUR)
    for user in ("ann", "bob"):
        portal.ask("gpu2", Visitor(user))
    with portal.store.writing() as unit:
        unit.know_user("cid", START)
        unit.set_member("demo", "cid", "member", 1)
    sit(portal, run, "cid")
    with refused("cap-member"):
        portal.ask("gpu2", Visitor("cid"))
    assert portal.ask("gpu1", RESEARCHER).held > 0
    with refused("cap-project"):
        portal.ask("gpu1", RESEARCHER)


def test_workers_of_a_seat_are_in_the_slot_together_or_not_at_all(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal, gpus=4, seats=2)
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    kernel = portal.ask("gpu1", LEARNER)

    def workers(count: int, key: str) -> list[int]:
        body = WorkersAsk(
            project="demo", profile="gpu1", mailbox=MAILBOX, kind=Kind.WORKER, parent=kernel.id, count=count
        )
        return [lease.held for lease in portal.desk.ask_together(LEARNER, body, key)[0]]

    assert workers(3, "a") == [0, 0, 0]
    with pytest.raises(RefusedError):
        workers(1, "b")
    assert portal.broken() == []


def test_where_use_is_charged_leases_belong_to_the_run_and_pay(portal: Kit) -> None:
    run = approved(portal)
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    lease = portal.ask("gpu1", LEARNER)
    portal.step(100)
    portal.desk.end(LEARNER, lease.id)
    portal.step(1)
    assert portal.seen(lease).charged > 0
    assert seen(portal, run).charged == portal.seen(lease).charged


def test_a_failure_of_the_machine_in_a_slot_is_nothing_to_refund(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    sit(portal, run, "ann")
    portal.step(2 * HOUR)
    lease = portal.ask("gpu1", LEARNER)
    portal.step(10)
    portal.step(20, beats=False)
    portal.step(1)
    assert (portal.seen(lease).end_reason, portal.seen(lease).charged) == ("lost", 0)
    assert held(portal) == (run.price, 0)


# --- telling ----------------------------------------------------------------------------------------------------------


def test_reports_and_statements_show_what_a_slot_cost(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    portal.step(5 * HOUR)
    reports = portal.registry.reports
    day = {"since": START - 86_400, "until": START + 86_400}
    for by in ("project", "user", "programme", "pool", "domain", "day", "institution"):
        report = reports.usage(ADMIN, UsageAsk(by=by, **day))
        assert (report.total.charged, sum(row.charged for row in report.rows)) == (run.price, run.price), by
        assert report.total.leases_ended == 0
    assert reports.usage(TEACHER, UsageAsk(by="user", **day)).total.charged == run.price
    assert reports.usage(Visitor("ann"), UsageAsk(by="user", **day)).total.charged == 0
    statement = reports.statement(ADMIN, "demo", reports.period(UsageAsk(**day)))
    lines = [line for award in statement.awards for line in award.movements if line.entry.startswith("slot")]
    assert [(line.entry, line.change.held, line.change.charged) for line in lines] == [
        ("slot-hold", run.price, 0), ("slot-end", -run.price, run.price),
    ]  # fmt: skip
    [award] = portal.registry.awards.awards(ADMIN, project="demo")[0]
    assert award.dry_at is not None


def test_an_award_does_not_end_before_the_slot_that_it_pays_for(portal: Kit) -> None:
    charge_slots(portal)
    approved(portal)
    with refused("award-ends-before-leases"):
        portal.registry.awards.change_award(ADMIN, 1, AwardPatch(ends=START + 3 * HOUR), "*")


def test_every_change_has_a_line_and_none_tells_the_code(portal: Kit) -> None:
    run = approved(portal)
    portal.registry.runs.new_code(TEACHER, int(run.id))
    portal.registry.runs.cancel(TEACHER, int(run.id), RunAsk())
    lines = portal.registry.ledger.audit(ADMIN, what=f"run:{run.id}")[0]
    assert [line.action for line in reversed(lines)] == [
        "run-add",
        "run-request",
        "run-approve",
        "run-code",
        "run-cancel",
    ]
    assert all(run.code not in str(line.model_dump()) for line in lines)
