"""A user without a browser at a hub that answers by script."""

from __future__ import annotations

import httpx
import pytest

from nvlhub import notebook
from nvlhub.notebook import NotebookError, Session

ENDING = httpx.Response(400, json={"status": 400, "message": "researcher is pending stop"})
RUNNING = httpx.Response(400, json={"status": 400, "message": "researcher is already running"})


class Hub:
    """Answers starts in turn; servers are ready at once."""

    def __init__(self, *starts: httpx.Response) -> None:
        self.starts = list(starts)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return self.starts.pop(0)
        return httpx.Response(200, json={"servers": {"": {"ready": True}}})

    async def start(self) -> None:
        session = Session("http://hub", "researcher", "operator")
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as session._http:
            await session.start_server()
        assert self.starts == []


@pytest.mark.parametrize("last", [httpx.Response(201), httpx.Response(202), RUNNING], ids=["at once", "soon", "runs"])
async def test_a_server_starts_once_the_hub_has_taken_in_the_end_of_the_last_one(last: httpx.Response) -> None:
    await Hub(ENDING, ENDING, last).start()


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_what_the_hub_says_of_a_start_that_it_refuses_is_told(status: int) -> None:
    with pytest.raises(NotebookError, match="no room"):
        await Hub(httpx.Response(status, text="no room")).start()


async def test_a_hub_that_never_takes_in_an_end_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "STARTS", 0)
    with pytest.raises(NotebookError, match="pending stop"):
        await Hub(*[ENDING] * 9).start()
