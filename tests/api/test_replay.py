"""Verify and replay through the API, and from the command line through it."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from nvlhub.cli import app
from nvlhub.store import tables as t
from tests.api.test_api import Client, api, portal, problem
from tests.portal_kit import Kit

__all__ = ["api", "portal"]


def damage(portal: Kit) -> None:
    with portal.store.writing() as unit:
        unit.connection.execute(t.awards.update().where(t.awards.c.id == 1).values(held=5))


def test_the_journal_is_replayed_for_administrators_alone(api: Client, portal: Kit) -> None:
    api.ask()
    for who in ("researcher", "outsider", "hub"):
        problem(api("GET", "/ledger/replay", who), 403, "not-allowed")
    found = api("GET", "/ledger/replay", "admin").json()
    assert (found["ok"], found["transactions"], found["missing"], found["warnings"]) == (True, 4, 0, [])
    damage(portal)
    found = api("GET", "/ledger/replay", "admin").json()
    assert not found["ok"]
    assert found["broken"][0]["invariant"] == "award-columns-equal-replay"


@pytest.mark.parametrize("command", ["verify", "replay"])
def test_the_command_line_asks_the_portal_and_waits_for_it(
    api: Client, portal: Kit, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    waited = []

    def request(method: str, url: str, *, timeout: float, **more: Any) -> object:
        waited.append(timeout)
        return api.http.request(method, url.removeprefix("http://x"), **more)

    monkeypatch.setattr("nvlhub.cli.base.httpx.request", request)
    monkeypatch.setenv("NVLHUB_URL", "http://x")
    monkeypatch.setenv("NVLHUB_TOKEN", "admin")
    told = CliRunner().invoke(app, ["ledger", command])
    assert (told.exit_code, told.output.split(" ")[:1]) == (0, ["3"]), told.output
    damage(portal)
    told = CliRunner().invoke(app, ["ledger", command])
    assert told.exit_code == 1
    assert "BROKEN:\n  award-columns-equal" in told.output
    assert min(waited) >= 300
