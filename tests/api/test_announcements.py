"""Announcements: who reads what, when, in which language; what cannot be is refused and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlhub.store import Unit
from tests.api.test_awards_api import done, refused
from tests.api.world import Api, Template, build
from tests.portal_kit import Kit


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    made = Api()
    with made.http:
        yield made


@pytest.fixture
def portal(api: Api, template: Template, tmp_path: Path) -> Iterator[Kit]:
    with api.world(template, tmp_path) as portal:
        yield portal


def texts(api: Api, who: str, **more: Any) -> list[str]:
    return [item["text"] for item in done(api("GET", "/announcements", who, **more))["items"]]


def announce(api: Api, text: str, who: str = "admin", **more: Any) -> str:
    return str(done(api("POST", "/announcements", who, json={"level": "info", "text": text, **more}))["id"])


@pytest.mark.usefixtures("portal")
def test_the_reader_gets_their_own_language_where_there_is_one(api: Api) -> None:
    announce(api, "Short break", text_zh="短暫停機")
    chinese, chosen = {"Accept-Language": "zh-TW"}, {"Cookie": "nvlhub-language=zh-TW", "Accept-Language": "en"}
    assert texts(api, "other") == ["Short break", "Maintenance"]
    assert texts(api, "other", headers=chinese) == texts(api, "other", headers=chosen) == ["短暫停機", "Maintenance"]


@pytest.mark.usefixtures("portal")
def test_markup_is_kept_as_text_and_what_turns_the_text_around_is_refused(api: Api) -> None:
    told = "<b>Now</b>\n=HYPERLINK(1)"
    announce(api, told)
    assert texts(api, "other")[0] == told
    for text in ("", "  \n", "x" * 501, "a\u202eb", "a\x1b[31m", "a\u200b"):
        refused(
            api("POST", "/announcements", "admin", json={"level": "info", "text": text}), 422, "invalid-input", "text"
        )
    refused(api("POST", "/announcements", "admin", json={"level": "loud", "text": "x"}), 422, "invalid-input", "level")


def test_it_stands_from_its_start_until_its_end(api: Api, portal: Kit) -> None:
    now = portal.clock.now()
    announce(api, "Soon", starts=now + 60, ends=now + 120)
    assert texts(api, "other") == ["Maintenance"]
    portal.clock.forward(60)
    assert texts(api, "other") == ["Soon", "Maintenance"]
    portal.clock.forward(60)
    assert texts(api, "other") == ["Maintenance"]


@pytest.mark.usefixtures("portal")
def test_the_most_pressing_comes_first(api: Api) -> None:
    announce(api, "Now!", level="urgent")
    announce(api, "Later")
    assert texts(api, "member") == ["Now!", "It idles.", "Later", "Maintenance", "Maintenance"]


def test_a_message_about_a_lease_goes_with_the_lease(api: Api, portal: Kit, template: Template) -> None:
    assert "It idles." in texts(api, "member")
    done(api("DELETE", f"/leases/{template.names['running']}", "member"))
    portal.step(1)
    assert "It idles." not in texts(api, "member")


@pytest.mark.usefixtures("portal")
def test_dates_and_addressees_that_cannot_be_are_refused(api: Api, portal: Kit, template: Template) -> None:
    now, names = portal.clock.now(), template.names
    for more, status, slug in (
        ({"ends": now}, 422, "dates-past"),
        ({"starts": now + 9, "ends": now + 9}, 422, "dates-reversed"),
        ({"programme": "science", "user": "member"}, 422, "announcement-two"),
        ({"lease": names["running"]}, 422, "announcement-no-user"),
        ({"user": "founder", "lease": names["running"]}, 409, "announcement-no-holder"),
        ({"user": "member", "lease": names["settled"]}, 409, "announcement-no-holder"),
        ({"user": "member", "lease": "none"}, 409, "announcement-no-holder"),
        ({"user": "nobody"}, 404, "user-unknown"),
        ({"programme": "nothing"}, 404, "programme-unknown"),
    ):
        refused(api("POST", "/announcements", "admin", json={"level": "info", "text": "x", **more}), status, slug)
    assert done(api("GET", "/announcements", "admin", params={"all": "true"}))["total"] == 4


@pytest.mark.parametrize("more", [{}, {"user": "member"}, {"programme": "industry"}, {"programme": "nothing"}])
@pytest.mark.usefixtures("portal")
def test_an_officer_speaks_to_their_own_programme_alone(api: Api, more: dict[str, str]) -> None:
    refused(api("POST", "/announcements", "officer", json={"level": "info", "text": "x", **more}), 403, "not-allowed")
    announce(api, "Ours", "officer", programme="science")
    assert "Ours" in texts(api, "pi")
    assert "Ours" not in texts(api, "instructor") + texts(api, "other")


@pytest.mark.usefixtures("portal")
def test_what_is_withdrawn_is_gone_at_once_and_stays_in_the_history(api: Api) -> None:
    assert texts(api, "other") == ["Maintenance"]
    assert api("DELETE", "/announcements/1", "admin").status_code == 204
    assert texts(api, "other") == []
    assert api("DELETE", "/announcements/1", "admin").status_code == 204
    [first] = [
        item
        for item in done(api("GET", "/announcements", "admin", params={"all": "true"}))["items"]
        if item["id"] == "1"
    ]
    assert first["withdrawn_at"]
    assert first["actor"] == "admin"
    refused(api("DELETE", "/announcements/99", "admin"), 404, "announcement-unknown")
    actions = [line["action"] for line in done(api("GET", "/audit", "admin"))["items"]]
    assert actions.count("announcement-withdraw") == 1


@pytest.mark.usefixtures("portal")
def test_what_is_said_again_with_the_same_key_is_said_once(api: Api) -> None:
    body = {"level": "info", "text": "Once"}
    first, second = (
        done(api("POST", "/announcements", "admin", json=body, headers={"Idempotency-Key": "k"}))["id"]
        for _ in range(2)
    )
    assert first == second
    assert texts(api, "other").count("Once") == 1


@pytest.mark.usefixtures("portal")
def test_the_database_is_asked_now_and_then_only(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    standing = Unit.standing_announcements
    monkeypatch.setattr(
        Unit, "standing_announcements", lambda unit, now: read.append(now) or standing(unit, now)
    )  # fmt: skip
    for _ in range(10):
        texts(api, "other")
    assert len(read) == 1


@pytest.mark.usefixtures("portal")
def test_the_audit_trail_tells_who_announced_what_to_whom(api: Api) -> None:
    number = announce(api, "Ours", "officer", programme="science")
    line = done(api("GET", "/audit", "officer"))["items"][0]
    assert (line["action"], line["object"], line["actor"]) == ("announcement-add", f"announcement:{number}", "officer")
    assert line["after"]["text"] == "Ours"
