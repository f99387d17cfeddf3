"""How tests wait for what comes by itself: until it is there, however slow the machine, and no longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE = 120.0
"""Seconds after which what has not come will not come."""


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until something is true; return what was found."""
    for pause in _pauses(seconds):
        if found := true():
            return found
        time.sleep(pause)
    raise AssertionError(f"not true within {seconds} s")


async def eventually(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until something is true while the loop goes on; return what was found."""
    for pause in _pauses(seconds):
        if found := true():
            return found
        await asyncio.sleep(pause)
    raise AssertionError(f"not true within {seconds} s")


def _pauses(seconds: float) -> Iterator[float]:
    """Yield ever longer times to sleep, while there is time left: what comes soon is seen soon, what takes long costs little."""
    end, pause = time.monotonic() + seconds, 0.005
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 1.5, 0.2)
