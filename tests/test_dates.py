"""Times as people write them, and the hours that clocks leave out or show twice."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.dates import UnclearTimeError, moment, shown

BERLIN, TAIPEI, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Taipei"), ZoneInfo("America/New_York")
ZONES = st.sampled_from([BERLIN, TAIPEI, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")])


def unix(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-03-14T09:00", unix(2027, 3, 14, 1)),
        ("2027-03-14 09:00:30", unix(2027, 3, 14, 1) + 30),
        ("2027-03-14", unix(2027, 3, 13, 16)),
        ("2027-03-14T09:00Z", unix(2027, 3, 14, 9)),
        ("2027-03-14T09:00-05:00", unix(2027, 3, 14, 14)),
        ("1800000000", 1_800_000_000),
    ],
)
def test_times_are_in_the_zone_of_the_site_unless_they_say_another(text: str, at: int) -> None:
    assert moment(text, TAIPEI) == at


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-02-30", "2027-13-01T00:00", "2027-03-14T25:00", "12",
             "0001-01-01", "1969-12-31T00:00", "2027-W10-1", "２０２７-03-14", "2027-03-14T09:00+99:00"]
)  # fmt: skip
def test_what_is_no_time_is_told_so(text: str) -> None:
    with pytest.raises(UnclearTimeError) as caught:
        moment(text, NEW_YORK)
    assert caught.value.slug == "time-unreadable"


def test_an_hour_that_clocks_leave_out_is_refused_with_the_next_one() -> None:
    with pytest.raises(UnclearTimeError) as caught:
        moment("2027-03-28T02:30", BERLIN)
    assert (caught.value.slug, caught.value.members["instead"]) == ("time-left-out", "2027-03-28 03:30")


def test_an_hour_that_exists_twice_is_asked_about() -> None:
    with pytest.raises(UnclearTimeError) as caught:
        moment("2027-10-31T02:30", BERLIN)
    told = caught.value.members
    assert caught.value.slug == "time-twice"
    assert (told["first"], told["last"]) == ("2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00")
    first, second = (moment("2027-10-31T02:30", BERLIN, second=second) for second in (False, True))
    assert (first, second) == (moment(told["first"], BERLIN), moment(told["last"], BERLIN))
    assert second - first == 3600


def read(text: str, zone: ZoneInfo) -> list[int] | str:
    """The moments that a time may mean; or why there is none."""
    try:
        return [moment(text, zone)]
    except UnclearTimeError as error:
        if error.slug == "time-twice":
            return [moment(text, zone, second=second) for second in (False, True)]
        return error.slug


@given(st.integers(unix(2020, 1, 1), unix(2035, 1, 1)), ZONES)
def test_a_moment_that_clocks_show_is_read_as_itself_or_as_one_of_two(at: int, zone: ZoneInfo) -> None:
    assert at in read(f"{datetime.fromtimestamp(at, zone):%Y-%m-%dT%H:%M:%S}", zone)


@given(st.integers(unix(2020, 1, 1), unix(2035, 1, 1)), ZONES)
def test_what_is_read_is_what_clocks_show(seconds: int, zone: ZoneInfo) -> None:
    told = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    # Every moment whose clocks could show it: offsets are whole half hours, of a day at most.
    tried = [seconds + half * 1800 for half in range(-48, 49)]
    ways = [at for at in tried if datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0) == told]
    assert read(told.isoformat(), zone) == (ways or "time-left-out")


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe")], ids=str)
def test_every_half_hour_of_a_year_is_read_right_where_clocks_change(zone: ZoneInfo) -> None:
    for seconds in range(unix(2027, 1, 1), unix(2028, 1, 1), 1800):
        told = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        near = [seconds + half * 1800 for half in range(-30, 31)]
        ways = [at for at in near if datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0) == told]
        assert read(told.isoformat(), zone) == (ways or "time-left-out")


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("UTC", "2027-01-15 08:00 UTC"),
        ("Asia/Taipei", "2027-01-15 16:00 CST (UTC+8)"),
        ("America/Chicago", "2027-01-15 02:00 CST (UTC-6)"),
        ("Asia/Kathmandu", "2027-01-15 13:45 UTC+5:45"),
        ("America/St_Johns", "2027-01-15 04:30 NST (UTC-3:30)"),
        ("Europe/Istanbul", "2027-01-15 11:00 UTC+3"),
        ("Europe/London", "2027-01-15 08:00 GMT (UTC+0)"),
        ("Nowhere/Atall", "2027-01-15 08:00 UTC"),
    ],
)
def test_a_zone_is_told_so_that_it_is_no_other(zone: str, told: str) -> None:
    assert shown(1_800_000_000, zone) == told
    assert shown(10**15, zone).startswith("9999-")
