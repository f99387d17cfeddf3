"""What ``nvlhub slurm`` refuses before it asks Slurm anything, and what it tells Slurm's commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from nvlhub.flow.request import Pool
from tests.cli.conftest import Terminal

RESERVED = (
    "ReservationName=nvlhub-7 StartTime=2026-11-29T00:00:00 EndTime=2099-12-29T00:00:00 Nodes=nvl001-01 Accounts=demo"
)


@pytest.fixture
def command(tmp_path: Path) -> str:
    """A Slurm that keeps one reservation of ours, as the command that reserves tells of it."""
    script = tmp_path / "reserve"
    script.write_text(f"#!{sys.executable}\nprint({RESERVED!r})\n")
    script.chmod(0o755)
    return shlex.quote(str(script))


def test_a_pool_that_is_mistyped_takes_no_reservation_away(nvlhub: Terminal, command: str) -> None:
    told = nvlhub.run("slurm", "reserve", "--pool", "nosuch", "--command", command, "--apply", code=1)
    assert told.strip() == "The portal has no pool nosuch. It has: main. Name it with --pool."


def test_of_several_pools_the_one_must_be_named(nvlhub: Terminal, command: str) -> None:
    found = nvlhub.json("slurm", "reserve", "--command", command)
    assert [row["command"] for row in found["changes"]] == [["delete", "nvlhub-7"]]
    with nvlhub.kit.store.writing() as unit:
        unit.set_pool(Pool("other", "GB300", 1000, 72, 72))
    told = nvlhub.run("slurm", "reserve", "--command", command, code=1)
    assert "several pools: main, other" in told
    assert nvlhub.json("slurm", "reserve", "--pool", "main", "--command", command) == found


@pytest.mark.parametrize("words", [
    ("--node", "x;y"), ("--node", "{domain} {tray}"), ("--node", "{domain:>70}"), ("--account", "x y-{project}"), ("--account", "demo"),
    ("--partition", "gpu debug"),
])  # fmt: skip
def test_names_that_slurm_cannot_have_are_refused_before_anything_is_said(
    nvlhub: Terminal, command: str, words: tuple[str, str]
) -> None:
    assert words[0] in nvlhub.run("slurm", "reserve", "--command", command, *words, code=1)


@pytest.mark.parametrize("account", ["no such", "", "Portal", "0x", "a,b", "x" * 33])
def test_an_account_that_nobody_can_have_removes_no_user(nvlhub: Terminal, account: str) -> None:
    told = nvlhub.run("slurm", "sync", "--run-as", account, code=1)
    assert told.startswith("--run-as")
    assert "e.g. portal" in told
