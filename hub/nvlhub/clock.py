"""A clock that never goes back and never jumps, whatever happens to the machine's date."""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Unix time that advances with the monotonic clock.

    The date is read once, at the start. A later step of the system's date, forward or back, moves nothing: leases
    are neither lengthened nor ended by it. `floor` is the latest time on record, so that a date set back while the
    portal was down does not make time run twice.
    """

    def __init__(
        self,
        floor: int = 0,
        *,
        date: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady = steady
        self._offset = max(date(), float(floor)) - steady()

    def now(self) -> int:
        """Return the time in whole Unix seconds."""
        return int(self._offset + self._steady())
