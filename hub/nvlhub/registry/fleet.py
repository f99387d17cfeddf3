"""Use cases of the fleet as one picture. Who may is checked here."""

from __future__ import annotations

from nvlhub.registry.office import Office


class Fleet(Office):
    """What all GPUs do."""
