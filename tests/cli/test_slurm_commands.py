"""What ``nvlhub slurm`` refuses before it asks Slurm anything, and what it tells Slurm's commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nvlhub.cli import app
from nvlhub.flow.request import Pool
from nvlhub.forms import NewReservation
from tests.cli.conftest import Terminal
from tests.portal_kit import ADMIN

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


def test_the_slurm_of_up_is_found_as_its_portal_is(
    nvlhub: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the data directory, unless somebody says otherwise."""
    script = tmp_path / "reserve"
    script.write_text('#!/bin/sh\nmkdir "$0.$(echo $SLURM_CONF | tr / _)"\n')
    script.chmod(0o755)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr("nvlhub.cli.base.DATA", tmp_path)
    monkeypatch.setattr("nvlhub.cli.slurm_limits.DATA", tmp_path)
    (tmp_path / "slurm-conf").write_text("/of/up\n")
    for name, text in (("url", nvlhub.url), ("admin-token", "admin")):
        (tmp_path / name).write_text(text)
    words = ["slurm", "reserve", "--command", str(script)]
    assert CliRunner().invoke(app, words).exit_code == 0
    nvlhub.run(*words)
    monkeypatch.setenv("SLURM_CONF", "/of/mine")
    assert CliRunner().invoke(app, words).exit_code == 0
    assert {one.name for one in tmp_path.glob("reserve.*")} == {"reserve._of_up", "reserve.", "reserve._of_mine"}


def test_a_slurm_that_is_not_found_is_told_with_what_to_set(
    nvlhub: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "reserve"
    script.write_text("#!/bin/sh\necho 'DNS SRV lookup failed' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    told = nvlhub.run("slurm", "reserve", "--command", str(script), code=1)
    assert "DNS SRV lookup failed. Where its slurm.conf lies is told by SLURM_CONF" in told


def test_a_reservation_is_told_with_what_jobs_need_for_it(nvlhub: Terminal, command: str) -> None:
    assert nvlhub.json("slurm", "reserve", "--command", command)["notes"] == []
    now = nvlhub.kit.clock.now()
    nvlhub.kit.registry.reservations.add(
        ADMIN, NewReservation(name="Course", project="demo", gpus=8, starts=now, ends=now + 3600)
    )
    [note] = nvlhub.json("slurm", "reserve", "--command", command)["notes"]
    assert "reservations = true in section [slurm]" in note


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
