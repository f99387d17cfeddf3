"""Offers as they are laid out on pages: by the project that pays."""

from __future__ import annotations

from collections.abc import Iterable

from nvlhub.wire import Offer


def by_project(offers: Iterable[Offer]) -> dict[str, list[Offer]]:
    """Return the offers of each project, in the order in which they came."""
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        found.setdefault(offer.project, []).append(offer)
    return found
