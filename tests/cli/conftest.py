"""A portal over HTTP without a hub, and commands that talk to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from nvlhub.api import Doors, make_app
from nvlhub.cli import app
from nvlhub.ports import free_port
from tests.api.test_api import identify
from tests.conftest import HandClock
from tests.portal_kit import Kit, kit
from tests.tables import store_at
from tests.waiting import until


@dataclass
class Terminal:
    """Where commands are typed; a token is the name of its owner."""

    url: str
    kit: Kit

    def run(self, *words: str, who: str = "admin", code: int = 0) -> str:
        """Run a command; return what it prints."""
        environment = {"NVLHUB_URL": self.url, "NVLHUB_TOKEN": who, "LANG": "en"}
        result = CliRunner().invoke(app, list(words), env=environment)
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *words: str, who: str = "admin", code: int = 0) -> Any:
        """Run a command; return the JSON that it prints."""
        return json.loads(self.run(*words, "--json", who=who, code=code))


@pytest.fixture
def nvlhub(tmp_path: Path, clock: HandClock) -> Iterator[Terminal]:
    store = store_at(tmp_path / "x.sqlite")
    portal = kit(store, clock)
    application = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield Terminal(f"http://127.0.0.1:{port}", portal)
    server.should_exit = True
    thread.join(10)
    store.close()
