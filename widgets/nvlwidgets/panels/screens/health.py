"""*Health and audit*."""

from __future__ import annotations

from typing import Any

from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.visit import Visit


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Html()
