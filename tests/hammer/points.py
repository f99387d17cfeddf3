"""Where the portal is made to die, and how it learns that its time has come."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEFORE_HOLD = "before the hold"
AFTER_HOLD = "after the hold, before the start"
AFTER_START = "after the start, before its handle is saved"
AFTER_END = "after the end, before the settlement"
POINTS = (BEFORE_HOLD, AFTER_HOLD, AFTER_START, AFTER_END)


class Orders:
    """A directory in which a file names the point at which to die; it is renamed on the way out."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._order = data / "die"

    def give(self, point: str) -> None:
        written = self._data / "die.new"
        written.write_text(point)
        written.rename(self._order)

    def obeyed(self) -> list[str]:
        """Return the points at which somebody died."""
        return [died.read_text() for died in self._data.glob("died-*")]

    def obey(self, point: str) -> None:
        try:
            if self._order.read_text() != point:
                return
            self._order.rename(self._data / f"died-{time.monotonic_ns()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def before(self, point: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """Return `do`, which is not begun when it is time to die."""

        def doing(*facts: Any, **more: Any) -> Any:
            self.obey(point)
            return do(*facts, **more)

        return doing
