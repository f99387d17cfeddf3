"""How often somebody may be wrong about a join code. Kept in memory: a restart forgives everybody."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from nvlhub.errors import TooManyError
from nvlhub.flow.bucket import Bucket, Pace, draw

OF_A_USER = Pace(5 / 60, 5)
"""Nothing is counted by address: everybody who tries is logged in, and a header that says where they come from can be written
by any program on the portal's machine, learners' servers among them. Who lied there would shut a whole class out."""
REMEMBERED = 20_000


class Tries:
    """Buckets of wrong tries. A try counts as wrong until it is :meth:`forgiven`: many at once are no way around."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user: str) -> None:
        """Let somebody try. Raises `TooManyError`, also for a code that would be right."""
        with self._lock:
            bucket, wait = draw(self._buckets.get(user), OF_A_USER, self._clock())
            if wait:
                raise TooManyError("code-too-often", wait=math.ceil(wait))
            self._buckets[user] = bucket
            self._buckets.move_to_end(user)
            while len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)

    def forgiven(self, user: str) -> None:
        """Take a try back: the code was right."""
        with self._lock:
            known = self._buckets.get(user)
            if known is not None:
                self._buckets[user] = Bucket(min(float(OF_A_USER.burst), known.tokens + 1), known.at)
