"""The pages of learners, without a hub."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app, seats
from nvlhub.portal.html import Site
from nvlhub.portal.identity import Hub, LoginNeededError
from nvlhub.portal.joining import Joining
from nvlhub.portal.login import Login as RealLogin
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at
from tests.test_joining import CODE, teach

PREFIX = "/services/portal/"


class Login:
    """Knows one browser."""

    who: Visitor | None = Visitor("amy", csrf="own")
    query: str | None = None

    def visitor(self, request: Request) -> Visitor:
        if self.who is None:
            raise LoginNeededError("login-needed")
        return self.who

    def begin(self, request: Request, query: str | None = None) -> Response:
        self.query = query
        return RedirectResponse("/hub/login")


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    made = kit(store, clock)
    made.clock.forward(3000)
    yield made
    store.close()


@pytest.fixture
def login() -> Login:
    return Login()


@pytest.fixture
def http(portal: Kit, login: Login, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(seats, "WRONG_TAKES", 0.01)
    doors = Doors(portal.desk, portal.registry, lambda request: Visitor("amy"))
    app = make_app(doors, PREFIX)
    app.include_router(Joining(doors, login, Site(PREFIX, "/jupyter/hub/")).routes())  # type: ignore[arg-type]
    with TestClient(app, follow_redirects=False) as client:
        yield client


def join(http: TestClient, code: str = CODE, csrf: str = "own", **headers: str) -> Response:
    return http.post(f"{PREFIX}join", data={"code": code, "csrf": csrf}, headers=headers)  # type: ignore[return-value]


def shown(http: TestClient, path: str, **headers: str) -> str:
    answer = http.get(PREFIX + path, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def test_a_code_in_the_address_stands_in_the_field(http: TestClient) -> None:
    text = shown(http, "join?code=ab%22%3E%3Cscript%3E")
    assert 'value="ab&#34;&gt;&lt;script&gt;"' in text
    assert len(text.encode()) < 8000
    assert not re.search(r'<(script|link|img)|url\(|src="', text), "nothing else is fetched"


def test_a_right_code_leads_to_the_seat_and_to_jupyterlab_once_its_server_runs(portal: Kit, http: TestClient) -> None:
    run = teach(portal)
    answer = join(http)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PREFIX}seat?run={run}")
    assert 'name="name"' in shown(http, "seat"), "the name is asked for"
    assert "Refresh" not in http.get(f"{PREFIX}seat").headers, "and does not go away meanwhile"
    named = http.post(f"{PREFIX}seat/{run}/name", data={"name": " 王小美 ", "name_latin": "Amy", "csrf": "own"})
    assert named.status_code == 303
    text = shown(http, "seat")
    assert "王小美 (Amy)" in text
    assert 'name="name"' not in text
    assert http.get(f"{PREFIX}seat").headers["Refresh"] == "5", (
        "whoever is there is waited for, long before the start, too"
    )
    began, portal.clock.at = portal.clock.at, START + 3 * 3600 + 60
    assert http.get(f"{PREFIX}seat").headers["Refresh"] == "60", "after the end no server is started"
    portal.clock.at = began
    with portal.store.writing() as unit:
        unit.change_seat(run, 1, warm_at=START)
    assert http.get(f"{PREFIX}seat").headers["Refresh"] == "5"
    with portal.store.writing() as unit:
        unit.change_seat(run, 1, ready_at=START)
        unit.connection.execute(t.run_messages.insert().values(run=run, at=START, by="instructor", text="Break <5>"))
        unit.connection.execute(t.run_messages.insert().values(run=run, seat=2, at=START, by="x", text="to another"))
    text = shown(http, "seat")
    assert f'href="/jupyter/user/amy/class-{run}/git-pull?repo=' in text
    assert "Break &lt;5&gt;" in text
    assert "to another" not in text
    assert http.get(f"{PREFIX}seat").headers["Refresh"] == "60"
    assert "Refresh" not in http.get(f"{PREFIX}seat?still=1").headers
    assert 'name="name"' in shown(http, f"seat?run={run}&edit=name")


def test_a_wrong_code_is_answered_alike_whatever_is_wrong(portal: Kit, http: TestClient) -> None:
    run = teach(portal, roster_only=True)
    first = join(http)
    with portal.store.writing() as unit:
        unit.change_run(run, state="closed")
    second, third = join(http), join(http, "nonsense ✋")
    assert {answer.status_code for answer in (first, second, third)} == {404}
    plain = {answer.text.replace(CODE, "").replace("nonsense ✋", "") for answer in (first, second, third)}  # type: ignore[attr-defined]
    assert len(plain) == 1
    assert "opens no seat for you" in plain.pop()


def test_a_wrong_code_takes_its_time_whatever_is_wrong(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(seats, "WRONG_TAKES", 1000.0)
    monkeypatch.setattr(seats.asyncio, "sleep", sleep)
    assert join(http, "NOSUCH23").status_code == 404
    assert 900 < slept[0] < 1000, "until a moment that does not depend on how long it took to look"


def test_too_many_wrong_codes_are_told_when_to_come_again(portal: Kit, http: TestClient) -> None:
    teach(portal)
    for _ in range(5):
        join(http, "NOSUCH23")
    answer = join(http)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 12
    assert "Try again in" in answer.text  # type: ignore[attr-defined]


def test_too_early_and_too_late_are_told_in_both_languages(portal: Kit, http: TestClient) -> None:
    teach(portal)
    portal.clock.at = START
    assert "opens at 2027-01-15 16:30 CST (UTC+8)" in join(http).text  # type: ignore[attr-defined]
    assert "2027-01-15 16:30 CST (UTC+8) 開放" in join(http, **{"Accept-Language": "zh-TW"}).text  # type: ignore[attr-defined]
    portal.clock.at = START + 20_000
    assert "is over" in join(http).text  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["join", "seat/1/hand", "seat/1/name"])
def test_a_form_from_elsewhere_does_nothing(portal: Kit, http: TestClient, login: Login, path: str) -> None:
    run = teach(portal)
    for csrf in ("", "another", "ｏｗｎ"):
        answer = http.post(PREFIX + path, data={"code": CODE, "up": "1", "name": "X", "csrf": csrf})
        assert answer.status_code == 403
    login.who = replace(login.who or Visitor(""), csrf="")
    assert http.post(PREFIX + path, data={"code": CODE, "csrf": ""}).status_code == 403
    with portal.store.reading() as unit:
        assert unit.seat_of(run, "amy") is None


def test_a_hand_is_raised_and_lowered(portal: Kit, http: TestClient) -> None:
    run = teach(portal)
    join(http)
    for up, words in (("1", "Your hand is up"), ("", "Raise your hand")):
        http.post(f"{PREFIX}seat/{run}/hand", data={"up": up, "csrf": "own"})
        assert words in shown(http, "seat")


def test_a_name_in_latin_letters_alone_is_a_name(portal: Kit, http: TestClient) -> None:
    run = teach(portal, roster=[{"user": "amy", "name_latin": "Amy Young"}])
    join(http)
    text = shown(http, f"seat?run={run}")
    assert 'name="name"' not in text
    assert "Name on your certificate: Amy Young <a" in text


@pytest.mark.parametrize("ending", ["closed", "over"])
def test_after_the_end_the_page_of_a_seat_tells_so_and_leads_to_what_came_of_it(
    portal: Kit, http: TestClient, ending: str
) -> None:
    run = teach(portal)
    join(http)
    http.post(f"{PREFIX}seat/{run}/hand", data={"up": "1", "csrf": "own"})
    with portal.store.writing() as unit:
        unit.change_course("frames", assessment={"files": ["solve.py"]})
        if ending == "closed":
            unit.change_run(run, state="closed")
    if ending == "over":
        portal.clock.at = START + 20_000
    text = shown(http, f"seat?run={run}")
    assert "This class is over" in text
    assert f'<a class="plain" href="{PREFIX}seat/{run}/attempts">Assessment</a>' in text
    for gone in ("Raise your hand", "Your hand is up", 'name="name"', "Begins in", "Time left", "Open JupyterLab"):
        assert gone not in text, gone
    assert "Refresh" not in http.get(f"{PREFIX}seat?run={run}").headers
    # It is looked at alone: nothing is done there any more, and it is none of the seats that are to come.
    raised = http.post(f"{PREFIX}seat/{run}/hand", data={"up": "", "csrf": "own"})
    assert raised.headers["location"] == f"{PREFIX}join"
    assert "seat?run=" not in shown(http, "join")
    with portal.store.writing() as unit:
        unit.change_run(run, state="cancelled")
    assert http.get(f"{PREFIX}seat?run={run}").status_code == 303


def test_a_name_that_cannot_be_one_comes_back_with_a_reason(portal: Kit, http: TestClient) -> None:
    run = teach(portal)
    join(http)
    answer = http.post(f"{PREFIX}seat/{run}/name", data={"name": "<b>", "name_latin": "x", "csrf": "own"})
    assert answer.status_code == 422
    assert "name: a name has 1 to 100 letters" in answer.text
    assert 'value="&lt;b&gt;"' in answer.text


def test_nobody_waits_while_the_hub_is_asked_who_gives_a_code(
    portal: Kit, http: TestClient, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(portal)

    def visitor(request: Request) -> Visitor | None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return login.who

    monkeypatch.setattr(login, "visitor", visitor)
    assert join(http, "NOSUCH23").status_code == 404
    assert join(http).status_code == 303


def test_without_a_seat_one_is_led_to_the_code(http: TestClient) -> None:
    for path in ("seat", "seat?run=7"):
        answer = http.get(PREFIX + path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PREFIX}join")


def test_whoever_has_to_log_in_first_keeps_the_code(http: TestClient, login: Login) -> None:
    login.who = None
    assert http.get(f"{PREFIX}join?code=X").headers["location"] == "/hub/login"
    join(http, "A B&C")
    assert login.query == "code=A+B%26C"


def test_the_login_leads_back_with_the_code(tmp_path: Path) -> None:
    made = RealLogin(
        Hub("http://127.0.0.1:9/hub/api"), api_url="http://127.0.0.1:9/hub/api", hub_prefix="/hub", client_id="x", secret="s",
        prefix=PREFIX,
    )  # fmt: skip
    for query, there in (("code=A", "join?code=A"), ("", "join"), ("x" * 600, "join")):
        scope = {
            "type": "http", "method": "GET", "path": f"{PREFIX}join", "query_string": query.encode(), "headers": [],
            "scheme": "http", "server": ("hub", 80),
        }  # fmt: skip
        made.begin(Request(scope))
        assert next(reversed(made._logins.values())).next == PREFIX + there
