"""A portal over HTTP without a hub: the local engine, real agents and workers, simulated GPUs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import Request

from nvlhub.api import Doors, make_app
from nvlhub.engines.local import LocalEngine
from nvlhub.engines.processes import of_lease
from nvlhub.portal.identity import LoginNeededError
from nvlhub.portal.service import Portal, token_of
from nvlhub.ports import free_port
from nvlhub.settings import Settings
from nvlhub.store import verify
from nvlhub.trust import trusted
from nvlhub.visitor import Visitor
from nvlhub.wire import API_PATH
from nvlkernels import cluster, provisioner
from tests.tables import sqlite_with_tables
from tests.waiting import until

GRACE = 12
"""Seconds of silence after which a lease is lost, where a test waits for that; a machine can be busy for longer."""
PEOPLE = {
    "t-researcher": Visitor("researcher", server="researcher/"),
    "t-instructor": Visitor("instructor", server="instructor/"),
    "t-admin": Visitor("admin", admin=True),
}


def identify(request: Request) -> Visitor:
    token = token_of(request)
    if token not in PEOPLE:
        raise LoginNeededError("login-needed")
    return PEOPLE[token]


@dataclass
class Served:
    """One portal process's worth of portal, which can be stopped and started again."""

    data: Path
    grace: int = 60
    port: int = field(default_factory=free_port)
    portal: Portal = field(init=False)
    engines: list[LocalEngine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        if not (self.data / "portal.sqlite").exists():
            sqlite_with_tables(self.data / "portal.sqlite")
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> Settings:
        return Settings(
            data=self.data, simulate=1, trays=2, run_as="portal", demo=True, tick=0.2, grace=self.grace,
            public_url=self.url,
        )  # fmt: skip

    def start(self) -> None:
        self.portal = Portal(self.settings())
        if isinstance(self.portal.engine, LocalEngine):
            self.engines.append(self.portal.engine)
        app = make_app(Doors(self.portal.desk, self.portal.registry, identify), "/services/portal/")
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self.portal.open()
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.portal.close()
        # A process that ends leaves its children to init; here they are ours until they are waited for.
        for engine in self.engines:
            for child in engine._children.values():
                child.poll()

    def api(self, method: str, path: str, who: str = "t-admin", **more: Any) -> Any:
        headers = {"Authorization": f"token {who}"} | more.pop("headers", {})
        return httpx.request(
            method, self.url + API_PATH + path, headers=headers, timeout=20, verify=trusted(), **more
        ).json()

    def leases(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", "/leases", params=query)["items"]
        return found

    def settled(self) -> list[dict[str, Any]]:
        """Wait until nothing is held; prove the ledger and that nothing runs any more."""
        until(lambda: not self.leases())
        with self.portal.store.reading() as unit:
            assert verify(unit) == []
        until(self._all_free)
        ended = self.leases(state="ended")
        self.nothing_left([lease["id"] for lease in ended])
        return ended

    def _all_free(self) -> bool:
        board = self.portal.desk.board
        return sum(domain.free_gpus for domain in board.domains) == sum(domain.size for domain in board.capacity)

    def nothing_left(self, leases: list[str]) -> None:
        for lease in leases:
            assert of_lease(lease) == []
        until(lambda: list((self.data / "tasks").iterdir()) == [])


AnyServed = TypeVar("AnyServed", bound=Served)


def until_settled(running: AnyServed, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnyServed]:
    """Tell the researcher's kernel where the portal is; stop that once its books are right in the end."""
    for name in ("NVLHUB_LEASE", "JUPYTERHUB_SERVICE_PREFIX", "NVLHUB_BIND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NVLHUB_PORTAL_URL", running.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t-researcher")
    monkeypatch.setenv("NVLHUB_LANGUAGE", "en")
    yield running
    running.settled()
    running.stop()


@pytest.fixture
def grace() -> int:
    """Seconds for which the portal keeps a lease that is silent: enough for a busy machine."""
    return Served.grace


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: int) -> Iterator[Served]:
    """A portal that the researcher's kernel can reach."""
    (tmp_path / "data").mkdir()
    for who in (cluster, provisioner):
        # Several to the shortest grace here: on a busy machine one comes late.
        monkeypatch.setattr(who, "BEAT", 1.5)
    yield from until_settled(Served(tmp_path / "data", grace), monkeypatch)
