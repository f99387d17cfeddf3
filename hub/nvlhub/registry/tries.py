"""How often somebody may be wrong about a join code. Kept in memory: a restart forgives everybody."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from nvlhub.errors import TooManyError
from nvlhub.flow.bucket import Bucket, Pace, draw, network

OF_A_USER = Pace(5 / 60, 5)
OF_AN_ADDRESS = Pace(1, 100)
"""A whole class may come from one address, and mistype once."""
REMEMBERED = 20_000


class Tries:
    """Buckets of wrong tries. A try counts as wrong until it is :meth:`forgiven`: many at once are no way around."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user: str, address: str) -> None:
        """Let somebody try. Raises `TooManyError`, also for a code that would be right."""
        now = self._clock()
        with self._lock:
            drawn = [(key, *draw(self._buckets.get(key), pace, now)) for key, pace in _keys(user, address)]
            wait = max(wait for _, _, wait in drawn)
            if wait:
                raise TooManyError("code-too-often", wait=math.ceil(wait))
            for key, bucket, _ in drawn:
                self._buckets[key] = bucket
                self._buckets.move_to_end(key)
            while len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)

    def forgiven(self, user: str, address: str) -> None:
        """Take a try back: the code was right."""
        with self._lock:
            for key, pace in _keys(user, address):
                known = self._buckets.get(key)
                if known is not None:
                    self._buckets[key] = Bucket(min(float(pace.burst), known.tokens + 1), known.at)


def _keys(user: str, address: str) -> tuple[tuple[tuple[str, str], Pace], ...]:
    return (("user", user), OF_A_USER), (("address", network(address)), OF_AN_ADDRESS)
