"""Who may see which screen by which way, at a real hub; what ends with a logout; what nobody gets by forging."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.screens import SCREENS
from tests.stories.live import Live, live_portal
from tests.stories.visitor import PANELS, Visitor, opened
from tests.waiting import eventually

GUESTS = {
    "researcher": Guest("researcher", "", admin=False),
    "officer": Guest("instructor", "", admin=False, officer_of=("demo",)),
    "admin": Guest("admin", "", admin=True, officer_of=("demo",)),
}
"""What each role is to the table of the screens: the expected answers are derived from it, not written down."""
ROLES = ("nobody", *GUESTS)
API = "/services/portal/api/v1"
BEHIND = {
    "/me": {"nobody": 401, "researcher": 200, "officer": 200, "admin": 200},
    "/leases?user=researcher": {"nobody": 401, "researcher": 200, "officer": 403, "admin": 200},
    "/programmes/demo": {"nobody": 401, "researcher": 200, "officer": 200, "admin": 200},
    "/ledger/verify": {"nobody": 401, "researcher": 403, "officer": 403, "admin": 200},
}
"""What the dashboards ask the portal for, with the token of the visit: decided there once more."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data: Path = tmp_path_factory.mktemp("access")
    with live_portal(data, NVLHUB_PANELS_RECHECK="1") as portal:
        portal.api("PUT", "/programmes/demo/officers/instructor")
        yield portal


@contextlib.asynccontextmanager
async def visiting(hub: Live, role: str) -> AsyncIterator[Visitor]:
    name = "" if role == "nobody" else GUESTS[role].name
    async with Visitor(hub.url, name, hub.password) as visitor:
        yield visitor


@pytest.mark.parametrize("role", ROLES)
async def test_every_screen_is_open_to_whom_it_is_for_by_every_way(hub: Live, role: str) -> None:
    async with visiting(hub, role) as visitor, visiting(hub, "admin") as admin:
        visitor.http.follow_redirects = False
        ways = {"": {}, "/autoload.js": {"bokeh-autoload-element": "1"}, "/metadata": {}}
        wrong = []
        for screen in SCREENS:
            closed = 302 if role == "nobody" else 200 if screen.need(GUESTS[role]) else 403
            for way, query in ways.items():
                answer = await visitor.get(f"/{screen.slug}{way}", params=query)
                if answer.status_code != closed:
                    wrong.append((screen.slug, way, answer.status_code, closed))
            # Without a page there is no token of one's own: the socket is tried with one of another screen, or of somebody else.
            open_one = role != "nobody" and screen.need(GUESTS[role])
            token = await visitor.token(screen.slug if open_one else "compute") if role != "nobody" else ""
            expected = 101 if open_one else 403
            got = await visitor.tried(screen.slug, token or await admin.token(screen.slug))
            if got != expected:
                wrong.append((screen.slug, "/ws", got, expected))
        assert wrong == []


@pytest.mark.parametrize("role", ROLES)
async def test_the_portal_decides_once_more_behind_the_screens(hub: Live, role: str) -> None:
    async with visiting(hub, role) as visitor:
        # The token that the hub gave the dashboards for this visit, and no other, is what they ask the portal with.
        for path, answers in BEHIND.items():
            headers = {} if role == "nobody" else {"Authorization": f"token {await token_of_visit(hub, visitor)}"}
            answer = await visitor.http.get(API + path, headers=headers)
            assert answer.status_code == answers[role], path


async def token_of_visit(hub: Live, visitor: Visitor) -> str:
    """Return the token in the dashboards' cookie, which only their secret opens."""
    from tornado.web import decode_signed_value  # noqa: PLC0415

    from nvlwidgets.panels.service import _derived  # noqa: PLC0415

    secret = _derived((hub.data / "panels-secret").read_bytes(), "cookies")
    cookie = next(kept for kept in visitor.http.cookies.jar if kept.name == "service-panels")
    token = decode_signed_value(secret, "service-panels", cookie.value or "")
    assert token is not None
    return token.decode()


async def test_the_session_of_somebody_elses_page_is_not_mine(hub: Live) -> None:
    async with (
        visiting(hub, "admin") as admin,
        visiting(hub, "researcher") as mallory,
        visiting(hub, "nobody") as nobody,
    ):
        token = await admin.token("compute")
        theirs = opened(token)["session_id"]
        assert await admin.tried("compute", token) == 101
        assert await mallory.tried("compute", token) == 403
        assert await nobody.tried("compute", token) == 403
        assert (await mallory.get("/compute", params={"bokeh-token": token})).status_code == 403
        for chosen in (theirs, "CHOSEN"):
            assert (await mallory.get("/compute", params={"bokeh-session-id": chosen})).status_code == 403
            assert (await mallory.get("/compute", headers={"Bokeh-Session-Id": chosen})).status_code == 403
        for forged in (token.partition(".")[0], token[:-4] + "AAAA", "x"):
            assert await mallory.tried("compute", forged) == 403


async def test_another_site_gets_no_socket_and_no_header_makes_an_admin(hub: Live) -> None:
    async with visiting(hub, "researcher") as visitor:
        token = await visitor.token()
        assert await visitor.tried("compute", token, "http://evil.example") == 403
        told = {"X-Forwarded-User": "admin", "Remote-User": "admin", "X-Remote-Groups": "admin"}
        assert (await visitor.get("/fleet", headers=told)).status_code == 403
        assert await visitor.tried("fleet", token, **told) == 403


async def test_a_page_carries_no_cookie_of_a_login(hub: Live) -> None:
    async with visiting(hub, "researcher") as visitor:
        page = await visitor.get("/compute")
        told = str(opened(await visitor.token()))
        for kept in visitor.http.cookies.jar:
            assert str(kept.value) not in told + page.text, kept.name


@pytest.mark.parametrize("there", ["//evil.example", "/hub/logout", "/services/panels/../../hub/logout", "https://x/"])
async def test_the_login_leads_to_no_page_but_ours(hub: Live, there: str) -> None:
    async with visiting(hub, "researcher") as visitor:
        visitor.http.follow_redirects = False
        answer = await visitor.get("/login", params={"next": there})
        assert answer.headers["Location"] == f"{PANELS}/compute"
        back = await visitor.get("/login", params={"next": f"{PANELS}/usage?project=demo"})
        assert back.headers["Location"] == f"{PANELS}/usage?project=demo"


async def test_a_logout_at_the_hub_ends_an_open_tab(hub: Live) -> None:
    async with visiting(hub, "researcher") as visitor, visiting(hub, "admin") as other:
        token = await visitor.token()
        kept, stays = visitor.cookies(), await other.socket("compute", await other.token())
        async with await visitor.socket("compute", token) as socket, stays:
            assert await socket.document()
            await visitor.http.get("/hub/logout")
            while await socket.message() is not None:
                pass
            # Neither what the browser has now, nor what it had, opens the page or the socket again.
            assert await visitor.tried("compute", token) == 403
            assert await visitor.tried("compute", token, Cookie=kept) == 403
            old = await visitor.http.get(f"{PANELS}/compute", headers={"Cookie": kept}, follow_redirects=False)
            assert old.status_code == 302
            await stays.send("PULL-DOC-REQ")
            assert await stays.message()


async def test_a_role_that_is_taken_away_closes_the_tab(hub: Live) -> None:
    async with visiting(hub, "officer") as visitor:
        async with await visitor.socket("programme", await visitor.token("programme")) as socket:
            assert await socket.document()
            hub.api("DELETE", "/programmes/demo/officers/instructor")
            while await socket.message() is not None:
                pass
        try:
            assert (await visitor.get("/programme")).status_code == 403
        finally:
            hub.api("PUT", "/programmes/demo/officers/instructor")


async def test_the_service_goes_on_when_the_portal_ends(hub: Live) -> None:
    async with visiting(hub, "researcher") as visitor:
        hub.kill("nvlhub.portal.service")
        page = await visitor.get("/compute")
        assert page.status_code == 200
        await eventually(hub.answers)
        assert (await visitor.get("/compute")).status_code == 200
