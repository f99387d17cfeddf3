"""The pages of those who teach, without a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.forms import NewMessage, RunAsk, RunView
from nvlhub.material import Reach
from nvlhub.portal.caretaker import DAY, Caretaker
from nvlhub.portal.html import Site
from nvlhub.portal.teaching import POLICY, TeachingPages
from nvlhub.visitor import Visitor
from tests.conftest import HandClock
from tests.courses_kit import HOUR, TEACHER, approved, plan, sit, with_course
from tests.portal.pages_kit import PREFIX, Login
from tests.portal_kit import ADMIN, Kit


class Rooms:
    def stop(self, user: str, run: int, *, remove: bool = False) -> None: ...

    def let_in(self, user: str, run: int, guest: str) -> bool:
        return True


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    with with_course(tmp_path, clock) as made:
        made.registry.boards.rooms = Rooms()
        made.registry.boards.visits = True
        made.registry.boards.reach = lambda *_: Reach.THERE
        yield made


@pytest.fixture
def login() -> Login:
    made = Login()
    made.who = TEACHER
    return made


@pytest.fixture
def http(portal: Kit, login: Login) -> Iterator[TestClient]:
    site = Site(PREFIX, "/jupyter/hub/", "", "UTC")
    app = make_app(Doors(portal.desk, portal.registry, lambda request: TEACHER), PREFIX)
    pages = TeachingPages(portal.registry, login, site, "https://hub.example/")  # type: ignore[arg-type]
    app.include_router(pages.routes())
    with TestClient(app, follow_redirects=False) as client:
        yield client


@pytest.fixture
def run(portal: Kit) -> RunView:
    made = approved(portal)
    portal.step(2 * HOUR + 600, beats=False)
    sit(portal, made, "ann")
    with portal.store.writing() as unit:
        now = portal.clock.now()
        unit.change_seat(1, 1, name="王小安", ready_at=now, seen_at=now, hand_at=now - 60, helped_by="instructor")
    return made


def page(http: TestClient, path: str, **headers: str) -> str:
    answer = http.get(PREFIX + path, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def send(http: TestClient, path: str, **fields: str) -> tuple[int, str]:
    answer = http.post(PREFIX + path, data={"csrf": "own", **fields})
    return answer.status_code, answer.headers.get("location", answer.text)


def test_a_board_tells_states_in_words_and_the_code_large(http: TestClient, run: RunView) -> None:
    shown = page(http, "teach/1")
    assert f'<p class="code">{run.code}</p>' in shown
    assert "hub.example/services/portal/join" in shown
    assert 'src="data:image/svg+xml' in shown
    assert re.search(r'data-seat="1" data-state="in-use".*?王小安.*?in use.*?Hand up for 1 min', shown, re.DOTALL)
    assert "Asia" not in shown or "CST" in shown
    assert "座位 1" in page(http, "teach/1", **{"Accept-Language": "zh-TW"})


def test_every_page_of_a_run_leads_back_to_all_courses(http: TestClient, run: RunView) -> None:
    back = f'<a href="{PREFIX}teach">Courses</a>'
    for path in ("teach/1", "teach/1?pseudonyms=1", "teach/1/results", "teach/1/ready"):
        assert back in page(http, path), path
    assert f'<a href="{PREFIX}teach" aria-current="page">Courses</a>' in page(http, "teach")


def test_only_the_script_of_the_board_runs(http: TestClient, run: RunView) -> None:
    answer = http.get(PREFIX + "teach/1")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.text.count("<script") == 1
    assert "script-src" not in http.get(PREFIX + "teach").headers["content-security-policy"]
    part = http.get(PREFIX + "teach/1/seats?sort=help").text
    assert "<script" not in part
    assert part.count("data-seat=") == 8
    assert part.count("data-part=") == 2


def test_nothing_on_the_projector_tells_who_somebody_is(portal: Kit, http: TestClient, run: RunView) -> None:
    portal.registry.boards.tell(TEACHER, 1, NewMessage(text="ann, look", seat=1))
    for path in ("teach/1?pseudonyms=1", "teach/1/seats?pseudonyms=1"):
        shown = page(http, path)
        for name in ("ann", "王小安", "instructor", "admin"):
            assert not re.search(rf"\b{name}\b", shown), (path, name)
        assert "<form" not in shown
    assert "next=/services/portal/teach/1%3Fpseudonyms%3D1" in page(http, "teach/1?pseudonyms=1")


def test_what_is_sent_is_done_for_the_own_page_alone(portal: Kit, http: TestClient, run: RunView) -> None:
    assert http.post(PREFIX + "teach/1/messages", data={"text": "x", "csrf": "foreign"}).status_code == 403
    assert send(http, "teach/1/messages", text="Break until ten") == (303, PREFIX + "teach/1")
    assert send(http, "teach/1/seats/1", do="settled") == (303, PREFIX + "teach/1")
    assert "Open server" in page(http, "teach/1")
    opened = http.post(f"{PREFIX}teach/1/seats/1", data={"csrf": "own", "do": "open"})
    assert opened.headers["refresh"] == "0; url=/jupyter/hub/user/ann/class-1/lab"
    assert "/jupyter/hub/user/ann/class-1/lab" in opened.text
    portal.registry.boards.visits = False
    assert "Open server" not in page(http, "teach/1")
    assert send(http, "teach/1/seats/1", do="open")[0] == 409
    assert "Break until ten" in page(http, "teach/1")
    status, told = send(http, "teach/1/seats/1", do="release")
    assert (status, "Tick" in told) == (422, True)
    assert send(http, "teach/1/seats/1", do="release", sure="1")[0] == 303
    assert portal.registry.boards.board(TEACHER, 1).counts["free"] == 8
    assert send(http, "teach/1/seats/1", do="dance")[0] == 422


def test_more_time_is_given_when_it_was_told_what_that_does(portal: Kit, http: TestClient, run: RunView) -> None:
    status, told = send(http, "teach/1/extend", do="ask", minutes="30")
    assert status == 200
    assert "Nobody else is on its trays" in told
    assert portal.registry.runs.run(TEACHER, 1)[0].ends == run.ends
    assert send(http, "teach/1/extend", do="extend", minutes="99", asked="30")[0] == 200
    assert portal.registry.runs.run(TEACHER, 1)[0].ends == run.ends + 1800
    assert send(http, "teach/1/extend", do="ask", minutes="many")[0] == 422


def test_a_class_is_ended_when_somebody_is_sure(portal: Kit, http: TestClient, run: RunView) -> None:
    assert send(http, "teach/1/end")[0] == 422
    assert send(http, "teach/1/end", sure="1")[0] == 303
    shown = page(http, "teach/1")
    assert "ended" in shown
    assert "<form" not in shown


def test_results_are_a_page_and_a_file(portal: Kit, http: TestClient, run: RunView) -> None:
    with portal.store.writing() as unit:
        unit.set_roster(1, [{"row": 1, "student_no": "=1+1", "name": "＝cmd()", "user": "cid"}])
    assert "0 passed" in page(http, "teach/1/results")
    answer = http.get(PREFIX + "teach/1/results.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    header, ann, cid = answer.text.splitlines()
    assert header.startswith("row,seat,pseudonym,user,student_no")
    assert ",ann," in ann
    assert cid == "1,,,cid,'=1+1,'＝cmd(),,,0,,no,"


def test_readiness_names_what_is_missing(portal: Kit, http: TestClient, run: RunView) -> None:
    assert "All is in order" in page(http, "teach/1/ready")
    with portal.store.writing() as unit:
        unit.change_run(1, roster_only=True)
    assert "nobody is on it" in page(http, "teach/1/ready")


def test_an_officer_sees_the_room_and_decides(portal: Kit, http: TestClient, login: Login) -> None:
    number = portal.registry.runs.add(TEACHER, plan()).id
    portal.registry.runs.request(TEACHER, int(number), RunAsk(note="for spring"))
    shown = page(http, "teach")
    assert "for spring" in shown
    assert "Approve" not in shown
    login.who = ADMIN
    assert "There is room now" in page(http, "teach")
    assert send(http, f"teach/{number}/decision", verdict="approve", reason="")[0] == 422
    assert send(http, f"teach/{number}/decision", verdict="approve", reason="good\r\nplan") == (303, PREFIX + "teach")
    run = portal.registry.runs.run(TEACHER, int(number))[0]
    assert (run.state, run.reason) == ("approved", "good plan")


def test_strangers_are_told_nothing(portal: Kit, http: TestClient, login: Login, run: RunView) -> None:
    login.who = Visitor("outsider")
    for path in ("teach/1", "teach/1/seats", "teach/1/results", "teach/1/results.csv", "teach/1/ready"):
        assert http.get(PREFIX + path).status_code == 404, path
    assert "You teach no course" in page(http, "teach")
    for path in ("messages", "extend", "end", "try", "seats/1"):
        fields = {"text": "x", "sure": "1", "do": "tell", "minutes": "5"}
        assert send(http, f"teach/1/{path}", **fields)[0] == 404, path
    login.who = None
    assert http.get(PREFIX + "teach/1").headers["location"] == "/hub/login"


def test_the_caretaker_ends_runs_at_once_and_removes_names_once_a_day(portal: Kit, run: RunView) -> None:
    caretaker = Caretaker(portal.registry.boards, portal.clock)  # type: ignore[arg-type]
    caretaker.turn()
    portal.step(run.ends + 3600 - portal.clock.now(), beats=False)
    caretaker.turn()
    assert portal.registry.runs.run(TEACHER, 1)[0].state == "closed"
    portal.step(60 * DAY - 10, beats=False)
    caretaker.turn()
    portal.step(20, beats=False)
    caretaker.turn()
    assert portal.registry.boards.results(TEACHER, 1).redacted_at is None
    portal.step(DAY, beats=False)
    caretaker.turn()
    assert portal.registry.boards.results(TEACHER, 1).redacted_at == portal.clock.now()
