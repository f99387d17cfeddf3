"""The screens, by the name that stands in the address; one table says who may see which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nvlwidgets.panels.door import Guest, Need
from nvlwidgets.panels.screens import compute, fleet, health, lease, profiles, programme, reservations, usage
from nvlwidgets.panels.visit import Visit


def anybody(_guest: Guest) -> bool:
    """Everybody who may use this service."""
    return True


def decides(guest: Guest) -> bool:
    """Officers of a programme, and administrators."""
    return guest.decides


def runs(guest: Guest) -> bool:
    """Those who run the portal."""
    return guest.admin


@dataclass(frozen=True, slots=True)
class Screen:
    """One page."""

    slug: str
    need: Need
    make: Callable[[Visit], Any]
    """Returns what Panel shows; quick, because everybody waits: data come by sources."""
    listed: bool = True
    """Whether it stands in the navigation."""

    @property
    def title(self) -> str:
        """Id of its name in the catalogue."""
        return f"screen-{self.slug}"


SCREENS = (
    Screen("compute", anybody, compute.screen),
    Screen("usage", anybody, usage.screen),
    Screen("lease", anybody, lease.screen, listed=False),
    Screen("programme", decides, programme.screen),
    Screen("fleet", runs, fleet.screen),
    Screen("profiles", runs, profiles.screen),
    Screen("reservations", runs, reservations.screen),
    Screen("health", runs, health.screen),
)
