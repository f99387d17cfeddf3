"""Adaptive scaling inside what quota, caps and room allow."""

from __future__ import annotations

import time
from typing import Any

from distributed.deploy.adaptive import Adaptive

PAUSE = 10.0
"""Seconds between two tries for more after fewer than wanted were granted."""


class LeaseAdaptive(Adaptive):
    """Asks for no more than is allowed; says once what is missing, and goes on with what there is."""

    cluster: Any

    def __init__(self, cluster: Any, **kwargs: Any) -> None:
        super().__init__(cluster, **kwargs)
        self._again = 0.0

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Return what to do to have `target` workers; nothing once this was stopped, which can be while it asked for the load."""
        found: dict[str, Any] = await super().recommendations(target)
        return {"status": "same"} if self.state == "stopped" else found

    async def scale_up(self, n: Any) -> None:
        """Have up to `n` workers."""
        if time.monotonic() < self._again:
            return
        if await self.cluster.grow_as_allowed(n) < n:
            self._again = time.monotonic() + PAUSE
