"""The portal's own process: what it writes to its log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from nvlhub.ports import free_port
from nvlhub.trust import trusted
from nvlhub.wire import API_PATH


def test_everything_that_the_process_writes_is_json_lines(tmp_path: Path) -> None:
    port = free_port()
    told = {
        "NVLHUB_DATA": str(tmp_path), "NVLHUB_ENGINE": "scripted", "NVLHUB_SIMULATE": "1", "NVLHUB_RATE": "0.05",
        "NVLHUB_BURST": "5", "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api", "JUPYTERHUB_API_TOKEN": "s3cret-token",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "nvlhub.portal.service"], env={**os.environ, **told}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}{API_PATH}/health", verify=trusted()).is_success
                break
            except httpx.HTTPError:
                assert time.monotonic() < until
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"no request at all\r\n\r\n")
            raw.recv(1000)
        answers = [httpx.get(f"http://127.0.0.1:{port}{API_PATH}/me") for _ in range(2)]
        assert "nvlhub_leases" in httpx.get(f"http://127.0.0.1:{port}/services/portal/metrics").text
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    # The limits of the settings are those of the process: a fifth of five is one.
    assert [answer.status_code for answer in answers] == [401, 429]
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert any(line["logger"] == "nvlhub" and line["pool"] == "main" for line in lines)
    assert any(line["logger"].startswith("uvicorn") for line in lines)
    assert "s3cret-token" not in err
