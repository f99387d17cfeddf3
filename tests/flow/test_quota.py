"""Who may start what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.errors import BadInputError
from nvlhub.flow.quota import Award, Hold, InUse, Refusal, admit, admit_together
from nvlhub.flow.request import Pool, Profile, Project, Request, check_gpus, make_request
from nvlhub.wire import Kind, LeaseAsk, Span

HOUR = 3600
NOW = 1000


def request(gpus: int = 8, seconds: int = HOUR, profile_gpus: int = 8, **project: int | None) -> Request:
    paying = Project("p", "Project", "g", **project)
    profile = Profile("x", 1, "X", "main", profile_gpus, Span.DOMAIN, 10 * HOUR)
    return Request("u", paying, profile, Kind.KERNEL, gpus, seconds, 1000)


def award(units: int, *, ends: int = 10**9, number: int = 1, cap: int | None = None) -> Award:
    return Award(number, units, 0, 0, 0, ends, cap)


def test_a_start_within_balance_is_held() -> None:
    asked = request()
    assert admit(asked, [award(asked.hold)], InUse(), NOW) == Hold(asked, 1, 8 * HOUR * 1000)


def test_one_unit_too_few_is_refused_with_what_would_do() -> None:
    asked = request()
    refused = admit(asked, [award(asked.hold - 1)], InUse(), NOW)
    assert isinstance(refused, Refusal)
    assert refused.slug == "balance-too-low"
    assert refused.members["largest_gpus"] == 4
    assert refused.members["longest_gpus"] == 8
    assert refused.members["longest_seconds"] == HOUR - 1


def test_the_award_that_ends_first_pays() -> None:
    asked = request()
    awards = [award(10**9, number=1), award(10**9, ends=NOW + HOUR, number=2)]
    held = admit(asked, awards, InUse(), NOW)
    assert isinstance(held, Hold)
    assert held.award == 2


def test_an_award_must_last_until_the_deadline() -> None:
    refused = admit(request(), [award(10**9, ends=NOW + HOUR - 1)], InUse(), NOW)
    assert isinstance(refused, Refusal)
    assert (refused.slug, refused.members["ends_in"]) == ("award-ends-first", HOUR - 1)


@pytest.mark.parametrize(
    ("caps", "in_use", "slug"),
    [
        ({"member_cap": 8}, InUse(user=1), "cap-member"),
        ({"cap": 8}, InUse(project=4), "cap-project"),
        ({"programme_cap": 8}, InUse(programme=8), "cap-programme"),
    ],
)
def test_caps_count_what_is_held_and_what_waits(caps: dict[str, int], in_use: InUse, slug: str) -> None:
    refused = admit(request(**caps), [award(10**12)], in_use, NOW)
    assert isinstance(refused, Refusal)
    assert refused.slug == slug


def test_an_awards_own_cap_binds() -> None:
    refused = admit(request(), [award(10**12, cap=8)], InUse(awards={1: 1}), NOW)
    assert isinstance(refused, Refusal)
    assert refused.slug == "cap-award"


def test_without_an_award_nobody_pays() -> None:
    refused = admit(request(), [award(10**12, ends=NOW)], InUse(), NOW)
    assert isinstance(refused, Refusal)
    assert refused.slug == "no-award"


@given(
    st.integers(0, 10**8),
    st.sampled_from([1, 2, 3, 4, 8, 16]),
    st.integers(60, 10 * HOUR),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_what_a_refusal_says_would_be_allowed_is_allowed(units: int, gpus: int, seconds: int, cap: int | None) -> None:
    asked = request(gpus, seconds, profile_gpus=16, cap=cap)
    decided = admit(asked, [award(units)], InUse(), NOW)
    if isinstance(decided, Hold):
        assert decided.units <= units
        return
    suggestions = [
        (decided.members["largest_gpus"], seconds),
        (decided.members["longest_gpus"], decided.members["longest_seconds"]),
    ]
    for more_gpus, more_seconds in suggestions:
        if more_gpus:
            smaller = request(int(more_gpus), int(more_seconds or 0), profile_gpus=16, cap=cap)
            assert isinstance(admit(smaller, [award(units)], InUse(), NOW), Hold)


POOL = Pool("main", "GB300", 1000)
PROFILE = Profile("x", 1, "X", "main", 8, Span.DOMAIN, 2 * HOUR)
PROJECT = Project("p", "Project", "g")


@pytest.mark.parametrize("gpus", [0, -1, 73, 10**9])
def test_a_domain_has_1_to_72_gpus(gpus: int) -> None:
    with pytest.raises(BadInputError) as caught:
        check_gpus(gpus, Span.DOMAIN, POOL)
    assert caught.value.members["field"] == "gpus"
    assert caught.value.members["most"] == 72


@pytest.mark.parametrize("gpus", [5, 6, 7, 71])
def test_above_a_tray_only_whole_trays(gpus: int) -> None:
    with pytest.raises(BadInputError) as caught:
        check_gpus(gpus, Span.DOMAIN, POOL)
    assert caught.value.slug == "gpus-not-whole-trays"


@pytest.mark.parametrize(
    ("ask", "slug"), [({"gpus": 12}, "gpus-above-profile"), ({"seconds": 3 * HOUR}, "seconds-out-of-range")]
)
def test_more_than_the_profile_gives_is_bad_input(ask: dict[str, int], slug: str) -> None:
    with pytest.raises(BadInputError) as caught:
        make_request(LeaseAsk(project="p", profile="x", **ask), "u", "", PROJECT, PROFILE, POOL)
    assert caught.value.slug == slug


def test_a_request_takes_what_the_profile_says() -> None:
    made = make_request(LeaseAsk(project="p", profile="x"), "u", "u/", PROJECT, PROFILE, POOL)
    assert (made.gpus, made.seconds, made.hold) == (8, 2 * HOUR, 8 * 2 * HOUR * 1000)


@given(
    st.lists(st.integers(0, 20 * HOUR * 1000), min_size=1, max_size=3),
    st.integers(1, 12),
    st.sampled_from([1, 2, 4]),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_what_a_refusal_of_many_says_would_be_allowed_is_allowed(
    units: list[int], count: int, gpus: int, cap: int | None
) -> None:
    asked = request(gpus, HOUR, profile_gpus=4, cap=cap)
    awards = [award(amount, number=number) for number, amount in enumerate(units)]
    decided = admit_together(asked, count, awards, InUse(), NOW)
    if not isinstance(decided, Refusal):
        assert len(decided) == count
        for one in awards:
            assert sum(hold.units for hold in decided if hold.award == one.id) <= one.left
        return
    if count == 1:
        return
    allowed = int(decided.members["largest_count"] or 0)
    assert allowed < count
    if allowed:
        assert not isinstance(admit_together(asked, allowed, awards, InUse(), NOW), Refusal)
    if decided.members["longest_gpus"]:
        shorter = request(gpus, int(decided.members["longest_seconds"] or 0), profile_gpus=4, cap=cap)
        assert not isinstance(admit_together(shorter, count, awards, InUse(), NOW), Refusal)


def test_a_preemptible_start_holds_nothing_on_the_award_that_ends_first_whatever_is_left_or_capped() -> None:
    asked = replace(request(cap=1, user_cap=1, low_priority=True), preemptible=True)
    awards = [award(0, number=1), award(0, ends=NOW + HOUR, number=2, cap=1), award(0, ends=NOW + HOUR - 1, number=3)]
    in_use = InUse(user=9, project=9, programme=9, awards={2: 9}, everywhere=9)
    assert admit(asked, awards, in_use, NOW) == Hold(asked, 2, 0)
    assert admit_together(asked, 3, awards, in_use, NOW) == (Hold(asked, 2, 0),) * 3


def test_a_preemptible_start_is_refused_without_leave_an_award_or_time() -> None:
    asked = replace(request(low_priority=True), preemptible=True)
    barred = replace(asked, project=replace(asked.project, low_priority=False))
    for wanted, awards, slug in (
        (barred, [award(10**12)], "preemptible-off"),
        (asked, [award(10**12, ends=NOW)], "no-award"),
        (asked, [award(10**12, ends=NOW + HOUR - 1)], "award-ends-first"),
    ):
        for count in (1, 2):
            refused = admit_together(wanted, count, awards, InUse(), NOW)
            assert isinstance(refused, Refusal)
            assert (refused.slug, "low_priority" in refused.members) == (slug, False)
