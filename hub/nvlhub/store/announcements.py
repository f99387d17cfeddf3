"""Rows of announcements."""

from __future__ import annotations

from nvlhub.store.work import Work


class Announcements(Work):
    """What those who run the portal say."""
