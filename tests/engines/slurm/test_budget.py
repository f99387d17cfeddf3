"""GPU-minutes that Slurm is told: never less than the portal allows, and not what somebody took past it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.slurm.budget import Award, Books, Live, Programme, Project, Scheme, Used, gpu_minutes, wanted
from nvlhub.engines.slurm.limits import Account, CollisionError, Limits
from nvlhub.wire import MILLI_PER_GPU_HOUR

NOW = 1_800_000_000
HOUR = 3600
AWARD = Award("demo", 100 * MILLI_PER_GPU_HOUR, 0, NOW - HOUR, NOW + 30 * 24 * HOUR)
BOOKS = Books(
    NOW, 1000, 72, [Programme("science", None, 1000, low_priority=False)],
    [Project("demo", "science", None, {"ann": None})], [AWARD],
)  # fmt: skip
SCHEME = Scheme("nvl")


def test_accounts_are_laid_out_by_programme_and_project() -> None:
    books = replace(
        BOOKS,
        programmes=[Programme("science", 32, 1000, low_priority=True), Programme("industry", None, 2000, low_priority=False)],
        projects=[Project("demo", "science", 16, {"ann": 4, "Bob": None}), Project("cast", "industry", None)],
        user_caps={"ann": 2},
    )  # fmt: skip
    layout, unfit = wanted(books, replace(SCHEME, account="NV-{project}"))
    assert set(layout.accounts) == {
        "nvlhub",
        "nvlhub.programme.science",
        "nvlhub.programme.industry",
        "nvlhub.low",
        "nv-demo",
        "nv-cast",
    }
    assert layout.accounts["nvlhub.programme.science"] == Account("nvlhub", Limits(gpus=32))
    assert layout.accounts["nvlhub.low"] == Account("nvlhub", Limits(), "nvlhub.low")
    assert layout.accounts["nv-demo"].limits.gpus == 16
    # Nothing was ever awarded to it, so nothing starts.
    assert layout.accounts["nv-cast"].limits == Limits(minutes=0)
    assert layout.users == {("nv-demo", "ann"): Limits(gpus=2), ("nvlhub.low", "ann"): Limits()}
    assert unfit == ["Bob"]


def test_where_the_portal_runs_all_jobs_under_its_own_account_that_one_is_the_user() -> None:
    layout, _ = wanted(BOOKS, replace(SCHEME, run_as="jupyter"))
    assert layout.users == {("demo", "jupyter"): Limits()}


@pytest.mark.parametrize(
    ("project", "template", "words"),
    [("nvlhub", "{project}", "project nvlhub"), ("root", "{project}", "root of Slurm"), ("science", "nvlhub.programme.{project}", "programme science")],
)  # fmt: skip
def test_two_things_with_one_account_are_refused(project: str, template: str, words: str) -> None:
    books = replace(BOOKS, projects=[Project(project, "science", None)])
    with pytest.raises(CollisionError, match=words):
        wanted(books, replace(SCHEME, account=template))


def test_a_cap_that_was_lowered_lets_go_on_what_was_let_in() -> None:
    books = replace(
        BOOKS, projects=[Project("demo", "science", 4, {"ann": 2})], live=[Live("demo", "ann", 16, HOUR)],
        awards=[replace(AWARD, cap=8)],
    )  # fmt: skip
    layout, _ = wanted(books, SCHEME)
    assert layout.accounts["demo"].limits.gpus == 16
    assert layout.accounts["demo"].limits.per_job == 16
    assert layout.users["demo", "ann"].gpus == 16


def test_what_was_taken_past_the_portal_is_not_given_again() -> None:
    """Slurm's own count is no argument: what a stranger's job uses up stays used up."""
    layout, _ = wanted(replace(BOOKS, projects=[Project("demo", "science", 4)]), SCHEME)
    # 100 hours, and little for the time limits of four GPUs at once.
    assert layout.accounts["demo"].limits.minutes == 100 * 60 + 60


NOTHING = Used()


def minutes(*awards: Award, live: tuple[Live, ...] = (), used: Used = NOTHING, factor: int = 1000, cap: int = 4) -> int:
    return gpu_minutes(awards, live, used, NOW, factor, cap, 15)


def test_an_award_counts_while_it_can_be_used_and_a_little_before() -> None:
    assert minutes(AWARD) == 6060
    assert minutes(replace(AWARD, starts=NOW + HOUR)) == 6060
    for over in (replace(AWARD, starts=NOW + 2 * HOUR), replace(AWARD, ends=NOW), replace(AWARD, revoked=True)):
        assert minutes(over) == 0
    running = replace(AWARD, revoked=True, held=MILLI_PER_GPU_HOUR)
    assert minutes(running, live=(Live("demo", "ann", 1, HOUR),)) == 120


def test_a_charge_factor_makes_the_same_award_more_or_fewer_gpu_minutes() -> None:
    assert minutes(AWARD, factor=500) == 12_060
    assert minutes(AWARD, factor=2000) == 3060
    # A lease that began before the factor was doubled has all of its time.
    held = replace(AWARD, left=0, held=10 * MILLI_PER_GPU_HOUR)
    assert minutes(held, live=(Live("demo", "ann", 1, 10 * HOUR),), factor=2000) >= 600


def test_an_end_of_a_lease_changes_next_to_nothing() -> None:
    """What it ran moves from what is held to what was used."""
    held = replace(AWARD, left=99 * MILLI_PER_GPU_HOUR, held=MILLI_PER_GPU_HOUR)
    before = minutes(held, live=(Live("demo", "ann", 1, HOUR),))
    after = minutes(replace(AWARD, left=99 * MILLI_PER_GPU_HOUR), used=Used(HOUR, 1))
    assert before == after


LEASES = st.lists(st.tuples(st.integers(1, 72), st.integers(60, 3 * HOUR), st.integers(0, 3 * HOUR)), max_size=12)


@given(
    ended=LEASES, running=LEASES, awarded=st.integers(1, 1000), factor=st.sampled_from([1, 500, 999, 1000, 2500]),
    asked=st.tuples(st.integers(1, 72), st.integers(60, 30 * 24 * HOUR)), grace=st.sampled_from([5, 15, 3600]),
    late=st.integers(0, 10),
)  # fmt: skip
def test_what_the_portal_allows_slurm_never_refuses(
    ended: list[tuple[int, int, int]], running: list[tuple[int, int, int]], awarded: int, factor: int,
    asked: tuple[int, int], grace: int, late: int,
) -> None:  # fmt: skip
    """Slurm's rule with `safe`: used + what runs can still use + the job's whole time limit <= GrpTRESMins."""
    award, past, beyond, live, by_slurm, can_use = awarded * MILLI_PER_GPU_HOUR, 0, 0, [], 0, 0

    def time_limit(seconds: int) -> int:
        return -(-(seconds + grace) // 60) + 1

    for gpus, seconds, ran in ended:
        ran = min(ran, seconds)  # noqa: PLW2901
        if award < gpus * seconds * factor:
            continue
        # Slurm sees the end a little later than the portal; a machine that failed costs nothing.
        award -= 0 if ran % 7 == 0 else gpus * ran * factor
        past += gpus * ran
        by_slurm += gpus * (ran + late)
    gpus_of_ended = sum(gpus for gpus, _, _ in ended)
    held = 0
    for gpus, seconds, ran in running:
        if award - held < gpus * seconds * factor:
            continue
        held += gpus * seconds * factor
        live.append(Live("demo", "ann", gpus, seconds))
        ran = min(ran, seconds)  # noqa: PLW2901
        past += gpus * ran
        by_slurm += gpus * ran
        can_use += gpus * (time_limit(seconds) * 60 - ran)
    gpus, seconds = asked
    if award - held < gpus * seconds * factor:
        return
    limit = gpu_minutes(
        [replace(AWARD, left=award - held, held=held)],
        live,
        Used(past, gpus_of_ended, beyond),
        NOW,
        factor,
        None,
        grace,
    )
    assert by_slurm // 60 + can_use // 60 + gpus * time_limit(seconds) <= limit
    assert by_slurm // 60 < limit
