"""Use cases of announcements. Who may is checked here."""

from __future__ import annotations

from nvlhub.registry.office import Office


class Announcements(Office):
    """What those who run the portal say."""
