"""Rows of what GPUs did."""

from __future__ import annotations

from nvlhub.store.work import Work


class Telemetry(Work):
    """What GPUs did."""
