"""How often visitors may come. What is remembered lives in memory: a restart forgives everybody."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from nvlhub.errors import TooManyError
from nvlhub.flow.bucket import Bucket, Pace, draw, network

STRICTER = 5
"""Requests that the hub knows no visitor for are allowed so many times less."""
REMEMBERED = 20_000
"""Buckets at most; beyond that the one that was used longest ago is forgotten."""


class Limiter:
    """One bucket per visitor for calls, one for signs of life, one per address of those whom nobody knows.

    Signs of life have a bucket of their own so that a script that calls without end does not cost its user the leases.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._strangers = Pace(pace.rate / STRICTER, max(1, pace.burst // STRICTER))
        self._forget_after = max(pace.filled_after, self._strangers.filled_after)
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def call(self, visitor: str) -> None:
        """Let a visitor's call pass. Raises `TooManyError`."""
        self._draw(("call", visitor), self._pace)

    def beat(self, visitor: str) -> None:
        """Let a visitor's signs of life pass. Raises `TooManyError`."""
        self._draw(("beat", visitor), self._pace)

    def stranger(self, address: str) -> None:
        """Count a request that nobody is known for. Raises `TooManyError`."""
        self._draw(("stranger", network(address)), self._strangers)

    def _draw(self, key: tuple[str, str], pace: Pace) -> None:
        now = self._clock()
        with self._lock:
            self._buckets[key], wait = draw(self._buckets.get(key), pace, now)
            self._buckets.move_to_end(key)
            while len(self._buckets) > REMEMBERED or self._oldest.at <= now - self._forget_after:
                self._buckets.popitem(last=False)
        if wait:
            raise TooManyError("too-many-requests", wait=math.ceil(wait))

    @property
    def _oldest(self) -> Bucket:
        return next(iter(self._buckets.values()))
