"""`nvlhub reservation`."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from nvlhub.dates import moment
from tests.cli.conftest import Terminal
from tests.conftest import START

TAIPEI = ZoneInfo("Asia/Taipei")
MAKE = ("reservation", "add", "Typhoon week", "demo", "30", "--starts", "2027-03-14T09:00", "--ends", "2027-03-15")


def test_reservations_are_tried_made_listed_moved_and_cancelled(nvlhub: Terminal) -> None:
    nvlhub.kit.desk.zone = "Asia/Taipei"
    tried = nvlhub.json(*MAKE, "--dry-run")
    assert (tried["id"], tried["gpus"], nvlhub.json("reservation", "list")) == ("", 32, [])
    made = nvlhub.json(*MAKE, "--note", "for the paper")
    assert (made["starts"], made["ends"]) == (moment("2027-03-14T01:00Z", TAIPEI), moment("2027-03-14T16:00Z", TAIPEI))
    assert "nvl001: 1-8" in nvlhub.run("reservation", "list")
    assert "2027-03-14 09:00 CST" in nvlhub.run("reservation", "list")
    moved = nvlhub.json("reservation", "move", "1", "--starts", "2027-03-20T00:00+00:00")
    assert moved["ends"] - moved["starts"] == made["ends"] - made["starts"]
    assert nvlhub.json("reservation", "list", "--until", "2027-03-19") == []
    assert "cancelled" in nvlhub.run("reservation", "cancel", "1")
    assert "over or was cancelled" in nvlhub.run("reservation", "move", "1", "--ends", "2027-03-21", code=1)
    now = nvlhub.json("reservation", "add", "Now", "demo", "4", "--ends", str(START + 3600))
    assert now["starts"] == START


def test_what_cannot_be_is_told_in_words(nvlhub: Terminal) -> None:
    nvlhub.kit.desk.zone = "Europe/Berlin"
    for time, words in (
        ("tomorrow", "is no time"), ("2027-03-28T02:30", "does not exist"), ("2027-10-31T02:30", "exists twice"),
        ("2020-01-01", "lies in the past"),
    ):  # fmt: skip
        told = nvlhub.run("reservation", "add", "x", "demo", "4", "--starts", time, "--ends", "2027-12-01", code=1)
        assert words in told
    assert "may not do this" in nvlhub.run(*MAKE, who="researcher", code=1)
    nvlhub.run(*MAKE)
    assert "Possible in the same time: 40 GPUs" in nvlhub.run(*MAKE[:4], "72", *MAKE[5:], code=1)
    assert "Nothing to change" in nvlhub.run("reservation", "move", "1", code=1)
