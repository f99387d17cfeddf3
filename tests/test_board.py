"""The board of a run: what an instructor sees and does while it goes on, before it and after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from nvlhub.errors import BadInputError, ConflictError, FailedError, NotAllowedError, NotFoundError, NvlhubError
from nvlhub.forms import (
    BoardView,
    Helping,
    Membership,
    NewMessage,
    NewReservation,
    RunAsk,
    RunExtension,
    RunView,
    SeatExtension,
    SeatView,
)
from nvlhub.material import Reach
from nvlhub.registry.board import PORTAL
from nvlhub.registry.reading import Period
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from nvlhub.wire import Extend, LeaseAsk
from tests.conftest import HandClock
from tests.courses_kit import HOUR, MINUTE, TEACHER, approved, charge_slots, make_course, sit
from tests.portal_kit import ADMIN, MAILBOX, RESEARCHER, Kit, kit

DAY = 86_400
OUTSIDER = Visitor("outsider")
ANN = Visitor("ann", server="ann/class-1")


@dataclass
class Rooms:
    """The hub, as far as the board asks it."""

    open: bool = True
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def stop(self, user: str, run: int, *, remove: bool = False) -> None:
        self.asked.append(("stop", user, run, remove))

    def let_in(self, user: str, run: int, guest: str) -> bool:
        self.asked.append(("let in", user, run, guest))
        return self.open


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    made = kit(store, clock, trays=4)
    make_course(made)
    made.registry.boards.rooms = Rooms()
    made.registry.boards.visits = True
    made.registry.boards.reach = lambda *_: Reach.THERE
    return made


@pytest.fixture
def run(portal: Kit) -> RunView:
    """A run that goes on since half an hour; `ann` sits at 1, `bob` at 2."""
    made = approved(portal)
    portal.step(2 * HOUR + 30 * MINUTE, beats=False)
    for user in ("ann", "bob"):
        sit(portal, made, user)
    be(portal, made, 1, ready_at=portal.clock.now(), seen_at=portal.clock.now(), name="王小安", made_member=True)
    be(portal, made, 2, made_member=True)
    return made


def be(portal: Kit, run: RunView, number: int, **values: Any) -> None:
    with portal.store.writing() as unit:
        unit.change_seat(int(run.id), number, **values)


def asked(portal: Kit) -> list[tuple[Any, ...]]:
    return portal.registry.boards.rooms.asked  # type: ignore[union-attr]


def board(portal: Kit, run: RunView, **more: Any) -> BoardView:
    return portal.registry.boards.board(TEACHER, int(run.id), **more)


def seat(portal: Kit, run: RunView, number: int) -> SeatView:
    return board(portal, run).seats[number - 1]


def audited(portal: Kit) -> list[str]:
    with portal.store.reading() as unit:
        return [line["action"] for line in unit.audit_lines(per_page=200)[0]]


def handed_in(portal: Kit, run: RunView, user: str, number: int, share: int, **more: Any) -> int:
    with portal.store.writing() as unit:
        values = {
            "run": int(run.id), "seat": 1, "number": number, "user": user, "at": portal.clock.now(),
            "state": "passed" if share >= 700 else "failed", "score_milli": share, "snapshot": f"{user}{number}",
            "feedback": [{"name": "speed", "title": "Speed", "title_zh": "速度", "share_milli": share, "text": f"{user}!"}],
        } | more  # fmt: skip
        return int(unit.connection.scalar(t.attempts.insert().values(**values).returning(t.attempts.c.id)))


# --- looking ------------------------------------------------------------------------------------------------------


def test_a_board_shows_every_seat_as_it_stands(portal: Kit, run: RunView) -> None:
    now = portal.clock.now()
    be(portal, run, 1, step=2, steps=5, check_name="join", check_ok=True)
    be(portal, run, 2, failed="no image", hand_at=now - 90)
    shown = board(portal, run)
    assert [one.state for one in shown.seats] == ["in-use", "failed"] + ["free"] * 6
    assert (shown.seats[0].step, shown.seats[0].steps, shown.seats[0].check_ok) == (2, 5, True)
    assert shown.seats[0].ends == run.ends
    assert shown.counts == {
        "free": 6, "warming": 0, "ready": 0, "in-use": 1, "idle": 0, "failed": 1, "over": 0, "hands": 1
    }  # fmt: skip
    portal.step(601, beats=False)
    assert seat(portal, run, 1).state == "idle"
    portal.step(2 * HOUR, beats=False)
    assert seat(portal, run, 1).state == "over"


def test_who_needs_help_comes_first_and_hands_in_the_order_in_which_they_were_raised(portal: Kit, run: RunView) -> None:
    now = portal.clock.now()
    sit(portal, run, "cid")
    sit(portal, run, "dan")
    be(portal, run, 1, hand_at=now - 10)
    be(portal, run, 2, hand_at=now - 99, helped_by="colleague", ready_at=now, seen_at=now)
    be(portal, run, 3, failed="no image")
    be(portal, run, 4, hand_at=now - 50)
    assert [one.number for one in board(portal, run, sort="help").seats][:5] == [4, 1, 2, 3, 5]


def test_a_board_without_names_tells_nobody(portal: Kit, run: RunView) -> None:
    be(portal, run, 1, hand_at=1, helped_by="instructor", failed="/home/ann is full")
    portal.registry.boards.tell(TEACHER, int(run.id), NewMessage(text="Ann, look here", seat=1))
    told = board(portal, run, pseudonyms=True).model_dump_json()
    for name in ("ann", "bob", "王小安", "Ann", "instructor", "admin"):
        assert f'"{name}' not in told, name
        assert f"/{name}" not in told, name
    assert seat(portal, run, 1).pseudonym in told


def test_only_those_who_teach_a_run_have_its_board(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    calls = [
        lambda who: boards.board(who, number), lambda who: boards.tell(who, number, NewMessage(text="x")),
        lambda who: boards.help(who, number, 1, Helping()), lambda who: boards.open(who, number, 1),
        lambda who: boards.restart(who, number, 1), lambda who: boards.replace(who, number, 1),
        lambda who: boards.release(who, number, 1), lambda who: boards.try_seat(who, number),
        lambda who: boards.extend_seat(who, number, 1, SeatExtension(minutes=5), "en"),
        lambda who: boards.extend(who, number, RunExtension(minutes=5), "en"), lambda who: boards.end(who, number),
        lambda who: boards.results(who, number), lambda who: boards.readiness(who, number, "en"),
    ]  # fmt: skip
    with portal.store.writing() as unit:
        unit.know_user("officer", 0)
        unit.set_officer("demo", "officer", is_one=True)
    for call in calls:
        for who, error in ((OUTSIDER, NotFoundError), (ANN, NotFoundError), (Visitor("officer"), NotAllowedError)):
            with pytest.raises(error):
                call(who)
    assert asked(portal) == []
    assert board(portal, run).counts["in-use"] == 1


# --- helping ------------------------------------------------------------------------------------------------------


def test_a_message_is_for_everybody_or_one_seat_and_leaves_an_audit_line(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    boards.tell(TEACHER, number, NewMessage(text="Break\r\nuntil ten"))
    boards.tell(TEACHER, number, NewMessage(text="Look at cell 3", seat=2))
    assert [(one.seat, one.text) for one in board(portal, run).messages] == [
        (2, "Look at cell 3"), (None, "Break\nuntil ten")
    ]  # fmt: skip
    assert audited(portal).count("run-message") == 2
    with pytest.raises(NotFoundError):
        boards.tell(TEACHER, number, NewMessage(text="x", seat=99))


def test_a_hand_is_claimed_by_one_and_settled(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    with pytest.raises(ConflictError):
        boards.help(TEACHER, number, 1, Helping())
    be(portal, run, 1, hand_at=portal.clock.now() - 60)
    assert boards.help(TEACHER, number, 1, Helping()).helped_by == "instructor"
    with pytest.raises(ConflictError):
        boards.help(RESEARCHER, number, 1, Helping())
    settled = boards.help(RESEARCHER, number, 1, Helping(done=True))
    assert (settled.hand_at, settled.helped_by) == (None, "")


def test_a_learner_is_told_when_their_server_is_opened_and_only_then(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    assert boards.open(TEACHER, number, 1).path == f"user/ann/class-{number}/lab"
    assert asked(portal) == [("let in", "ann", number, "instructor")]
    [message] = board(portal, run).messages
    assert message.seat == 1
    assert "instructor" in message.text
    assert "seat-open" in audited(portal)
    boards.rooms = Rooms(open=False)
    with pytest.raises(FailedError):
        boards.open(TEACHER, number, 2)
    with pytest.raises(ConflictError):
        boards.open(TEACHER, number, 8)
    assert len(board(portal, run).messages) == 1


def test_no_server_is_opened_where_a_learners_page_could_act_as_the_instructor(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    boards.visits = False
    with pytest.raises(ConflictError) as refused:
        boards.open(TEACHER, number, 1)
    assert refused.value.slug == "seat-no-visits"
    assert asked(portal) == []
    assert board(portal, run).messages == []


# --- seats --------------------------------------------------------------------------------------------------------


def test_a_restarted_seat_is_started_anew_and_its_leases_end(portal: Kit, run: RunView) -> None:
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    assert seat(portal, run, 1).lease == lease.id
    assert portal.registry.boards.restart(TEACHER, int(run.id), 1).state == "warming"
    assert asked(portal) == [("stop", "ann", int(run.id), False)]
    portal.step(1)
    assert portal.seen(lease).state == "settled"


def test_a_replaced_seat_takes_everything_along(portal: Kit, run: RunView) -> None:
    be(portal, run, 1, step=3, steps=5, hand_at=5)
    moved = portal.registry.boards.replace(TEACHER, int(run.id), 1)
    assert (moved.number, moved.user, moved.name, moved.step, moved.hand_at) == (3, "ann", "王小安", 3, 5)
    assert seat(portal, run, 1).state == "free"
    for place in range(4, 9):
        sit(portal, run, f"user{place}")
    sit(portal, run, "last")
    with pytest.raises(ConflictError):
        portal.registry.boards.replace(TEACHER, int(run.id), 2)


def test_a_released_seat_is_free_and_leaves_nothing_behind(portal: Kit, run: RunView) -> None:
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    handed_in(portal, run, "ann", 1, 900)
    freed = portal.registry.boards.release(TEACHER, int(run.id), 1)
    portal.step(1)
    assert (freed.state, freed.user, freed.name) == ("free", "", "")
    assert asked(portal) == [("stop", "ann", int(run.id), True)]
    assert portal.seen(lease).state == "settled"
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is None
    [ann] = [one for one in portal.registry.boards.results(TEACHER, int(run.id)).learners if one.user == "ann"]
    assert (ann.attempts, ann.passed) == (1, True)


def test_a_membership_that_another_run_needs_or_that_became_more_stays(portal: Kit, run: RunView) -> None:
    other = approved(portal, name="Second", starts=portal.clock.now() + 5 * HOUR, ends=portal.clock.now() + 6 * HOUR)
    sit(portal, other, "ann")
    be(portal, other, 1, made_member=True)
    with portal.store.writing() as unit:
        unit.set_member("demo", "bob", "manager")
    portal.registry.boards.release(TEACHER, int(run.id), 1)
    portal.registry.boards.release(TEACHER, int(run.id), 2)
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is not None
        assert unit.member("demo", "bob") is not None
    portal.registry.boards.release(TEACHER, int(other.id), 1)
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is None


def test_an_instructor_tries_a_seat_and_frees_it(portal: Kit) -> None:
    run = approved(portal)
    boards, number = portal.registry.boards, int(run.id)
    tried = boards.try_seat(TEACHER, number)
    assert (tried.user, tried.number, tried.state) == ("instructor", 1, "warming")
    assert boards.try_seat(TEACHER, number).state == "free"
    with portal.store.reading() as unit:
        # They were a member before, and are.
        assert unit.member("demo", "instructor") is not None


# --- time ---------------------------------------------------------------------------------------------------------


def test_more_time_for_the_class_moves_reservation_money_and_leases(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    portal.step(3 * HOUR, beats=False)
    sit(portal, run, "ann")
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    assert portal.seen(lease).deadline == run.ends
    boards, number = portal.registry.boards, int(run.id)
    tried = boards.extend(TEACHER, number, RunExtension(minutes=30, dry_run=True), "en")
    assert (tried.fits, tried.ends, tried.displaced, tried.new_trays) == (True, run.ends + 1800, [], False)
    assert tried.price > run.price
    assert board(portal, run).run.ends == run.ends
    done = boards.extend(TEACHER, number, RunExtension(minutes=30), "en")
    assert (done.ends, done.extended, done.refused) == (run.ends + 1800, 1, [])
    assert portal.seen(lease).deadline == run.ends + 1800
    after = board(portal, run).run
    assert (after.ends, after.price) == (run.ends + 1800, tried.price)
    assert portal.broken() == []


def test_a_class_that_cannot_go_on_is_told_so_and_nothing_changes(portal: Kit, run: RunView) -> None:
    kept = NewReservation(name="Next", project="demo", gpus=16, starts=run.ends, ends=run.ends + HOUR)
    portal.registry.reservations.add(ADMIN, kept)
    boards, number = portal.registry.boards, int(run.id)
    tried = boards.extend(TEACHER, number, RunExtension(minutes=30, dry_run=True), "en")
    assert not tried.fits
    assert "room" in tried.detail
    with pytest.raises(ConflictError):
        boards.extend(TEACHER, number, RunExtension(minutes=30), "en")
    assert board(portal, run).run.ends == run.ends


def test_a_seat_has_time_of_its_own_beyond_the_class(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    assert boards.extend_seat(TEACHER, number, 1, SeatExtension(minutes=60), "en").ends == run.ends + HOUR
    with pytest.raises(BadInputError):
        boards.extend_seat(TEACHER, number, 1, SeatExtension(minutes=200), "en")
    portal.step(2 * HOUR, beats=False)
    assert [seat(portal, run, place).state for place in (1, 2)] == ["idle", "over"]
    assert seat(portal, run, 1).ends == run.ends + HOUR


def test_leases_go_on_with_a_seat_as_far_as_they_may(portal: Kit, run: RunView) -> None:
    lease = portal.ask("gpu1", ANN, seconds=HOUR)
    portal.step(5)
    more = portal.registry.boards.extend_seat(TEACHER, int(run.id), 1, SeatExtension(minutes=30), "en")
    assert (more.extended, more.refused, more.detail) == (1, [], "")
    assert portal.seen(lease).deadline == run.ends + 1800
    with pytest.raises(NotFoundError):
        portal.desk.extend(TEACHER, lease.id, Extend(seconds=60))


def test_more_time_for_a_seat_says_that_kernels_end_with_the_slot(portal: Kit) -> None:
    charge_slots(portal)
    run = approved(portal)
    portal.step(3 * HOUR, beats=False)
    sit(portal, run, "ann")
    be(portal, run, 1, made_member=True)
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    more = portal.registry.boards.extend_seat(TEACHER, int(run.id), 1, SeatExtension(minutes=30), "en")
    assert (more.fits, more.extended, len(more.refused)) == (True, 0, 1)
    assert "end with its slot" in more.detail
    portal.step(run.ends + 1 - portal.clock.now())
    portal.step(1)
    assert portal.seen(lease).state == "settled"
    anew = portal.ask("gpu1", ANN)
    portal.step(5)
    assert anew.held == (30 * MINUTE - 2) * 1000
    assert portal.seen(anew).deadline == run.ends + 30 * MINUTE
    assert portal.broken() == []


# --- the end ------------------------------------------------------------------------------------------------------


def test_the_end_of_a_class_undoes_all_that_it_made(portal: Kit, run: RunView) -> None:
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    ended = portal.registry.boards.end(TEACHER, int(run.id))
    portal.step(1)
    assert ended.state == "closed"
    assert portal.seen(lease).state == "settled"
    with portal.store.reading() as unit:
        assert (unit.member("demo", "ann"), unit.member("demo", "bob")) == (None, None)
        assert unit.bookings("main", portal.clock.now()) == []
    assert portal.registry.boards.end(TEACHER, int(run.id)).state == "closed"
    with pytest.raises(ConflictError):
        portal.registry.boards.tell(TEACHER, int(run.id), NewMessage(text="x"))
    assert portal.broken() == []


def test_a_run_that_nobody_ends_is_ended_when_nothing_counts_any_more(portal: Kit, run: RunView) -> None:
    portal.registry.boards.extend_seat(TEACHER, int(run.id), 1, SeatExtension(minutes=60), "en")
    portal.step(run.ends + HOUR + run.grace_minutes * MINUTE - 1 - portal.clock.now(), beats=False)
    assert portal.registry.boards.end_left_open() == []
    portal.step(1, beats=False)
    assert portal.registry.boards.end_left_open() == [int(run.id)]
    assert portal.registry.boards.board(PORTAL, int(run.id)).run.state == "closed"


# --- guests: members because a run made them one ------------------------------------------------------------------


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(NvlhubError) as caught:
        call()
    return caught.value.slug


@pytest.mark.parametrize("slots", [False, True])
def test_a_guest_has_leases_only_while_their_class_goes_on(portal: Kit, slots: bool) -> None:
    charge_slots(portal, slots)
    run = approved(portal, grace_minutes=30)
    sit(portal, run, "ann")
    be(portal, run, 1, made_member=True)
    assert refusal(lambda: portal.ask("gpu1", ANN)) == "class-not-on"
    [offer] = [one for one in portal.desk.offers("ann", "en") if one.profile == "gpu1"]
    assert offer.why_not is not None
    assert "until the class ends" in offer.why_not.detail
    portal.step(2 * HOUR, beats=False)
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    assert portal.seen(lease).deadline == run.ends
    with portal.store.reading() as unit:
        kept = unit.lease(lease.id)
    assert kept is not None
    assert kept.run == int(run.id)
    assert refusal(lambda: portal.desk.extend(ANN, lease.id, Extend(seconds=600))) in {"extend-class", "extend-slot"}
    portal.step(run.ends + 1 - portal.clock.now())
    portal.step(1)
    assert portal.seen(lease).state == "settled"
    # Within the grace, in which what is handed in still counts.
    assert refusal(lambda: portal.ask("gpu1", ANN)) == "class-over"
    assert refusal(lambda: portal.ask("gpu1", ANN, preemptible=True)) == "class-over"
    # What was handed in by then is judged on GPUs nevertheless, and is the run's to pay.
    ask = LeaseAsk(project="demo", profile="gpu1", mailbox=MAILBOX, seconds=120)
    judged, _ = portal.desk.ask(Visitor("ann"), ask, "attempt", judged=True)
    with portal.store.reading() as unit:
        late = unit.lease(judged.id)
    assert late is not None
    assert late.run == int(run.id)
    portal.registry.boards.end(TEACHER, int(run.id))
    portal.step(1)
    assert portal.seen(judged).state == "settled"
    assert portal.broken() == []


def test_a_guest_with_more_time_has_it_for_their_leases_too(portal: Kit, run: RunView) -> None:
    portal.registry.boards.extend_seat(TEACHER, int(run.id), 1, SeatExtension(minutes=30), "en")
    lease = portal.ask("gpu1", ANN)
    portal.step(5)
    assert portal.seen(lease).deadline == run.ends + 1800
    portal.step(run.ends + 1790 - portal.clock.now())
    assert refusal(lambda: portal.ask("gpu1", ANN)) == "class-ends"


def test_whoever_was_a_member_before_is_bound_by_no_class(portal: Kit, run: RunView) -> None:
    be(portal, run, 1, made_member=False)
    portal.step(run.ends + 60 - portal.clock.now(), beats=False)
    assert portal.ask("gpu1", ANN).held == 4 * HOUR * 1000


def test_the_leases_of_a_guest_end_with_their_membership_whatever_run_they_carry(portal: Kit, run: RunView) -> None:
    be(portal, run, 1, made_member=False)
    portal.step(run.ends + 60 - portal.clock.now(), beats=False)
    lease = portal.ask("gpu1", ANN)
    be(portal, run, 1, made_member=True)
    portal.registry.boards.end(TEACHER, int(run.id))
    portal.step(1)
    assert portal.seen(lease).state == "settled"


def test_a_guest_may_hold_what_their_seats_need_at_once(portal: Kit) -> None:
    joining, boards = portal.registry.joining, portal.registry.boards
    small = approved(portal, seats=1, flex_minutes=60)
    large = approved(portal, seats=1, gpus=4, starts=small.starts + HOUR, ends=small.ends + HOUR, flex_minutes=120)
    later = approved(
        portal, seats=1, gpus=2, starts=small.ends + 2 * HOUR, ends=small.ends + 3 * HOUR, flex_minutes=600
    )
    portal.step(HOUR + 1, beats=False)

    def cap() -> int | None:
        with portal.store.reading() as unit:
            member = unit.member("demo", "ann")
        assert member is not None
        return int(member["cap"])

    caps = []
    for run in (small, later, large):
        joining.join(ANN, run.code)
        caps.append(cap())
    assert caps == [1, 2, 5]
    # Only what goes on now counts: the GPUs of the other classes are not theirs yet.
    portal.step(small.starts + 60 - portal.clock.now(), beats=False)
    portal.ask("gpu1", ANN)
    assert refusal(lambda: portal.ask("gpu1", ANN)) == "cap-member"
    boards.release(TEACHER, int(large.id), 1)
    assert cap() == 2
    boards.end(TEACHER, int(small.id))
    assert cap() == 2
    portal.registry.runs.cancel(TEACHER, int(later.id), RunAsk())
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") is None


def test_a_guest_sees_neither_the_books_nor_the_others(portal: Kit, run: RunView) -> None:
    registry, bob = portal.registry, Visitor("bob")
    own = portal.ask("gpu1", ANN)
    portal.step(5)
    assert [one.user for one in registry.directory.members(ANN, "demo", 1, 50)[0]] == ["ann"]
    assert registry.directory.members(ANN, "demo", 1, 50)[1] == 1
    assert registry.directory.project(ANN, "demo")[0].role == "member"
    period = Period(0, portal.clock.now() + 1)
    for closed in (
        lambda: registry.reports.statement(ANN, "demo", period),
        lambda: registry.directory.usage(ANN, "demo", 7),
        lambda: registry.burning.of_project(ANN, "demo", "", 7),
        lambda: registry.directory.set_member(ANN, "demo", "bob", Membership(role="member")),
    ):
        assert refusal(closed) == "guest-not"
    assert registry.awards.awards(ANN) == ([], 0)
    assert registry.ledger.transactions(ANN)[1] == 0
    assert registry.ledger.transactions(ANN, lease=own.id)[1] == 1
    assert refusal(lambda: registry.awards.award(ANN, 1)) == "award-unknown"
    assert refusal(lambda: registry.directory.programme(ANN, "demo")) == "programme-unknown"
    [offer] = [one for one in portal.desk.offers("bob", "en") if one.profile == "gpu1"]
    assert offer.left == offer.hold
    # A member of their own sees what members always saw.
    be(portal, run, 2, made_member=False)
    assert len(registry.directory.members(bob, "demo", 1, 50)[0]) > 2
    assert registry.awards.awards(bob)[1] == 1
    assert registry.reports.statement(bob, "demo", period).awards


def test_the_trail_is_read_by_those_whom_it_is_about_and_who_answer_for_it(portal: Kit, run: RunView) -> None:
    registry = portal.registry
    registry.joining.join(Visitor("cid"), run.code)
    registry.joining.join(Visitor("dan"), run.code)

    def read(who: Visitor) -> set[tuple[str, str]]:
        return {(line.action, line.user or line.actor) for line in registry.ledger.audit(who, per_page=200)[0]}

    assert read(Visitor("cid")) == {("seat-join", "cid")}
    assert read(ANN) == set()
    # Who teaches one course finds what they did, not what happens in others of the project.
    assert {actor for _, actor in read(TEACHER)} == {"instructor"}
    assert {("seat-join", "cid"), ("seat-join", "dan"), ("run-approve", "admin")} <= read(RESEARCHER)
    # Which seat somebody has is not told: results stay by seat when names are removed.
    for line in registry.ledger.audit(ADMIN, action="seat-join")[0]:
        assert (line.object, line.after) == (f"run:{run.id}", {"made_member": True})


def test_what_somebody_makes_of_a_guest_by_hand_is_no_class_to_undo(portal: Kit, run: RunView) -> None:
    portal.registry.directory.set_member(RESEARCHER, "demo", "ann", Membership(role="member", cap=3))
    portal.registry.boards.end(TEACHER, int(run.id))
    with portal.store.reading() as unit:
        assert unit.member("demo", "ann") == {"user": "ann", "role": "member", "cap": 3}


# --- afterwards ---------------------------------------------------------------------------------------------------


def roster(portal: Kit, run: RunView) -> None:
    with portal.store.writing() as unit:
        told = (("A1", "王小安", "ann"), ("A2", "=cmd()", "cid"))
        rows = [
            {"row": row, "student_no": no, "name": name, "user": user} for row, (no, name, user) in enumerate(told, 1)
        ]
        unit.set_roster(int(run.id), rows)
        unit.change_seat(int(run.id), 1, row=1)


def test_results_name_everybody_and_count_the_best(portal: Kit, run: RunView) -> None:
    roster(portal, run)
    handed_in(portal, run, "ann", 1, 500)
    handed_in(portal, run, "ann", 2, 1000)
    handed_in(portal, run, "bob", 1, 600)
    found = portal.registry.boards.results(TEACHER, int(run.id))
    told = [(one.row, one.seat, one.user, one.attempts, one.best_milli, one.passed) for one in found.learners]
    assert told == [(1, 1, "ann", 2, 1000, True), (None, 2, "bob", 1, 600, False), (2, None, "cid", 0, None, False)]
    assert (found.came, found.tried, found.passed, found.mean_milli) == (2, 2, 1, 800)
    [item] = found.items
    assert (item.name, item.judged, item.passed, item.passed_milli, item.mean_milli) == ("speed", 2, 1, 500, 800)


def test_the_cost_of_a_run_is_what_its_leases_were_charged(portal: Kit, run: RunView) -> None:
    lease = portal.ask("gpu1", ANN)
    portal.step(100)
    portal.desk.end(ANN, lease.id)
    portal.step(1)
    assert portal.registry.boards.results(TEACHER, int(run.id)).cost == portal.seen(lease).charged > 0


def everything(portal: Kit) -> str:
    with portal.store.reading() as unit:
        tables = (t.seats, t.roster, t.attempts, t.run_messages)
        rows = [dict(row._mapping) for table in tables for row in unit.connection.execute(sa.select(table))]
    return json.dumps(rows, ensure_ascii=False)


def test_names_go_when_their_days_are_over_and_results_stay(portal: Kit, run: RunView) -> None:
    boards, number = portal.registry.boards, int(run.id)
    forgotten: list[str] = []
    boards.forget = forgotten.append
    roster(portal, run)
    passed = handed_in(portal, run, "ann", 1, 1000)
    handed_in(portal, run, "zoe", 1, 400)
    boards.tell(TEACHER, number, NewMessage(text="Well done, ann"))
    with portal.store.writing() as unit:
        unit.add_key("0123456789ab", "A" * 43 + "=", portal.clock.now())
        unit.add_certificate(
            id="2345678923456789", run=number, seat=1, user="ann", attempt=passed, document='{"name": "王小安"}',
            signature="s", key="0123456789ab", issued_at=portal.clock.now(),
        )  # fmt: skip
    boards.end(TEACHER, number)
    before = boards.results(TEACHER, number)
    portal.step(60 * DAY - 1, beats=False)
    assert boards.redact() == []
    assert "ann" in everything(portal)
    portal.step(1, beats=False)
    assert boards.redact() == [number]
    for name in ("ann", "bob", "zoe", "王小安", "A1", "=cmd()"):
        assert name not in everything(portal), name
    assert forgotten == ["ann1", "zoe1"]
    after = boards.results(TEACHER, number)
    assert (after.tried, after.passed, after.mean_milli, after.items) == (2, 1, before.mean_milli, before.items)
    [first] = [one for one in after.learners if one.seat == 1 and one.passed]
    assert (first.best_milli, first.certificate, first.user, first.name) == (1000, "2345678923456789", "", "")
    with portal.store.reading() as unit:
        assert unit.certificate("2345678923456789")["document"] == '{"name": "王小安"}'
    assert boards.redact() == []
    assert portal.broken() == []


# --- before -------------------------------------------------------------------------------------------------------


def verdicts(portal: Kit, run: RunView) -> dict[str, str]:
    return {one.name: one.verdict for one in portal.registry.boards.readiness(TEACHER, int(run.id), "en").checks}


def test_a_run_is_ready_when_all_that_it_needs_is_there(portal: Kit) -> None:
    run = approved(portal)
    assert set(verdicts(portal, run).values()) == {"good"}
    with portal.store.writing() as unit:
        unit.change_run(int(run.id), roster_only=True)
        unit.change_course("frames", repository="https://git.example/x", commit="0" * 40)
        unit.connection.execute(t.profiles.update().values(published=False))
    portal.registry.boards.reach = lambda *_: Reach.GONE
    assert verdicts(portal, run) == {
        "approved": "good", "material": "bad", "profile": "bad", "capacity": "good", "roster": "bad", "code": "good",
        "assessment": "good",
    }  # fmt: skip
    portal.registry.boards.reach = lambda *_: Reach.UNASKED
    assert verdicts(portal, run)["material"] == "unknown"
