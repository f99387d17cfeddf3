"""Who may come in, and whose session they get: the service with a stand-in hub."""

from __future__ import annotations

import json

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id

from nvlhub.text import say
from nvlwidgets.panels.door import way_back
from nvlwidgets.panels.service import _derived, read_seconds
from tests.panels.kit import SECRET, serving, until_closed
from tests.stories.visitor import opened
from tests.waiting import eventually


async def test_nobody_gets_the_session_of_somebody_elses_page_by_its_token() -> None:
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("bob") as bob:
        token = await alice.token()
        assert await alice.tried("compute", token) == 101
        assert await bob.tried("compute", token) == 403
        assert (await bob.get("/compute", params={"bokeh-token": token})).status_code == 403
        assert (
            await bob.get("/compute/autoload.js", params={"bokeh-token": token, "bokeh-autoload-element": "1"})
        ).status_code == 403


async def test_nobody_chooses_a_session_not_even_one_that_was_signed_here() -> None:
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("bob") as bob:
        mine = opened(await alice.token())["session_id"]
        for visitor in (alice, bob):
            for chosen in (mine, "CHOSEN"):
                assert (await visitor.get("/compute", params={"bokeh-session-id": chosen})).status_code == 403
                assert (await visitor.get("/compute", headers={"Bokeh-Session-Id": chosen})).status_code == 403


@pytest.mark.parametrize("forgery", ["unsigned", "other-key", "garbled", "bytes", "list", "nothing", "claims-me"])
async def test_a_session_token_that_was_not_made_here_opens_nothing(forgery: str) -> None:
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("bob") as bob:
        good = await alice.token()
        told = opened(good)
        claims = {"guest": "bob", "headers": {}, "cookies": {}, "arguments": {}}
        body = good.partition(".")[0]
        token = {
            "unsigned": body,
            "other-key": generate_jwt_token(
                generate_session_id(b"x" * 32, signed=True), b"x" * 32, signed=True, extra_payload=claims
            ),
            "garbled": good[:-4] + "AAAA",
            "bytes": "_-_-._-_-",
            "list": "W10.W10",
            "nothing": "x",
            "claims-me": generate_jwt_token(told["session_id"], b"x" * 32, signed=True, extra_payload=claims),
        }[forgery]
        assert await bob.tried("compute", token) == 403


async def test_a_token_of_ones_own_page_opens_no_screen_that_one_may_not_see() -> None:
    async with serving() as kit, kit.guest("bob") as bob:
        assert await bob.tried("fleet", await bob.token()) == 403


async def test_another_site_cannot_open_the_socket_or_read_an_answer() -> None:
    async with serving() as kit, kit.guest("alice") as alice:
        token = await alice.token()
        for origin in ("http://evil.example", "null", kit.url + ".evil.example"):
            assert await alice.tried("compute", token, origin) == 403
        script = await alice.get(
            "/compute/autoload.js", params={"bokeh-autoload-element": "1"}, headers={"Origin": "http://evil.example"}
        )
        assert [name for name in script.headers if name.startswith("access-control")] == []
        refused = await alice.http.options("/services/panels/compute/autoload.js", headers={"Origin": "http://x"})
        assert refused.status_code == 405
        assert "access-control-allow-origin" not in refused.headers


async def test_a_socket_comes_from_the_address_that_the_browser_used_or_from_the_public_one() -> None:
    async with serving(NVLHUB_PUBLIC_URL="https://hub.example:8443/") as kit, kit.guest("alice") as alice:
        for origin, status in (
            (kit.url, 101),
            ("https://hub.example:8443", 101),
            ("https://hub.example", 403),
            ("", 403),
        ):
            assert await alice.tried("compute", await alice.token(), origin) == status


async def test_a_page_carries_no_cookie_of_its_reader() -> None:
    async with serving() as kit, kit.guest("alice") as alice:
        alice.http.cookies.set("nvlhub-language", "zh-TW", domain="127.0.0.1", path="/")
        told = opened(await alice.token())
        assert told["cookies"] == {"nvlhub-language": "zh-TW"}
        assert "Cookie" not in told["headers"]
        assert told["guest"] == "alice"


async def test_a_header_makes_nobody_somebody_else() -> None:
    async with serving() as kit, kit.guest("bob") as bob:
        told = {"X-Forwarded-User": "root", "Remote-User": "root", "X-Forwarded-For": "10.0.0.1"}
        assert (await bob.get("/fleet", headers=told)).status_code == 403
        token = await bob.token()
        assert await bob.tried("fleet", token, **told) == 403


async def test_a_logout_ends_the_session_of_an_open_tab_and_its_socket() -> None:
    async with serving() as kit, kit.guest("alice") as alice, kit.guest("bob") as bob:
        token = await alice.token()
        open_tab, other_tab = await alice.socket("compute", token), await bob.socket("compute", await bob.token())
        async with open_tab, other_tab:
            assert await open_tab.document()
            assert await other_tab.document()
            kit.hub.cache["what was believed"] = 1
            kit.hub.log_out("alice")
            told = await until_closed(open_tab)
            assert any("reload" in json.dumps(message.content) for message in told)
            assert kit.hub.cache == {}
            assert await alice.tried("compute", token) == 403
            assert (await alice.get("/compute")).status_code == 302
            # The other one's session stays.
            await eventually(lambda: kit.sessions == 1)
            await other_tab.send("PULL-DOC-REQ")
            assert await other_tab.message()


async def test_a_role_that_is_taken_away_closes_the_tab() -> None:
    async with serving() as kit, kit.guest("bob") as bob, kit.guest("root") as root:
        kit.portal.officers["bob"] = ["council"]
        officer = await bob.socket("programme", await bob.token("programme"))
        admin = await root.socket("fleet", await root.token("fleet"))
        async with officer, admin:
            assert await officer.document()
            assert await admin.document()
            kit.portal.officers.clear()
            await until_closed(officer)
            kit.hub.scopes["root"] = {"access"}
            await until_closed(admin)
        assert (await root.get("/fleet")).status_code == 403


async def test_a_hub_or_portal_that_is_away_closes_no_tab() -> None:
    async with serving() as kit, kit.guest("bob") as bob:
        kit.portal.officers["bob"] = ["council"]
        socket = await bob.socket("programme", await bob.token("programme"))
        async with socket:
            assert await socket.document()
            kit.hub.away = True
            kit.portal.mode = "away"
            asked = len(kit.portal.calls)
            kit.hub.away = False
            await eventually(lambda: kit.portal.calls[asked:].count("GET /services/portal/api/v1/me") > 3)
            await socket.send("PULL-DOC-REQ")
            assert await socket.message()


@pytest.mark.parametrize(
    "there", ["//evil.example", "/hub/logout", "https://evil.example/", "/services/panels/../../hub/logout",
              "/services/panels/%2e%2e/portal", "/services/panelsx", "\\\\evil.example", "/services/panels//evil.example",
              "/services/panels/fleet?\r\nX: y", "javascript:alert(1)", ""],
)  # fmt: skip
def test_a_login_leads_to_pages_of_ours_only(there: str) -> None:
    assert way_back(there, {"/services/panels/fleet"}, "first") == "first"


def test_a_login_leads_back_to_the_page_with_its_query() -> None:
    there = "/services/panels/fleet?domain=nvl001"
    assert way_back(there, {"/services/panels/fleet"}, "first") == there


async def test_what_may_not_be_seen_or_is_not_there_says_so_in_the_readers_language() -> None:
    async with serving() as kit, kit.guest("bob") as bob:
        for lang in ("en", "zh-TW"):
            told = {"Accept-Language": lang}
            for path, status, message in (
                ("/fleet", 403, "panels-not-yours"),
                ("/nothing", 404, "panels-no-page"),
                ("/compute/nothing", 404, "panels-no-page"),
                ("/static/nothing.js", 404, "panels-no-page"),
            ):
                answer = await bob.get(path, headers=told)
                assert answer.status_code == status, path
                assert f'lang="{lang}"' in answer.text
                assert say(message, lang) in answer.text
                assert answer.text.count("<h1>") == 1
        lost = await bob.get("/oauth_callback?code=x&state=y")
        assert lost.status_code == 403
        assert say("panels-login-lost") in lost.text


async def test_every_answer_is_closed_to_frames_and_guesses() -> None:
    async with serving() as kit, kit.guest("bob") as bob, kit.guest("") as nobody:
        for visitor in (bob, nobody):
            for path in (
                "/compute", "/fleet", "/nothing", "/compute/metadata", "/favicon.ico", "/", "/login",
                "/compute/autoload.js", "/static/js/bokeh.min.js",
            ):  # fmt: skip
                answer = await visitor.get(path)
                assert answer.headers["X-Content-Type-Options"] == "nosniff", path
                assert answer.headers["Referrer-Policy"] == "same-origin", path
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path


async def test_the_icon_is_there() -> None:
    async with serving() as kit, kit.guest("") as nobody:
        answer = await nobody.get("/favicon.ico")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/x-icon")


def test_the_time_between_two_looks_is_checked() -> None:
    assert read_seconds({}, "X", 20) == 20
    assert read_seconds({"X": "0.5"}, "X", 20) == 0.5
    for wrong in ("0", "-1", "soon", "nan", "1e9"):
        with pytest.raises(ValueError, match="X is"):
            read_seconds({"X": wrong}, "X", 20)


def test_what_signs_sessions_is_not_what_signs_cookies() -> None:
    assert _derived(SECRET, "sessions") != _derived(SECRET, "cookies")
