"""Rows of reservations."""

from __future__ import annotations

from nvlhub.store.work import Work


class Reservations(Work):
    """Capacity kept between two times."""
