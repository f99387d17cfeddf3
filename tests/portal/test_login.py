"""The login of browsers by the hub."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from nvlhub.portal.html import hub_of, site_of
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.login import Login
from nvlhub.visitor import Visitor

PREFIX = "/services/portal/"


class KnowsEverybody:
    """A hub whose tokens begin with whose they are."""

    def visitor(self, token: str) -> Visitor:
        return Visitor(token.partition("-")[0])


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    hub: Any = KnowsEverybody()
    login = Login(hub, api_url="http://hub", hub_prefix="/hub", client_id="portal", secret="s", prefix=PREFIX)
    monkeypatch.setattr(login, "_token", lambda code, verifier: f"{code}-{verifier}")
    app = FastAPI()
    app.include_router(login.routes())

    @app.get(PREFIX + "{page:path}")
    def page(request: Request, page: str) -> Any:
        try:
            who = login.visitor(request)
        except LoginNeededError:
            return login.begin(request)
        return {"at": page, "name": who.name, "csrf": who.csrf}

    return TestClient(app, follow_redirects=False)


def state_of(answer: Any) -> str:
    return parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]


def back(browser: TestClient, state: str, who: str = "researcher") -> Any:
    return browser.get(f"{PREFIX}oauth_callback", params={"code": who, "state": state})


def test_a_page_and_what_it_fetches_may_both_be_at_a_login(browser: TestClient) -> None:
    page, fetched = (state_of(browser.get(PREFIX + path)) for path in ("more", "fragments/home"))
    assert back(browser, fetched).headers["location"] == f"{PREFIX}fragments/home"
    assert back(browser, page).headers["location"] == f"{PREFIX}more"
    shown = browser.get(PREFIX + "more").json()
    assert (shown["name"], shown["at"]) == ("researcher", "more")
    assert not [name for name in browser.cookies if name.startswith("nvlhub-login-")]


def test_the_forms_of_a_page_hold_when_something_else_logs_in_beside_it(browser: TestClient) -> None:
    keys = []
    for who in ("researcher", "researcher", "other"):
        state = state_of(browser.get(PREFIX + "more"))
        back(browser, state, who)
        keys.append(browser.get(PREFIX + "more").json()["csrf"])
        del browser.cookies["nvlhub-session"]
    mine, again, other = keys
    assert mine == again != other
    assert len(mine) == 64


def test_a_login_that_was_begun_elsewhere_logs_nobody_in(browser: TestClient) -> None:
    state = state_of(browser.get(PREFIX + "more"))
    browser.cookies.clear()
    for answer in (back(browser, state), back(browser, ""), back(browser, "\r\nset-cookie: x")):
        assert answer.headers["location"] == PREFIX
        assert "nvlhub-session" not in browser.cookies


def test_no_login_makes_a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    hub: Any = KnowsEverybody()
    login = Login(hub, api_url="http://hub/hub/api/", hub_prefix="/hub", client_id="portal", secret="s", prefix=PREFIX)
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": f"token-{len(asked)}"})

    login._http._transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "Client", None)
    assert [login._token(code, "v") for code in ("one", "two")] == ["token-1", "token-2"]
    assert {str(request.url) for request in asked} == {"http://hub/hub/api/oauth2/token"}
    assert b"code=two" in asked[1].content


def test_where_servers_have_hosts_of_their_own_the_hub_is_asked_at_its_own() -> None:
    hub = "https://hub.example/jupyter/hub"
    told = {"JUPYTERHUB_HOST": "https://hub.example", "JUPYTERHUB_BASE_URL": "/jupyter/"}
    assert site_of(PREFIX, told, "UTC", dashboards=False).hub == f"{hub}/"
    knows: Any = KnowsEverybody()
    login = Login(knows, api_url="http://hub", hub_prefix=hub_of(told), client_id="portal", secret="s", prefix=PREFIX)
    asked = Request(
        {"type": "http", "method": "GET", "path": PREFIX, "query_string": b"", "headers": [], "scheme": "https"}
    )
    sent = urlsplit(login.begin(asked).headers["location"])
    assert f"{sent.scheme}://{sent.netloc}{sent.path}" == f"{hub}/api/oauth2/authorize"
    assert parse_qs(sent.query)["redirect_uri"] == [f"{PREFIX}oauth_callback"]


def test_over_https_no_other_host_can_plant_a_session(browser: TestClient) -> None:
    browser.base_url = "https://hub.example"
    there = browser.get(PREFIX + "more")
    assert "__Host-nvlhub-" in there.headers["set-cookie"]
    came = back(browser, state_of(there))
    for told in came.headers.get_list("set-cookie"):
        assert re.match(r"__Host-nvlhub-[\w-]+=.*; Path=/; .*Secure", told), told
    assert browser.get(PREFIX + "more").json()["name"] == "researcher"
    # What a page of a user's host may set for the whole domain has a name that is not looked for.
    name, session = came.headers.get_list("set-cookie")[0].partition(";")[0].removeprefix("__Host-").split("=")
    browser.cookies.clear()
    for planted in ("nvlhub-session", name):
        assert browser.get(PREFIX + "more", headers={"Cookie": f"{planted}={session}"}).status_code == 302
