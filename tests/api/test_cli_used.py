"""Commands on how well GPUs were used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from nvlhub.cli import app, usage

LEASE = {
    "id": "l-1", "user": "u", "project": "p", "gpus": 4, "state": "settled", "gpu_seconds": 7200, "charged": 7_200_000,
    "idle": 3600, "efficiency": 0.256, "real": False, "end_reason": "idle",
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "/usage/leases": {"items": [LEASE, {**LEASE, "efficiency": None, "real": None, "end_reason": None}]},
    "/efficiency": {
        "bins": [{"least": 0, "most": 10, "leases": 3, "gpu_seconds": 3600}], "held": 7200, "idle": 3600, "unmeasured": 0,
        "efficiency": 0.5, "simulated": True,
    },
    "/savings": {"since": 1, "until": 2, "leases": 3, "gpu_seconds": 7200},
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    queries: list[dict[str, Any]] = []

    def call(method: str, path: str, *, patience: float = 0, params: dict[str, Any]) -> Any:
        queries.append(params)
        return ANSWERS[path]

    monkeypatch.setattr(usage, "call", call)
    return queries


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["usage", *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("leases", ANSWERS["/usage/leases"]["items"]),
        ("efficiency", ANSWERS["/efficiency"]),
        ("savings", ANSWERS["/savings"]),
    ],
)
def test_json_is_what_the_portal_said(asked: list[dict[str, Any]], command: str, answer: Any) -> None:
    assert json.loads(run(command, "--json", "--until", "2026-01-02")) == answer
    assert asked[0]["until"] == 1_767_312_000


def test_leases_are_asked_for_as_told(asked: list[dict[str, Any]]) -> None:
    run("leases", "--sort", "idle", "--page", "2", "--project", "p")
    assert asked == [{"project": "p", "sort": "idle", "page": 2}]


def test_tables_say_what_was_measured_on_processes(
    asked: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    told = run("leases") + run("efficiency") + run("savings") + capfd.readouterr().out
    assert "26%" in told
    assert "simulated" in told
    assert "not measured" in told
    assert "0–10 %" in told
    assert "2.00" in told
