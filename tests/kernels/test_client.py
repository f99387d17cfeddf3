"""The notebook side's calls, over a transport that answers by script."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import httpx
import pytest

from nvlkernels.client import LONGEST_WAIT, TRIES, Portal, PortalError


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    # Only the client's: other loops of this process sleep, too.
    monkeypatch.setattr("nvlkernels.client.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    return waited


def portal(*answers: httpx.Response) -> Portal:
    script = iter(answers)
    made = Portal({"JUPYTERHUB_API_TOKEN": "t"})
    made._http = httpx.AsyncClient(
        base_url="http://portal", transport=httpx.MockTransport(lambda request: next(script))
    )
    return made


def later(wait: str) -> httpx.Response:
    problem = {"type": "urn:nvlhub:problem:too-many-requests", "title": "Too Many Requests", "status": 429}
    return httpx.Response(429, content=json.dumps(problem), headers={"Retry-After": wait})


async def test_a_call_that_came_too_often_is_sent_again_when_the_portal_says(waits: list[float]) -> None:
    found = await portal(later("2"), later("900"), later("soon"), httpx.Response(200, json={"items": []})).offers()
    assert found == []
    assert waits == [2, LONGEST_WAIT, 1]


async def test_a_portal_that_never_has_time_is_told_to_the_user(waits: list[float]) -> None:
    with pytest.raises(PortalError):
        await portal(*[later("1")] * TRIES).offers()
    assert len(waits) == TRIES - 1
