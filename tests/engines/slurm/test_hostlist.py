"""Slurm's short way to write nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.slurm.hostlist import MOST, expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nvl001-03", ("nvl001-03",)),
        ("nvl001-[01-03,07]", ("nvl001-01", "nvl001-02", "nvl001-03", "nvl001-07")),
        ("a[1-2]-[01-02],cpu001", ("a1-01", "a1-02", "a2-01", "a2-02", "cpu001")),
        ("n[8-11]", ("n8", "n9", "n10", "n11")),
        ("rack[2]u[1-2]x", ("rack2u1x", "rack2u2x")),
        ("", ()),
        ("(null)", ()),
    ],
)
def test_it_reads_as_slurm_means_it(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


def test_numbers_beyond_reason_are_refused_before_they_are_counted() -> None:
    with pytest.raises(ValueError, match="more than"):
        expand("n[1-999999999999]")
    with pytest.raises(ValueError, match="more than"):
        expand(f"n[1-{MOST // 2}],m[1-{MOST // 2 + 1}]")


@given(st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True))
def test_what_is_written_one_by_one_comes_back_one_by_one(numbers: list[int]) -> None:
    assert expand("n[" + ",".join(f"{number:03}" for number in numbers) + "]") == tuple(
        f"n{number:03}" for number in numbers
    )
