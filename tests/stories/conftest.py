"""One real portal for all stories of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright import async_api, sync_api

from tests.stories.live import Live, live_portal

for api in (async_api, sync_api):
    # Several browsers and hubs share two cores.
    api.expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data: Path = tmp_path_factory.mktemp("live")
    with live_portal(data) as portal:
        yield portal
