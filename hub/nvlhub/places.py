"""Trays as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any


def where(trays: Iterable[Mapping[str, Any]]) -> str:
    """Return trays (`domain`, `tray`) in order as ``nvl001: 1-16, 18; nvl002: 3``."""
    told = []
    for domain, found in groupby(trays, key=lambda place: place["domain"]):
        # In a run of numbers, number and place differ by the same.
        runs = groupby(enumerate(place["tray"] for place in found), key=lambda pair: pair[1] - pair[0])
        numbers = [[number for _, number in run] for _, run in runs]
        told.append(f"{domain}: " + ", ".join(f"{one[0]}-{one[-1]}" if one[1:] else str(one[0]) for one in numbers))
    return "; ".join(told)
