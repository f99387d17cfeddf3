"""The pages on which a run is planned, without a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlhub.forms import NewCourse, RunAsk, RunDecision
from nvlhub.material import Reach
from nvlhub.visitor import Visitor
from tests.conftest import HandClock
from tests.courses_kit import HOUR, TEACHER, approved, charge_slots, plan, with_course
from tests.portal.pages_kit import Visit, visiting
from tests.portal_kit import ADMIN, RESEARCHER, Kit

NEW = "teach/courses/frames/new-run"
STRANGER = Visitor("stranger")


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    with with_course(tmp_path, clock) as made:
        made.registry.boards.reach = lambda *_: Reach.THERE
        yield made


@pytest.fixture
def visit(portal: Kit) -> Iterator[Visit]:
    for one in visiting(portal):
        yield one.be(TEACHER)


def typed(**more: str) -> dict[str, str]:
    """Return a form as people fill it in; the tests begin on 15 January 2027, 08:00 UTC."""
    return {
        "name": "Spring", "zone": "Asia/Taipei", "day": "2027-01-20", "starts": "09:00", "ends": "12:00", "seats": "8", "gpus": "1",
        "warm_minutes": "30", "flex_minutes": "30", "grace_minutes": "30", "no_show_minutes": "20", "note": "", **more,
    }  # fmt: skip


def runs(portal: Kit) -> list[Any]:
    return portal.registry.runs.runs(TEACHER)[0]


def test_a_look_tells_room_trays_and_price_and_makes_nothing(portal: Kit, visit: Visit) -> None:
    charge_slots(portal)
    assert visit.form() == {}
    visit.see(NEW)
    assert (visit.form()["zone"], visit.form()["gpus"]) == ("Asia/Taipei", "1")
    shown = visit.send(NEW, **typed(do="look"))
    assert visit.status == 200
    assert 'data-fits="true"' in shown
    assert "nvl001: 1-2" in shown
    assert "2027-01-20 08:30 CST (UTC+8) to 2027-01-20 12:00 CST (UTC+8)" in shown
    assert "charges the whole slot: 28.00 GPU-hours" in shown
    assert "200.00 left" in shown
    assert visit.form()["name"] == "Spring"
    shown = visit.send(NEW, **typed(do="look", seats="16", starts="00:30", ends="23:30"))
    assert "There is room now" in shown
    assert "No award of the project that is valid then has as much: at most 200.00 are left" in shown
    assert runs(portal) == []


def test_where_there_is_no_room_the_next_time_is_one_press_away(portal: Kit, visit: Visit) -> None:
    approved(portal, seats=16)
    first = {"day": "2027-01-15", "starts": "18:30", "ends": "19:30", "seats": "16"}
    shown = visit.send(NEW, **typed(do="look", **first))
    assert 'data-fits="false"' in shown
    assert "0 of 16 GPUs could be had" in shown
    then = re.search(r'name="next_starts" value="(\d+)"', shown)
    assert then
    shown = visit.send(NEW, **typed(do="next", next_starts=then[1], **first))
    assert 'data-fits="true"' in shown
    assert (visit.form()["starts"], visit.form()["ends"]) == ("20:30", "21:30")
    visit.send(NEW, **typed(do="next", next_starts="soon"))
    assert visit.status == 422


def test_a_draft_is_saved_once_however_often_it_is_sent(portal: Kit, visit: Visit) -> None:
    key = re.search(r'name="key" value="([^"]+)"', visit.see(NEW))
    assert key
    sent = typed(do="save", key=key[1], name="Frühling <1>".replace("<1>", "1"), roster_only="1", note="B204\r\nsecond")
    assert visit.send(NEW, **sent) == "teach/1/plan?done=drafted"
    assert visit.send(NEW, **sent) == "teach/1/plan?done=drafted"
    [run] = runs(portal)
    assert (run.name, run.roster_only, run.note, run.seats) == ("Frühling 1", True, "B204 second", 8)
    visit.send(NEW, **{**sent, "seats": "9"})
    assert visit.status == 409
    assert "sent before" in visit.fault()
    assert visit.form()["seats"] == "9"
    assert "Saved as a draft" in visit.see("teach/1/plan?done=drafted")
    assert "plan-done" not in visit.see("teach/1/plan?done=nonsense")


@pytest.mark.parametrize(
    ("field", "wrong", "said"),
    [
        ("name", "", "Name of the run: 1 to 100"), ("name", "a<b", "without < >"), ("zone", "Asia/Nowhere", "Time zone: there is no"),
        ("day", "", "Day: a day is wanted"), ("day", "2027-13-40", "Day: a day is wanted"), ("day", "2020-01-01", "Starts: it lies in the past"),
        ("starts", "", "Starts: a time is wanted"), ("starts", "9 pm", "Starts: “9 pm” is no time"), ("ends", "08:00", "Ends: it must lie after the start"),
        ("ends", "09:01", "Ends: a run lasts five minutes"), ("last_day", "2027-01-28", "Ends: a run lasts a day at most"),
        ("seats", "many", "Seats: a whole number"), ("seats", "0", "Seats: 1 to 1000"), ("gpus", "5", "GPUs of a seat: above 4"),
        ("gpus", "99", "GPUs of a seat: 0 to 72"), ("warm_minutes", "-5", "minutes before: a whole number"),
        ("no_show_minutes", "9999", "0 to 1440"), ("note", "x" * 501, "500 characters at most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_what_was_typed_is_kept(
    portal: Kit, visit: Visit, field: str, wrong: str, said: str
) -> None:
    sent = typed(**{field: wrong})
    for do in ("look", "save"):
        visit.send(NEW, **{**sent, "do": do})
        assert visit.status == 422, visit.text
        assert said in visit.fault()
        assert len(visit.wrong()) == 1
        shown = visit.form()
        assert {name: shown[name] for name in sent if name != "gpus"} == {n: v for n, v in sent.items() if n != "gpus"}
    assert runs(portal) == []


def test_an_hour_that_clocks_leave_out_is_refused_and_a_double_one_asked_about(portal: Kit, visit: Visit) -> None:
    berlin = {"zone": "Europe/Berlin", "ends": "06:00"}
    visit.send(NEW, **typed(do="look", day="2027-03-28", starts="02:30", **berlin))
    assert "Starts: 2027-03-28 02:30 does not exist in Europe/Berlin" in visit.fault()
    assert "03:30" in visit.fault()
    double = typed(do="save", day="2027-10-31", starts="02:30", **berlin)
    visit.send(NEW, **double)
    assert "Choose which of the two" in visit.fault()
    assert 'name="starts_which"' in visit.text
    assert visit.send(NEW, **double, starts_which="first").startswith("teach/1/plan")
    assert visit.send(NEW, **double, starts_which="last").startswith("teach/2/plan")
    first, last = (portal.registry.runs.run(TEACHER, number)[0].starts for number in (1, 2))
    assert last - first == HOUR
    # Its form says which hour it is, so that saving it again moves nothing.
    visit.see("teach/2/change")
    assert visit.form()["starts_which"] == "last"
    assert visit.send("teach/2/change", **visit.form() | {"do": "save"}) == "teach/2/plan?done=saved"
    assert portal.registry.runs.run(TEACHER, 2)[0].starts == last


def test_a_refusal_is_in_the_reader_s_language(visit: Visit) -> None:
    headers = {"Accept-Language": "zh-TW"}
    sent = {"csrf": "own", **typed(do="look", gpus="5")}
    visit._took(visit.http.post(f"/services/portal/{NEW}", data=sent, headers=headers))
    assert visit.fault() == "每座的 GPU: 超過 4 個時，座位使用每組 4 個的整個托盤。請填 4 或 8。"


@pytest.mark.parametrize("who", [RESEARCHER, ADMIN])
def test_whoever_answers_for_the_project_plans_as_well(portal: Kit, visit: Visit, who: Visitor) -> None:
    assert visit.be(who).send(NEW, **typed(do="save", zone=" Asia/Taipei ")) == "teach/1/plan?done=drafted"
    visit.send("teach/1/request", note="<b>")
    assert visit.fault().startswith("Note for those who decide: 500")
    assert visit.form()["note"] == "<b>"


def test_a_run_may_last_over_midnight(portal: Kit, visit: Visit) -> None:
    assert visit.send(NEW, **typed(do="save", starts="22:00", ends="2:00", last_day="2027-01-21"))
    [run] = runs(portal)
    assert run.ends - run.starts == 4 * HOUR
    visit.see("teach/1/change")
    assert visit.form()["last_day"] == "2027-01-21"
    assert "<details open>" in visit.text


def test_a_run_goes_from_draft_to_approval_and_back_by_forms_alone(portal: Kit, visit: Visit) -> None:
    visit.send(NEW, **typed(do="save"))
    shown = visit.see("teach/1/plan")
    assert "nothing is kept for it" in shown
    assert "There is room now" in shown
    assert visit.send("teach/1/request", note="40 enrolled") == "teach/1/plan?done=asked"
    assert "40 enrolled" in visit.see("teach/1/plan")
    assert 'action="/services/portal/teach/1/request"' not in visit.text
    portal.registry.runs.decide(ADMIN, 1, RunDecision(approve=True, reason="good"))
    shown = visit.see("teach/1/plan")
    assert "nvl001: 1-2" in shown
    assert "Take a seat as a learner would" in shown
    code = runs(portal)[0].code
    assert visit.send("teach/1/code") == "teach/1/plan?done=coded"
    assert code not in visit.see("teach/1/plan")
    visit.send("teach/1/cancel", note="ill")
    assert (visit.status, "confirmed" in visit.fault()) == (422, True)
    assert visit.send("teach/1/cancel", note="ill", sure="1") == "teach/1/plan?done=cancelled"
    shown = visit.see("teach/1/plan")
    assert "ill" in shown
    assert "<form" not in shown
    visit.send("teach/1/request")
    assert (visit.status, "cannot take" in visit.fault()) == (409, True)


def test_asking_without_room_is_refused_where_one_asks(portal: Kit, visit: Visit) -> None:
    number = portal.registry.runs.add(TEACHER, plan(seats=16)).id
    approved(portal, seats=16)
    visit.send(f"teach/{number}/request", note="please look")
    assert visit.status == 409
    assert visit.fault().startswith("There is no room for this run then")
    assert visit.form()["note"] == "please look"


def test_a_run_is_changed_from_the_state_that_was_read(portal: Kit, visit: Visit) -> None:
    portal.registry.runs.add(TEACHER, plan())
    visit.see("teach/1/change")
    before = visit.form()
    assert 'data-fits="true"' in visit.send("teach/1/change", **before | {"do": "look", "seats": "12"})
    assert runs(portal)[0].seats == 8
    assert visit.send("teach/1/change", **before | {"do": "save", "seats": "12"}) == "teach/1/plan?done=saved"
    visit.send("teach/1/change", **before | {"do": "save", "seats": "9"})
    assert visit.status == 412
    assert "else has changed" in visit.fault()
    assert visit.form()["seats"] == "9"
    assert runs(portal)[0].seats == 12
    # What stands on the page now was read: sent again, it holds.
    assert visit.send("teach/1/change", **visit.form() | {"do": "save"}) == "teach/1/plan?done=saved"
    assert runs(portal)[0].seats == 9


def test_an_approved_run_moves_or_says_why_not(portal: Kit, visit: Visit) -> None:
    approved(portal)
    shown = visit.see("teach/1/change")
    assert 'value="look"' not in shown
    before = visit.form() | {"do": "save"}
    visit.send("teach/1/change", **before | {"seats": "100"})
    assert visit.fault().startswith("Seats: what was approved has room for 8")
    assert visit.send("teach/1/change", **before | {"ends": "19:00"}) == "teach/1/plan?done=saved"
    portal.step(2 * HOUR + 600, beats=False)
    assert 'action="/services/portal/teach/1/cancel"' not in visit.see("teach/1/plan")


def test_who_decides_sees_the_plan_and_no_forms(portal: Kit, visit: Visit) -> None:
    portal.registry.courses.add(
        RESEARCHER, NewCourse(slug="other", title="Other", project="demo", profile="gpu1", instructors=["ann"])
    )
    portal.registry.runs.add(TEACHER, plan())
    portal.registry.runs.request(TEACHER, 1, RunAsk(note="for spring"))
    with portal.store.writing() as unit:
        unit.set_officer("demo", "officer", is_one=True)
    shown = visit.be(Visitor("officer")).see("teach/1/plan")
    assert "for spring" in shown
    assert "<form" not in shown
    assert runs(portal)[0].code not in shown
    assert "<form" not in visit.see("teach/1/change")
    visit.see("teach/1/roster")
    assert visit.status == 403
    for path in ("teach/1/request", "teach/1/cancel", "teach/1/code"):
        visit.send(path, sure="1")
        assert visit.status == 403, path
    visit.send("teach/1/change", **typed(do="save"))
    assert visit.status == 403
    visit.send(NEW, **typed(do="save"))
    assert visit.status == 403


@pytest.mark.parametrize("name", ["stranger", "ann"])
def test_whoever_teaches_another_course_sees_nothing_of_this_one(portal: Kit, visit: Visit, name: str) -> None:
    portal.registry.courses.add(
        RESEARCHER, NewCourse(slug="other", title="Other", project="demo", profile="gpu1", instructors=["ann"])
    )
    approved(portal)
    visit.be(Visitor(name))
    for path in (NEW, "teach/1/plan", "teach/1/change", "teach/1/roster", "teach/1/roster.csv", "teach/courses/frames"):
        visit.see(path)
        assert visit.status == 404, path
    for path in (NEW, "teach/1/change", "teach/1/request", "teach/1/cancel", "teach/1/code", "teach/1/roster/file"):
        visit.send(path, **typed(do="save", sure="1", text="name_zh,student_no\n王,1"))
        assert visit.status == 404, path
    assert ("Data frames" in visit.see("teach"), "Other" in visit.text) == (False, name == "ann")


def test_only_the_own_page_sends_and_only_who_is_logged_in_looks(portal: Kit, visit: Visit) -> None:
    approved(portal)
    for path in (NEW, "teach/1/change", "teach/1/request", "teach/1/cancel", "teach/1/code", "teach/1/roster/file"):
        visit.send(path, **typed(do="save", sure="1", csrf="foreign"))
        assert visit.status == 403, path
    visit.login.who = None
    for path in (NEW, "teach/1/plan", "teach/1/change", "teach/1/roster", "teach/new-course", "teach/courses/frames"):
        visit.see(path)
        assert visit.status == 307, path
