"""The portal's reservations against Slurm's."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.slurm.reservations import GOING, Reservation, read, steps
from nvlhub.engines.slurm.reserve import LONGEST, parse

NOW = 1_795_980_668
# As Slurm 22.05.8 printed it.
SHOWN = """ReservationName=nvlhub-7 StartTime=2026-11-29T19:31:10 EndTime=2026-11-29T20:31:08 Duration=00:59:58 Nodes=nvl001-[01-02,05] NodeCnt=3 CoreCnt=288 Features=(null) PartitionName=(null) Flags=FLEX,IGNORE_JOBS,SPEC_NODES,NO_HOLD_JOBS_AFTER_END TRES=cpu=288 Users=(null) Groups=(null) Accounts=demo Licenses=(null) State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)
ReservationName=maintenance StartTime=2026-11-29T19:34:28 EndTime=2026-11-29T20:31:08 Duration=00:56:40 Nodes=nvl001-09 NodeCnt=1 CoreCnt=144 Features=(null) PartitionName=gpu Flags=SPEC_NODES TRES=cpu=144 Users=root Groups=(null) Accounts=(null) Licenses=(null) State=INACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)
"""
SEVEN = Reservation(
    "nvlhub-7", NOW + 2, NOW + 3600, frozenset({"nvl001-01", "nvl001-02", "nvl001-05"}), frozenset({"demo"})
)


def test_what_slurm_prints_is_read_and_others_are_passed_over() -> None:
    assert list(read(SHOWN)) == [SEVEN]
    assert list(read("No reservations in the system\n")) == []


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert steps([SEVEN], [SEVEN], NOW) == []
    # It began when it was first asked for.
    assert steps([replace(SEVEN, starts=NOW - 500)], [SEVEN], NOW + 10) == []


def test_changes_are_told_in_sentences() -> None:
    later = replace(SEVEN, ends=NOW + 7200)
    [step] = steps([later], [SEVEN], NOW)
    assert step.words == ("update", "nvlhub-7", "--end", str(NOW + 7200))
    assert step.sentence == "reservation nvlhub-7: ends 2026-11-29 21:31:08Z instead of 2026-11-29 20:31:08Z"
    [step] = steps([replace(SEVEN, starts=NOW - 9)], [], NOW, "gpu")
    assert step.words[2:4] == ("--nodes", "nvl001-01,nvl001-02,nvl001-05") or "--nodes" in step.words
    assert (step.words[step.words.index("--start") + 1], step.words[-1]) == (str(NOW), "gpu")
    assert step.sentence.startswith("reservation nvlhub-7: make, 3 nodes for demo, 2026-11-29 19:31:08Z to ")


def test_what_nobody_wants_goes_unless_it_ends_by_itself() -> None:
    assert [step.words for step in steps([], [SEVEN], NOW)] == [("delete", "nvlhub-7")]
    assert steps([], [SEVEN], SEVEN.ends - GOING) == []
    # Its jobs still keep it there.
    assert steps([SEVEN], [SEVEN], SEVEN.ends + 500) == []


def test_what_has_begun_and_is_put_off_is_made_anew() -> None:
    put_off = replace(SEVEN, starts=NOW + 900)
    assert [step.words[0] for step in steps([put_off], [SEVEN], NOW + 60)] == ["delete", "create"]


def test_nodes_are_given_up_before_they_are_taken() -> None:
    eight = replace(SEVEN, name="nvlhub-8", nodes=frozenset({"nvl001-09"}))
    wanted = [replace(SEVEN, nodes=SEVEN.nodes | {"nvl001-09"}), replace(eight, nodes=frozenset())]
    assert [step.words[1] for step in steps(wanted, [SEVEN, eight], NOW)] == ["nvlhub-8", "nvlhub-7"]


RESERVATIONS = st.builds(
    Reservation,
    st.integers(1, 9).map(lambda number: f"nvlhub-{number}"),
    st.integers(NOW - 1000, NOW + 1000),
    st.integers(NOW + 2000, NOW + LONGEST - 1000),
    st.frozensets(st.integers(1, 18).map(lambda tray: f"nvl001-{tray:02}"), min_size=1),
    st.frozensets(st.sampled_from(["demo", "other"]), min_size=1),
)


def by_name(listed: list[Reservation]) -> list[Reservation]:
    return list({one.name: one for one in listed}.values())


@given(st.lists(RESERVATIONS).map(by_name), st.lists(RESERVATIONS).map(by_name))
def test_every_step_is_in_the_grammar_and_once_they_are_taken_all_is_as_wanted(
    wanted: list[Reservation], present: list[Reservation]
) -> None:
    there = {one.name: one for one in present}
    for step in steps(wanted, present, NOW):
        order = parse(step.words)
        if order.verb == "delete":
            del there[order.name]
            continue
        values = order.values
        before = there.get(order.name, Reservation("", 0, 0, frozenset(), frozenset()))
        there[order.name] = Reservation(
            order.name, int(values.get("--start", before.starts)), int(values.get("--end", before.ends)),
            frozenset(values["--nodes"].split(",")) if "--nodes" in values else before.nodes,
            frozenset(values["--accounts"].split(",")) if "--accounts" in values else before.accounts,
        )  # fmt: skip
    assert steps(wanted, there.values(), NOW) == []
    assert there.keys() == {one.name for one in wanted}
