"""The process of a user's notebook server: it ends when it is told to."""

from __future__ import annotations

import subprocess
import sys

KEPT_WAITING = """
import asyncio, anyio.to_thread
from tornado.ioloop import IOLoop
from nvlkernels.singleuser import finish

async def page():
    await anyio.to_thread.run_sync(int)
    loop.stop()
    await asyncio.Event().wait()

loop = IOLoop.current()
loop.add_callback(page)
loop.start()
finish()
print("ended")
"""


def test_a_page_that_is_kept_waiting_does_not_keep_the_server() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KEPT_WAITING], capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("ended\n", "")


def test_without_a_loop_there_is_nothing_to_finish() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from nvlkernels.singleuser import finish; finish()"], timeout=60, check=True
    )  # fmt: skip
    assert ran.returncode == 0
