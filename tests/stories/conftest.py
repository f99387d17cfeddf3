"""One real portal for all stories of a run."""

from __future__ import annotations

from collections.abc import Generator, Iterator
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a story that failed what its hub knew and wrote: it is gone with the machine that ran it."""
    report = yield
    live = getattr(item, "funcargs", {}).get("live")
    if report.when == "call" and report.failed and isinstance(live, Live):
        report.sections.append(("leases and log of the hub", live.told()))
    return report
