"""A portal in which every role is somebody, behind its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.world import Api, inhabit
from tests.conftest import HandClock
from tests.portal_kit import Kit
from tests.screens.kit import OPEN, portal_http
from tests.tables import store_at


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    store = store_at(tmp_path / "x.sqlite")
    yield inhabit(store, clock)
    store.close()


@pytest.fixture(autouse=True)
async def _leave() -> AsyncIterator[None]:
    """Close the tabs that a test opened, whatever became of it."""
    yield
    for visit in OPEN:
        visit.leave()
        for source in visit.sources._known.values():
            source.stop()
    OPEN.clear()


@pytest.fixture
async def http(portal: Kit) -> AsyncIterator[httpx.AsyncClient]:
    api = Api()
    api.serve(portal)
    async with portal_http(api.app) as client:
        yield client
