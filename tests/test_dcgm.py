"""What a Prometheus says of GPUs reaches the leases that hold them; whatever else it says reaches nobody."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from nvlhub import dcgm
from nvlhub.dcgm import BUSY, FREE, USED, Dcgm
from nvlhub.settings import SettingsError, load
from nvlhub.wire import Beat
from tests.conftest import HandClock
from tests.portal_kit import RESEARCHER, Kit, kit
from tests.tables import store_at
from tests.waiting import until

Answer = Callable[[str, BaseHTTPRequestHandler], None]
NODE = "{domain}-{tray:02d}"


class Prometheus:
    """An HTTP server that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _metric, handler: plain(handler, {})
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                metric = parse_qs(parts.query)["query"][0]
                outer.asked.append(f"{parts.path}?{metric}")
                outer.answer(metric, self)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def plain(handler: BaseHTTPRequestHandler, what: Any, status: int = 200) -> None:
    body = what if isinstance(what, bytes) else json.dumps(what).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def vector(*rows: tuple[str, int, object]) -> dict[str, Any]:
    """Return an answer: node, index of the GPU, value."""
    result = [
        {"metric": {"Hostname": node, "gpu": str(gpu), "UUID": f"GPU-{gpu}"}, "value": [1.8e9, value]}
        for node, gpu, value in rows
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    made = Prometheus()
    yield made
    made.close()


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    store = store_at(tmp_path / "portal.sqlite")
    made = kit(store, clock)
    monkeypatch.setattr(made.engine, "simulated", False)
    yield made
    store.close()


def look(portal: Kit, prometheus: Prometheus, **more: float) -> bool:
    return Dcgm(portal.desk.telemetry, lambda: portal.runner.board, prometheus.url, NODE, **more).look()


def test_a_gpu_counts_to_the_lease_that_holds_it(portal: Kit, prometheus: Prometheus, clock: HandClock) -> None:
    first, second = portal.ask("gpu2"), portal.ask("gpu1")
    [share], [other] = first.placement, second.placement
    node, other_node = f"{share.domain}-{share.tray:02d}", f"{other.domain}-{other.tray:02d}"
    told = {
        BUSY: vector((node, share.gpus[0], "80"), (node, share.gpus[1], "40"), (other_node, other.gpus[0], "7"), ("elsewhere", 0, "99")),
        USED: vector((node, share.gpus[0], "1024"), (node, share.gpus[1], "1024")),
        FREE: vector((node, share.gpus[0], "3072"), (node, share.gpus[1], "3072")),
    }  # fmt: skip
    prometheus.answer = lambda metric, handler: plain(handler, told[metric])
    clock.forward(10)
    assert look(portal, prometheus)
    assert prometheus.asked == [f"/api/v1/query?{metric}" for metric in (BUSY, USED, FREE)]
    use = portal.registry.telemetry.of_lease(RESEARCHER, first.id, "en")
    assert (use.real, use.measured, use.busy) == (True, 20, 12)
    assert (use.memory_peak, use.memory_total) == (2 * 1024**3, 8 * 1024**3)
    assert portal.registry.telemetry.of_lease(RESEARCHER, second.id, "en").efficiency == 0.07
    assert portal.desk.telemetry.busy(clock.now()) == {
        (share.domain, share.tray, share.gpus[0]): 80, (share.domain, share.tray, share.gpus[1]): 40,
        (other.domain, other.tray, other.gpus[0]): 7,
    }  # fmt: skip


def test_a_gpu_that_is_missing_is_not_measured_and_the_others_keep_their_places(
    portal: Kit, prometheus: Prometheus, clock: HandClock
) -> None:
    lease = portal.ask("gpu4")
    [share] = lease.placement
    node = f"{share.domain}-{share.tray:02d}"
    prometheus.answer = lambda metric, handler: plain(
        handler, vector((node, 3, "50"), (node, 1, "NaN"), (node, 2, "x"))
    )
    clock.forward(10)
    assert look(portal, prometheus)
    assert portal.desk.telemetry.busy(clock.now()) == {(share.domain, share.tray, 3): 50}
    assert portal.registry.telemetry.of_lease(RESEARCHER, lease.id, "en").measured == 10


def test_a_gpu_that_the_site_sees_at_work_keeps_a_lease_whose_kernel_waits(
    portal: Kit, prometheus: Prometheus, clock: HandClock
) -> None:
    lease = portal.ask("gpu1")
    [share] = lease.placement
    prometheus.answer = lambda metric, handler: plain(
        handler, vector((f"{share.domain}-{share.tray:02d}", share.gpus[0], "5"))
    )
    clock.forward(3600)
    assert look(portal, prometheus)
    portal.desk.beat(RESEARCHER, lease.id, Beat(idle_seconds=3600), "en")
    assert portal.runner.beat(lease.id, 9999) is not None
    portal.runner.step()
    assert portal.runner.board.leases[lease.id].idle_seconds == 0


def slow(_metric: str, handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, and never end."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def huge(_metric: str, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * 1000)


def half(_metric: str, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"status": "succ')


BAD: dict[str, Answer] = {
    "slow": slow,
    "huge": huge,
    "half": half,
    "an error": lambda _metric, handler: plain(handler, {"status": "error", "error": "no"}, 422),
    "no JSON": lambda _metric, handler: plain(handler, b"<html>"),
    "deep": lambda _metric, handler: plain(handler, b"[" * 5000),
    "another shape": lambda _metric, handler: plain(handler, {"status": "success", "data": {"result": {}}}),
    "a list": lambda _metric, handler: plain(handler, [1]),
    "a failure": lambda _metric, handler: plain(handler, {**vector(), "status": "error"}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_logged_once_and_nothing_else_happens(
    portal: Kit, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    monkeypatch.setattr(dcgm, "LARGEST", 10_000)
    lease = portal.ask("gpu1")
    reader = Dcgm(portal.desk.telemetry, lambda: portal.runner.board, prometheus.url, NODE, within=0.3)
    prometheus.answer = BAD[what]
    with caplog.at_level(logging.WARNING):
        began = time.monotonic()
        assert [reader.look(), reader.look()] == [False, False]
        assert time.monotonic() - began < 3
        assert [record.message.count("does not tell") for record in caplog.records] == [1]
        prometheus.answer = lambda _metric, handler: plain(handler, vector())
        assert reader.look()
        assert "tells again" in caplog.records[-1].message
    assert portal.registry.telemetry.of_lease(RESEARCHER, lease.id, "en").measured == 0


@pytest.mark.parametrize(
    "row", [{}, {"metric": 1}, {"metric": {"Hostname": "a", "gpu": "x"}, "value": [0, "1"]}, 7, None]
)
def test_a_row_that_makes_no_sense_is_left_out(portal: Kit, prometheus: Prometheus, row: object) -> None:
    answer = vector()
    answer["data"]["result"].append(row)
    prometheus.answer = lambda _metric, handler: plain(handler, answer)
    portal.ask("gpu1")
    assert look(portal, prometheus)


def test_nobody_there_is_no_harm(portal: Kit) -> None:
    assert not Dcgm(portal.desk.telemetry, lambda: portal.runner.board, "http://127.0.0.1:1", NODE).look()


def test_without_an_address_nothing_begins(portal: Kit) -> None:
    reader = Dcgm(portal.desk.telemetry, lambda: portal.runner.board, "", NODE)
    reader.start()
    assert reader._thread is None
    reader.stop()


def test_it_looks_from_a_thread_of_its_own_and_ends(
    portal: Kit, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dcgm, "EVERY", 0.01)
    prometheus.answer = lambda _metric, handler: plain(handler, vector())
    reader = Dcgm(portal.desk.telemetry, lambda: portal.runner.board, prometheus.url, NODE)
    reader.start()
    until(lambda: len(prometheus.asked) >= 3)
    reader.stop()


@pytest.mark.parametrize(
    "text",
    [
        "telemetry_url = 'ftp://x'",
        "telemetry_node = '{domain'",
        "telemetry_node = '{domain!z}'",
        "telemetry_node = '{gpu}'",
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "portal.toml").write_text(text)
    with pytest.raises(SettingsError, match=text.split(maxsplit=1)[0]):
        load(tmp_path)
