"""Versions of profiles, kept in memory: what is running was started with one of them, and they never change."""

from __future__ import annotations

from functools import lru_cache

from nvlhub.flow.request import Profile
from nvlhub.store import Store

KEPT = 256


class Versions:
    """Reads each version once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.get = lru_cache(KEPT)(self._read)
        """Returns a version by name and number. Raises `NotFoundError`."""

    def _read(self, name: str, version: int) -> Profile:
        with self._store.reading() as unit:
            return unit.profile(name, version)
