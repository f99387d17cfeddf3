"""How commands are run: which account, which environment, how long."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nvlhub.engines.base import EngineError
from nvlhub.engines.slurm.commands import Commands, SlurmAwayError, SlurmRefusedError


def program(directory: Path, name: str, text: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_a_command_sees_nothing_of_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.setenv("SBATCH_ACCOUNT", "somebody-elses")
    program(tmp_path, "squeue", "env")
    said = Commands(Path("/etc/x.conf"), tmp_path).ask("squeue")
    assert "secret" not in said
    assert "SBATCH_ACCOUNT" not in said
    assert "SLURM_CONF=/etc/x.conf" in said
    assert "TZ=UTC" in said


def test_no_answer_is_told_from_a_refusal(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "sleep 30")
    program(tmp_path, "sinfo", "echo 'slurm_load: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    program(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    commands = Commands(None, tmp_path, timeout=0.2)
    for away in ("squeue", "sinfo", "missing"):
        with pytest.raises(SlurmAwayError):
            commands.ask(away)
    with pytest.raises(SlurmRefusedError, match="slurm-refused-partition") as refused:
        commands.ask("sbatch")
    assert refused.value.text == "sbatch: error: invalid partition specified: x"


def test_a_users_command_runs_as_the_user_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[dict[str, Any]] = []

    def run(command: Any, **more: Any) -> subprocess.CompletedProcess[str]:
        ran.append({"command": command, **more})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("nvlhub.engines.slurm.commands.subprocess.run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    Commands(None, tmp_path).tell("daemon", "sbatch", "--parsable", text="x")
    assert (ran[0]["user"], ran[0]["env"]["USER"], ran[0]["input"]) == (1, "daemon", "x")
    Commands(None, tmp_path, run=("sudo", "-n", "-u", "{user}", "--")).tell("daemon", "scancel", "7")
    assert ran[1]["command"] == ("sudo", "-n", "-u", "daemon", "--", f"{tmp_path}/scancel", "7")
    assert "user" not in ran[1]
    with pytest.raises(EngineError, match="no account"):
        Commands().tell("nobody-of-this-name", "sbatch")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(EngineError, match="slurm-no-identity"):
        Commands().tell("daemon", "sbatch")
    assert len(ran) == 2
