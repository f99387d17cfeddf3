"""The small picture of all GPUs in a notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from nvlwidgets import fleet_mini
from nvlwidgets.fleet_mini import FleetMini
from tests.widgets.test_fleet_cells import view

ENVIRONMENT = {"NVLHUB_PORTAL_URL": "http://portal", "JUPYTERHUB_API_TOKEN": "t", "LANG": "en_US.UTF-8"}
HERE = view(bytes([0, 0, 1, 1]), bytes([255, 255, 80, 20]))


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    """Have every client of the widget talk to `answer`."""
    transport = httpx.MockTransport(answer)
    plain, waiting = httpx.Client, httpx.AsyncClient
    monkeypatch.setattr(
        fleet_mini.httpx, "get", lambda url, *, verify, **more: plain(transport=transport).get(url, **more)
    )
    monkeypatch.setattr(fleet_mini.httpx, "AsyncClient", lambda **more: waiting(**more | {"transport": transport}))


def data_of(widget: FleetMini) -> dict[str, Any]:
    return widget._repr_mimebundle_()[0]


def test_the_picture_is_read_with_the_servers_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx.Request] = []
    answering(monkeypatch, lambda request: asked.append(request) or httpx.Response(200, json=HERE))
    widget = FleetMini(environment=ENVIRONMENT)
    assert str(asked[0].url) == "http://portal/services/portal/api/v1/fleet"
    assert asked[0].headers["Authorization"] == "token t"
    assert (widget.cells, widget.racks) == (bytes([0, 0, 1, 1]), [["nvl001", [4]]])
    widget.mode = "busy"
    assert [cell >> 3 for cell in widget.cells] == [0, 0, 17, 5]
    widget.close()


def test_where_widgets_cannot_run_the_figures_stand_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda _request: httpx.Response(200, json={**HERE, "gpu_model": "<b>GB300</b>"}))
    widget = FleetMini(environment=ENVIRONMENT)
    data = data_of(widget)
    assert data["text/plain"].startswith("2 of 4 GPUs are free, 2 are leased.")
    assert "&lt;b&gt;GB300" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    widget.close()


def down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    "answer",
    [down, lambda _request: httpx.Response(502, text="<html>"), lambda _request: httpx.Response(200, json={"half": 1}),
     lambda _request: httpx.Response(200, text="not JSON")],
)  # fmt: skip
def test_a_portal_that_is_away_or_answers_half_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    answering(monkeypatch, answer)
    widget = FleetMini(environment=ENVIRONMENT)
    assert data_of(widget)["text/plain"].startswith("The picture of the GPUs cannot be shown: ")
    assert widget.cells == b""
    widget.close()


def test_the_last_picture_stays_when_the_portal_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda _request: httpx.Response(200, json=HERE))
    widget = FleetMini(environment=ENVIRONMENT)
    answering(monkeypatch, down)
    widget.refresh()
    assert widget.cells == bytes([0, 0, 1, 1])
    assert widget.sentence.startswith("The picture of the GPUs cannot be shown: ")
    assert "2 of 4 GPUs are free" in widget.sentence
    widget.close()


async def test_a_kernel_that_is_free_looks_again_until_the_widget_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [bytes([0, 0]), bytes([0, 1]), bytes([1, 1])]
    told = asyncio.Event()

    def answer(_request: httpx.Request) -> httpx.Response:
        if len(states) == 1:
            told.set()
        return httpx.Response(200, json=view(states.pop(0) if len(states) > 1 else states[0]))

    answering(monkeypatch, answer)
    widget = FleetMini(environment=ENVIRONMENT, every=0.001)
    await asyncio.wait_for(told.wait(), 60)
    task = widget._task
    assert task is not None
    assert not task.done()
    widget.close()
    await asyncio.wait([task])
    assert task.cancelled()
    assert widget.cells == bytes([1, 1])
