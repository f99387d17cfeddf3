"""Use cases of what GPUs did. Who may is checked here."""

from __future__ import annotations

from nvlhub.registry.office import Office


class Telemetry(Office):
    """What GPUs did."""
