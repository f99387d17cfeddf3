"""``nvlhub up --engine slurm``: the Slurm it runs, the one it finds, and what it says where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nvlhub import up_slurm
from nvlhub.engines.slurm.private import LONGEST, Slurm, lacking
from nvlhub.ports import free_port
from nvlhub.up import Options, Up, running
from nvlhub.up_slurm import PrivateSlurm, UpError, check_slurm
from tests.conftest import missing


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory with a short path."""
    base = Path(tempfile.mkdtemp(prefix="nvlhub-up-"))
    yield base
    shutil.rmtree(base, ignore_errors=True)


def said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=30
    ).stdout  # fmt: skip


def family_of(data: Path) -> list[psutil.Process]:
    """Everything that the tests started on the Slurm of a data directory."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if str(data) in process.environ().get("SLURM_CONF", ""):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("told", "domains"),
    [({}, 2), ({"engine": "slurm"}, 0), ({"simulate": 0}, 0), ({"engine": "slurm", "simulate": 3}, 3)],
)
def test_domains_are_simulated_unless_slurm_has_some(data: Path, told: dict[str, object], domains: int) -> None:
    assert Options(data, **told).domains == domains  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "file", "words"),
    [
        ("slrm", "", r"--engine slrm: there is no such engine; there are local, scripted, slurm"),
        ("local", "trays = 0\n", r"setting `trays` .*portal.toml"),
        ("local", "[slurm\n", r"portal.toml cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    data: Path, engine: str, file: str, words: str
) -> None:
    if file:
        (data / "portal.toml").write_text(file, encoding="utf-8")
    before = set(data.iterdir())
    with pytest.raises(UpError, match=words), running(Options(data, free_port(), engine=engine), print):
        raise AssertionError
    assert set(data.iterdir()) == before
    other = data / "none"
    if not file:
        with pytest.raises(UpError), running(Options(other, free_port(), engine=engine), print):
            raise AssertionError
        assert not other.exists()


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({}, "2 simulated domains, 144 simulated GPUs"),
        ({"simulate": 0}, "this machine's GPUs"),
        ({"engine": "slurm"}, "this machine's Slurm"),
    ],
)
def test_it_says_what_kernels_run_on(data: Path, told: dict[str, object], what: str) -> None:
    up = Up(Options(data, free_port(), **told), print)  # type: ignore[arg-type]
    assert (up.what, up.hints) == (what, [])
    up.stop()


def test_programs_that_are_missing_are_named_with_what_to_install(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_slurm, "lacking", lambda **_told: ["slurmctld", "sbatch"])
    with (
        (data / "log").open("wb") as log,
        pytest.raises(UpError, match=r"slurmctld, sbatch.*apt-get install slurm-wlm"),
    ):
        PrivateSlurm(data, 1, log)


def test_a_path_too_long_is_refused_before_anything_starts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_slurm, "lacking", lambda **_told: [])
    with (data / "log").open("wb") as log, pytest.raises(UpError, match="choose a shorter --data"):
        PrivateSlurm(data / ("x" * LONGEST), 1, log)


def test_without_slurms_commands_the_simulated_one_is_recommended(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data))
    with pytest.raises(UpError, match=r"no sbatch here: .*--simulate 1"):
        check_slurm(data)


@pytest.mark.slurm
def test_the_slurm_that_is_there_must_answer(data: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    check_slurm(data)
    monkeypatch.setenv("SLURM_CONF", str(data / "slurm.conf"))
    monkeypatch.setattr(up_slurm, "PING", 1)
    with pytest.raises(UpError, match="does not answer within 1 s: start it"):
        check_slurm(data)
    monkeypatch.setattr(up_slurm, "PING", 15)
    (data / "portal.toml").write_text(f'[slurm]\nconf = "{slurm.conf}"\n', encoding="utf-8")
    check_slurm(data)


@pytest.mark.slurm
def test_its_own_slurm_is_as_large_as_the_settings_say_and_ends_with_it(data: Path) -> None:
    if absent := lacking():
        missing(f"Slurm ({', '.join(absent)})")
    (data / "portal.toml").write_text("trays = 2\n", encoding="utf-8")
    with (data / "log").open("wb") as log:
        own = PrivateSlurm(data, 2, log)
        own.start()
        try:
            assert said(["sinfo", "-h", "-p", "gpu", "-o", "%D %t"], own.environment).split() == ["4", "idle"]
            assert own.environment["NVLHUB_SLURM__CONF"] in own.hints[0]
            # Whoever runs it is admitted.
            said(["sbatch", "--gres=gpu:1", "--output=/dev/null", "--wrap", "sleep 600"], own.environment)
            # In an account that the second lock leaves alone.
            account = said(["sacctmgr", "-nP", "show", "account", "nvlhub-up", "format=account,org"], own.environment)
            assert account.split() == ["nvlhub-up|nvlhub-up"]
            assert not own.ended()
            assert own.told() == []
            [controller] = [one for one in family_of(data) if one.name() == "slurmctld"]
            controller.kill()
            told, until = [], time.monotonic() + 60
            while not told and time.monotonic() < until:
                told = own.told()
                time.sleep(0.1)
            assert told == ["slurmctld of the private Slurm ended; starting it again"]
            ping = "scontrol ping || true"
            while "is UP" not in said(["sh", "-c", ping], own.environment):
                assert time.monotonic() < until
                time.sleep(0.2)
            daemons = family_of(data)
            assert len(daemons) >= 4
        finally:
            own.stop()
    assert not any(process.is_running() for process in daemons)
