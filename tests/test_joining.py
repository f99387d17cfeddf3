"""Joining a class: who gets which seat with which code, and what everybody else is told."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from typing import Any

import pytest

from nvlhub.errors import BadInputError, ConflictError, NotFoundError, NvlhubError, TooManyError
from nvlhub.forms import Progress, SeatName
from nvlhub.registry.joining import CodeWrongError, Joining
from nvlhub.registry.tries import Tries
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import Kit, kit

AMY, BEN = Visitor("amy"), Visitor("ben")
HOUR = 3600
CODE = "KELP2345"


def teach(portal: Kit, seats: int = 2, roster: list[dict[str, Any]] | None = None, **more: Any) -> int:
    facts = {
        "course": "frames", "name": "Spring", "zone": "Asia/Taipei", "starts": START + HOUR, "ends": START + 3 * HOUR, "seats": seats,
        "gpus": 1, "warm": 1800, "flex": 1800, "grace": 900, "no_show": 1200, "code": CODE, "roster_only": False,
        "state": "approved", "made_by": "pi", "made_at": START,
    } | more  # fmt: skip
    with portal.store.writing() as unit:
        unit.add_course(
            ["instructor"], slug="frames", project="demo", title="Data frames", profile="gpu1", made_by="pi", made_at=START,
            repository="https://example.org/frames.git", commit="a" * 40, opens="01 start.ipynb",
        )  # fmt: skip
        run = unit.add_run([f"Owl {number}" for number in range(facts["seats"])], **facts)
        unit.set_roster(
            run,
            [
                {"row": number, "name": "", "name_latin": "", "seat": None, **row}
                for number, row in enumerate(roster or (), start=1)
            ],
        )
    return run


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    made = kit(store, clock)
    made.clock.forward(3000)
    return made


def join(portal: Kit, who: Visitor = AMY, code: str = CODE) -> Any:
    return portal.registry.joining.join(who, code)


def told(call: Any) -> tuple[type, str, dict[str, object]]:
    with pytest.raises(NvlhubError) as caught:
        call()
    return type(caught.value), caught.value.slug, dict(caught.value.members)


def test_a_right_code_gives_a_seat_and_the_same_one_again(portal: Kit) -> None:
    run = teach(portal)
    first = join(portal, code=" kelp-2345 ")
    assert (first.run, first.seat, first.state) == (str(run), 1, "waiting")
    assert first.opens == (
        f"user/amy/class-{run}/git-pull?repo=https%3A%2F%2Fexample.org%2Fframes.git&branch={'a' * 40}"
        "&targetpath=frames&urlpath=lab%2Ftree%2Fframes%2F01%2520start.ipynb"
    )
    assert join(portal).seat == 1
    assert join(portal, BEN).seat == 2


def test_joining_makes_a_member_of_the_project_and_touches_no_other_membership(portal: Kit) -> None:
    run = teach(portal, seats=3)
    join(portal)
    join(portal, Visitor("researcher"))
    with portal.store.reading() as unit:
        assert unit.member("demo", "amy") == {"user": "amy", "role": "member", "cap": 1}
        assert unit.member("demo", "researcher") == {"user": "researcher", "role": "pi", "cap": None}
        made = {seat["user"]: seat["made_member"] for seat in unit.seats(run)}
    assert made == {"amy": True, "researcher": False, None: False}
    join(portal)
    with portal.store.reading() as unit:
        assert unit.seat_of(run, "amy")["made_member"]


def test_what_is_wrong_with_a_code_is_not_told(portal: Kit) -> None:
    run = teach(portal)
    wrong = told(lambda: join(portal, code="NOSUCH23"))
    assert wrong == (CodeWrongError, "code-wrong", {})
    for state in ("draft", "requested", "refused", "cancelled", "closed"):
        with portal.store.writing() as unit:
            unit.change_run(run, state=state)
        assert told(partial(join, portal, Visitor(f"of-{state}"))) == wrong
    with portal.store.writing() as unit:
        unit.change_run(run, state="approved", roster_only=True)
    assert told(lambda: join(portal, Visitor("stranger"))) == wrong
    # Nor before and after its time.
    for at in (START, START + 4 * HOUR):
        portal.clock.at = at
        assert told(partial(join, portal, Visitor(f"at-{at}"))) == wrong


def test_a_code_is_asked_the_same_questions_whatever_it_opens(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    run = teach(portal, roster_only=True)
    asked: Counter[str] = Counter()
    joining = portal.registry.joining
    looks = {name: getattr(type(_unit(portal)), name) for name in ("run_by_code", "seat_of", "roster_row")}
    for name, look in looks.items():

        def counted(*args: Any, name: str = name, look: Any = look) -> Any:
            asked[name] += 1
            return look(*args)

        monkeypatch.setattr(type(_unit(portal)), name, counted)
    counts = []
    for code, state in (("NOSUCH23", "approved"), (CODE, "approved"), (CODE, "closed")):
        with portal.store.writing() as unit:
            unit.change_run(run, state=state)
        asked.clear()
        told(lambda code=code: joining.join(AMY, code))
        counts.append(dict(asked))
    assert counts == [dict.fromkeys(looks, 1)] * 3


def _unit(portal: Kit) -> Any:
    with portal.store.reading() as unit:
        return unit


def test_the_right_code_is_told_when_it_opens_and_that_it_is_over(portal: Kit) -> None:
    teach(portal)
    portal.clock.at = START + 1799
    assert told(lambda: join(portal)) == (ConflictError, "code-early", {"opens": "2027-01-15 16:30 CST (UTC+8)"})
    portal.clock.at = START + 1800
    join(portal)
    portal.clock.at = START + 3 * HOUR
    assert told(lambda: join(portal, BEN)) == (ConflictError, "code-late", {"ended": "2027-01-15 19:00 CST (UTC+8)"})
    assert join(portal).seat == 1, "who has a seat gets to it in the time of grace"


def test_after_five_wrong_codes_a_minute_a_right_one_has_to_wait_too(portal: Kit) -> None:
    teach(portal)
    now = [0.0]
    portal.registry.joining = Joining(portal.desk, Tries(lambda: now[0]))
    for _ in range(5):
        told(lambda: join(portal, code="NOSUCH23"))
    assert told(lambda: join(portal)) == (TooManyError, "code-too-often", {"wait": 12})
    assert join(portal, BEN).seat == 1, "others are not in the way"
    now[0] += 12
    assert join(portal).seat == 2
    assert join(portal).seat == 2, "right codes cost nothing"


def test_nobody_s_wrong_codes_keep_a_class_out_that_comes_from_one_address() -> None:
    tries = Tries(lambda: 0.0)
    for number in range(300):
        for _ in range(5):
            tries.begin(f"user-{number}")
        with pytest.raises(TooManyError):
            tries.begin(f"user-{number}")
    tries.begin("another")


def test_the_roster_binds_name_row_and_the_wish_for_a_seat(portal: Kit) -> None:
    run = teach(
        portal, seats=3, roster_only=True,
        roster=[{"user": "amy", "seat": 2, "name": "王小美", "name_latin": "Amy Wang"}, {"user": "BEN", "name": "Ben"}],
    )  # fmt: skip
    seat = join(portal)
    assert (seat.seat, seat.name, seat.name_latin) == (2, "王小美", "Amy Wang")
    assert join(portal, BEN).seat == 1
    with portal.store.reading() as unit:
        assert {seat["user"]: seat["row"] for seat in unit.seats(run)} == {"amy": 1, "ben": 2, None: None}


def test_a_seat_that_somebody_wishes_for_is_given_to_others_last(portal: Kit) -> None:
    teach(portal, roster=[{"user": "amy", "seat": 1}])
    assert join(portal, BEN).seat == 2
    assert join(portal).seat == 1


def test_a_full_class_says_when_seats_are_freed(portal: Kit) -> None:
    teach(portal, seats=1)
    join(portal)
    assert told(lambda: join(portal, BEN)) == (
        ConflictError,
        "run-full-until",
        {"frees": "2027-01-15 17:20 CST (UTC+8)"},
    )
    portal.clock.at = START + HOUR + 1200
    assert told(lambda: join(portal, BEN))[1:] == ("run-full", {})


def test_of_many_who_want_the_last_seats_as_many_get_one_as_there_are(portal: Kit) -> None:
    run = teach(portal, seats=4)
    results: list[object] = []
    gate = threading.Barrier(12)

    def come(number: int) -> None:
        gate.wait()
        try:
            results.append(join(portal, Visitor(f"user-{number % 8}")).seat)
        except NvlhubError as error:
            results.append(error.slug)

    crowd = [threading.Thread(target=come, args=(number,)) for number in range(12)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert {result for result in results if isinstance(result, int)} == {1, 2, 3, 4}
    assert {result for result in results if not isinstance(result, int)} == {"run-full-until"}
    with portal.store.reading() as unit:
        users = [seat["user"] for seat in unit.seats(run)]
    assert len(set(users)) == 4


def test_only_the_name_without_a_certificate_can_be_corrected(portal: Kit) -> None:
    run = teach(portal)
    join(portal)
    joining = portal.registry.joining
    assert joining.rename(AMY, run, SeatName(name="王小美", name_latin="Amy")).name == "王小美"
    with portal.store.writing() as unit:
        unit.connection.execute(
            t.attempts.insert().values(run=run, seat=1, number=1, user="amy", at=START, state="passed", score_milli=900)
        )
        unit.add_key("k", "A", START)
        unit.add_certificate(
            id="2345678923456789", run=run, seat=1, user="amy", attempt=1, document="{}", signature="", key="k", issued_at=START
        )  # fmt: skip
    assert told(lambda: joining.rename(AMY, run, SeatName(name="X")))[1] == "seat-name-settled"
    assert joining.mine(AMY)[0].certificate == "2345678923456789"


def test_a_hand_that_is_up_keeps_its_place(portal: Kit) -> None:
    run = teach(portal)
    join(portal)
    joining = portal.registry.joining
    first = joining.hand(AMY, run, up=True).hand_at
    portal.clock.forward(60)
    assert joining.hand(AMY, run, up=True).hand_at == first
    assert joining.hand(AMY, run, up=False).hand_at is None


def test_progress_is_that_of_the_own_seat(portal: Kit) -> None:
    run = teach(portal)
    join(portal)
    joining = portal.registry.joining
    seat = joining.progress(AMY, run, Progress(step=2, steps=5))
    assert (seat.step, seat.steps) == (2, 5)
    seat = joining.progress(AMY, run, Progress(check="mean", ok=False))
    assert (seat.step, seat.check_name, seat.check_ok) == (2, "mean", False)
    for wrong in (Progress(step=3), Progress(step=6, steps=5), Progress(check="x"), Progress(ok=True), Progress()):
        with pytest.raises(BadInputError):
            joining.progress(AMY, run, wrong)
    with pytest.raises(NotFoundError):
        joining.progress(BEN, run, Progress(step=1, steps=2))
    portal.clock.at = START + 4 * HOUR
    with pytest.raises(NotFoundError):
        joining.hand(AMY, run, up=True)


def test_two_runs_of_a_project_share_the_membership_that_the_first_made(portal: Kit) -> None:
    teach(portal)
    join(portal)
    with portal.store.writing() as unit:
        second = unit.add_run(["Owl"], course="frames", name="Again", zone="UTC", starts=START + HOUR, ends=START + 2 * HOUR, seats=1, gpus=1, warm=1800, flex=1800, grace=900, no_show=0, code="OTHER234", roster_only=False, state="approved", made_by="pi", made_at=START)  # fmt: skip
    join(portal, code="OTHER234")
    with portal.store.reading() as unit:
        assert unit.seat_of(second, "amy")["made_member"]


def test_a_seat_tells_whether_something_is_handed_in_and_carries_no_hidden_data(portal: Kit) -> None:
    run = teach(portal)
    assert not join(portal).assessed
    with portal.store.writing() as unit:
        unit.change_course("frames", assessment={"files": ["solve.py"], "hidden": {"truth.csv": "c2VjcmV0"}})
    [seat] = portal.registry.joining.mine(AMY)
    assert seat.assessed
    # The loop that tends servers asks for every seat of a class, and again and again.
    with portal.store.reading() as unit:
        rows = [*unit.seats_to_tend(portal.clock.now()), *unit.seats_of("amy", portal.clock.now()), unit.run(run)]
    assert len(rows) == 3
    assert not any("assessment" in row for row in rows)
