"""The loop that tends the servers of seats, against a hub that does what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from nvlhub.portal.classroom import Answer, Classroom, Found
from nvlhub.portal.warming import Warming
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at
from tests.test_joining import CODE, HOUR, teach


@dataclass
class Room:
    """A hub: servers that start as they are told to."""

    starts: list[Answer] = field(default_factory=list)
    servers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, user: str, run: int, title: str) -> Answer:
        with self.lock:
            self.asked.append(("start", user))
            answer = self.starts.pop(0) if self.starts else Answer(Found.READY)
            if answer.found in {Found.READY, Found.PENDING}:
                self.servers[user] = answer
            return answer

    def look(self, user: str, run: int) -> Answer:
        self.asked.append(("look", user))
        return self.servers.get(user, Answer(Found.STOPPED))

    def stop(self, user: str, run: int, *, remove: bool = False) -> Answer:
        self.asked.append(("stop", user))
        self.servers.pop(user, None)
        return Answer(Found.STOPPED)


@dataclass
class Class:
    portal: Kit
    room: Room
    run: int
    warming: Warming

    def turn(self, seconds: int = 0) -> None:
        """Let time pass; ask, wait for the answers, and write them."""
        self.portal.clock.forward(seconds)
        self.warming.turn()
        wait([future for _, _, future in self.warming._busy.values()], 10)
        self.warming.turn()
        wait([future for _, _, future in self.warming._busy.values()], 10)

    def seat(self, user: str) -> dict[str, object]:
        with self.portal.store.reading() as unit:
            return unit.seat_of(self.run, user) or {}

    def restart(self) -> None:
        self.warming.stop()
        self.warming = Warming(
            self.portal.store, self.portal.clock, self.room, self.portal.registry.joining, 5  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture
def a_class(tmp_path: Path, clock: HandClock) -> Iterator[Callable[..., Class]]:
    store = store_at(tmp_path / "x.sqlite")
    portal, room = kit(store, clock), Room()
    made: list[Class] = []

    def make(roster: tuple[str, ...] = (), **more: object) -> Class:
        with store.writing() as unit:
            for user in roster:
                unit.know_user(user, START)
        run = teach(portal, seats=20, roster=[{"user": user} for user in roster], **more)
        warming = Warming(store, clock, room, portal.registry.joining, 5)  # type: ignore[arg-type]
        made.append(Class(portal, room, run, warming))
        return made[-1]

    yield make
    for one in made:
        one.warming.stop()
    store.close()


def test_servers_of_the_roster_run_ten_minutes_before_the_start(a_class: Callable[..., Class]) -> None:
    one = a_class(tuple(f"user{number}" for number in range(12)))
    one.turn(1799)
    assert one.room.asked == []
    for _ in range(6):
        one.turn(1)
    assert one.portal.clock.now() < START + HOUR - 600
    assert all(one.seat(f"user{number}")["ready_at"] for number in range(12))
    assert sorted(user for _, user in one.room.asked) == sorted(f"user{number}" for number in range(12))


def test_whoever_joins_gets_a_server_and_one_that_is_not_known_on_the_roster_does_not(
    a_class: Callable[..., Class],
) -> None:
    one = a_class()
    one.portal.clock.forward(3000)
    one.portal.registry.joining.join(Visitor("amy"), CODE)
    one.turn()
    assert one.room.asked == [("start", "amy")]
    assert one.seat("amy")["ready_at"] == START + 3000


def test_a_failed_start_is_told_and_tried_again(a_class: Callable[..., Class]) -> None:
    one = a_class(("amy",))
    one.room.starts = [Answer(Found.FAILED, "no such image"), Answer(Found.PENDING)]
    one.turn(1800)
    assert (one.seat("amy")["failed"], one.seat("amy")["tries"]) == ("no such image", 1)
    one.turn(5)
    assert one.room.asked == [("start", "amy")]
    one.turn(5)
    assert one.seat("amy")["failed"] == ""
    one.room.servers["amy"] = Answer(Found.READY)
    one.turn(2)
    assert one.seat("amy")["ready_at"]
    assert one.seat("amy")["tries"] == 0


def test_a_hub_that_is_busy_or_away_is_asked_later_and_no_start_has_failed(a_class: Callable[..., Class]) -> None:
    one = a_class(("amy",))
    one.room.starts = [Answer(Found.BUSY, wait=30), Answer(Found.AWAY)]
    one.turn(1800)
    one.turn(29)
    assert one.room.asked == [("start", "amy")]
    one.turn(1)
    one.turn(1)
    assert one.room.asked == [("start", "amy")] * 3
    assert one.seat("amy")["ready_at"]
    assert one.seat("amy")["tries"] == 0


def test_a_portal_that_begins_anew_goes_on_from_the_rows(a_class: Callable[..., Class]) -> None:
    one = a_class(("amy",))
    one.room.starts = [Answer(Found.PENDING)]
    one.turn(1800)
    one.restart()
    one.room.servers["amy"] = Answer(Found.READY)
    one.turn(2)
    assert one.seat("amy")["ready_at"]
    assert [what for what, _ in one.room.asked].count("start") == 1


def test_a_seat_that_nobody_comes_to_is_freed_and_its_server_stopped(a_class: Callable[..., Class]) -> None:
    one = a_class(("amy", "ben", "cat"))
    one.turn(1800)
    one.portal.registry.joining.here(Visitor("ben"), one.run)
    one.room.servers["cat"] = Answer(Found.READY, active_at=START + HOUR + 300)
    one.turn(1800 + 1199)
    assert one.seat("amy")
    one.turn(70)
    assert one.seat("amy") == {}
    assert one.seat("ben")["seen_at"], "who opened the page was there"
    assert one.seat("cat")["seen_at"] == START + HOUR + 300, "who worked at the server was there"
    assert ("stop", "amy") in one.room.asked
    assert "amy" not in one.room.servers
    one.portal.registry.joining.join(Visitor("dan"), CODE)
    assert one.seat("dan")["number"] == 1


def test_a_server_that_was_stopped_is_started_again_while_the_class_is_on(a_class: Callable[..., Class]) -> None:
    one = a_class(("amy",))
    one.turn(1800)
    one.room.servers.clear()
    one.turn(60)
    one.turn(1)
    assert [what for what, _ in one.room.asked].count("start") == 2
    assert one.seat("amy")["failed"] == ""


@pytest.mark.parametrize("ended", ["closed", "cancelled", "time"])
def test_when_a_run_is_over_its_servers_are_removed(a_class: Callable[..., Class], ended: str) -> None:
    one = a_class(("amy",))
    one.turn(1800)
    one.portal.registry.joining.here(Visitor("amy"), one.run)
    if ended == "time":
        one.portal.clock.at = START + 3 * HOUR + 900
    else:
        one.portal.clock.forward(20)
        with one.portal.store.writing() as unit:
            unit.change_run(one.run, state=ended)
    one.turn()
    assert one.room.asked[-1] == ("stop", "amy")
    assert one.seat("amy")["warm_at"] is None
    one.turn(60)
    assert one.room.asked[-1] == ("stop", "amy")


# --- the hub's words ----------------------------------------------------------------------------------------------


def classroom(answers: Callable[[httpx.Request], httpx.Response]) -> Classroom:
    made = Classroom("http://hub/hub/api", "secret")
    made._http = httpx.Client(base_url="http://hub/hub/api", transport=httpx.MockTransport(answers))
    return made


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {}, Answer(Found.READY)),
        (202, {}, Answer(Found.PENDING)),
        (429, {}, Answer(Found.BUSY, wait=40)),
        (500, {"message": "no such image"}, Answer(Found.FAILED, "no such image")),
        (404, None, Answer(Found.FAILED, "HTTP 404")),
        (400, {"message": "is already running"}, Answer(Found.READY, active_at=1_800_000_000)),
    ],
)
def test_what_the_hub_says_of_a_start_is_understood(status: int, body: object, expected: Answer) -> None:
    def hub(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/hub/api/users/a%2Fb%20c/servers/class-3"
        if request.method == "GET":
            told = {"ready": True, "pending": None, "last_activity": "2027-01-15T08:00:00.000000Z"}
            return httpx.Response(200, json=told)
        return httpx.Response(status, json=body, headers={"Retry-After": "40"})

    assert classroom(hub).start("a/b c", 3, "Frames") == expected


def test_a_hub_that_does_not_answer_is_away() -> None:
    def hub(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    room = classroom(hub)
    assert {room.start("a", 1, "x").found, room.look("a", 1).found, room.stop("a", 1).found} == {Found.AWAY}
    assert not room.let_in("a", 1, "b")
