"""Use cases of reservations. Who may is checked here."""

from __future__ import annotations

from nvlhub.registry.office import Office


class Reservations(Office):
    """Capacity kept between two times."""
