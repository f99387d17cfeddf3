"""A dask-gateway server on this machine, to measure against."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from nvlhub.ports import free_port

CONFIG = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{api}"
c.Proxy.address = "127.0.0.1:{public}"
# The commands that it starts by default are no longer installed with Dask.
c.ClusterConfig.scheduler_cmd = ["{python}", "-m", "distributed.cli.dask_scheduler"]
c.ClusterConfig.worker_cmd = ["{python}", "-m", "distributed.cli.dask_worker"]
c.UnsafeLocalBackend.inherited_environment = ["PATH", "PYTHONPATH"]
c.UnsafeLocalBackend.clusters_directory = "{directory}/clusters"
"""


@contextlib.contextmanager
def running_gateway(directory: Path) -> Iterator[str]:
    """Run it for the length of the block; yields its address."""
    directory.mkdir()
    api, public = free_port(), free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (directory / "config.py").write_text(
        CONFIG.format(python=sys.executable, api=api, public=public, directory=directory)
    )
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "-f", directory / "config.py"],
            stdout=log, stderr=log, cwd=directory, env={**os.environ, "PATH": path},
        )  # fmt: skip
        try:
            for _ in range(150):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"http://127.0.0.1:{public}/api/health", timeout=1).is_success:
                        break
                time.sleep(0.2)
            else:
                raise AssertionError((directory / "log").read_text())
            yield f"http://127.0.0.1:{public}"
        finally:
            server.terminate()
            server.wait(20)
