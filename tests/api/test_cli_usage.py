"""Reports and statements from a terminal, through the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner, Result

from nvlhub.cli import app
from nvlhub.cli.usage import period
from tests.api.test_api import Client
from tests.portal_kit import ADMIN, Kit

Terminal = Callable[..., Result]


@pytest.fixture
def terminal(api: Client, portal: Kit, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    lease = portal.ask("gpu4")
    portal.step(3600)
    portal.desk.end(ADMIN, lease.id)
    portal.step(1)
    monkeypatch.setenv("NVLHUB_URL", "http://portal")
    monkeypatch.setenv("NVLHUB_TOKEN", "admin")
    monkeypatch.setenv("LANG", "en")

    def sent(verb: Any) -> Any:
        return lambda method, url, timeout, **more: verb(method, urlsplit(url).path, **more)

    monkeypatch.setattr(httpx, "request", sent(api.http.request))
    monkeypatch.setattr(httpx, "stream", sent(api.http.stream))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_a_report_is_printed_as_a_table_with_its_total(terminal: Terminal) -> None:
    shown = terminal("usage", "report", "--by", "user")
    assert shown.exit_code == 0
    lines = [line.replace("│", " ").split() for line in shown.output.splitlines() if "4.00" in line]
    assert [line[:2] for line in lines] == [["researcher", "4.00"], ["total", "4.00"]]


def test_a_report_is_written_whole_into_a_file(terminal: Terminal, tmp_path: Path) -> None:
    for form, begins in (("csv", "group,name"), ("json", '{"since"'), ("html", "<!doctype html>")):
        output = tmp_path / f"report.{form}"
        assert terminal("usage", "report", "--format", form, "--output", str(output)).exit_code == 0
        assert output.read_text(encoding="utf-8").startswith(begins)
    assert len(list(tmp_path.glob("report.*"))) == 3


def test_a_report_can_be_piped(terminal: Terminal) -> None:
    report = json.loads(terminal("usage", "report", "--json", "--project", "demo").stdout)
    assert report["total"]["gpu_seconds"] == 4 * 3600


def test_a_statement_is_printed(terminal: Terminal) -> None:
    lines = terminal("project", "statement", "demo", "--since", "1").stdout.splitlines()
    assert [line.split(",")[3] for line in lines] == ["entry", "opening", "award", "hold", "settle", "closing"]
    told = json.loads(terminal("project", "statement", "demo", "--json").stdout)
    assert told["awards"][0]["closing"]["charged"] == 4 * 3600 * 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("usage", "report", "--since", "last week"), "--since: “last week” is not possible"),
        (("usage", "report", "--since", "2026-02-30"), "or a number of days"),
        (("usage", "report", "--until", "30"), "--until: “30” is not possible; give a date as YYYY-MM-DD"),
        (("usage", "report", "--since", "2026-05-01", "--until", "2026-05-01"), "until: it must lie after since"),
        (("usage", "report", "--output", "x"), "Choose --format csv, json or html"),
        (("usage", "report", "--format", "csv", "--output", "/nowhere/x.csv"), "/nowhere/x.csv cannot be written"),
        (("project", "statement", "nothing"), "there is no project “nothing”"),
    ],
)
def test_what_cannot_be_is_said_in_words(terminal: Terminal, words: tuple[str, ...], said: str) -> None:
    shown = terminal(*words)
    assert shown.exit_code == 1
    assert said in " ".join(shown.stderr.split())
    assert shown.stdout == ""


def test_dates_are_midnights_in_utc_and_days_count_back(terminal: Terminal, portal: Kit) -> None:
    assert period("2026-11-01", "2026-12-01") == {"since": 1_793_491_200, "until": 1_796_083_200}
    assert period("30", "2026-12-01") == {"since": 1_793_491_200, "until": 1_796_083_200}
    assert period("7", "") == {"since": portal.clock.now() - 7 * 86_400}
    assert period("", "") == {}
