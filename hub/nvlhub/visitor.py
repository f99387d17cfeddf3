"""Who asks: one authenticated visitor of the portal."""

from __future__ import annotations

from dataclasses import dataclass

ADMIN_SCOPE = "custom:nvlhub:admin"
"""Scope of those who run the portal."""

HUB_SCOPE = "custom:nvlhub:hub"
"""Scope of the hub's own calls."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What the hub says of the bearer of a token."""

    name: str
    admin: bool = False
    hub: bool = False
    server: str = ""
    """``user/servername`` when the token is that of a Jupyter server."""
    groups: frozenset[str] = frozenset()
    csrf: str = ""
    """What a form of this visitor's session must send back; empty for tokens in a header."""
