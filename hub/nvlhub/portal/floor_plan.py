"""A picture of the domains: one row per domain, one square per GPU, trays and superchips set apart."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from nvlhub.forms import DomainView
from nvlhub.text import say

GPU, GAP, TRAY_GAP, ROW, LABEL = 9, 2, 5, 16, 64
SHOWN = 40
"""Domains drawn; more would be a wall."""
COLOURS = {"free": "#b8e07a", "mine": "#3f6f00", "taken": "#8a8f98", "out": "#f0d9c0"}


def floor_plan(domains: Sequence[DomainView], lang: str) -> Markup:
    """Return an SVG of `domains` as ``GET /domains`` gives them; ``*`` is somebody else's."""
    rows, width = [], LABEL
    for number, domain in enumerate(domains[:SHOWN]):
        top, left, squares = number * ROW + 2, LABEL, []
        for tray in domain.trays:
            for index, held in enumerate(tray.gpus):
                state = "mine" if held and held != "*" else "taken" if held else "free" if tray.in_service else "out"
                title = f"{domain.name} tray {tray.index} GPU {index}: {say(f'gpu-{state}', lang)}"
                squares.append(
                    f'<rect x="{left}" y="{top}" width="{GPU}" height="{GPU}" rx="1.5" fill="{COLOURS[state]}">'
                    f"<title>{escape(title)}</title></rect>"
                )
                left += GPU + GAP
            left += TRAY_GAP
        width = max(width, left)
        rows.append(f'<text x="0" y="{top + GPU}" font-size="11">{escape(domain.name)}</text>' + "".join(squares))
    height = len(rows) * ROW + 4
    body = "".join(rows)
    label = escape(say("floor-title", lang))
    return Markup(  # noqa: S704  # every text in it was escaped above
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif">{body}</svg>'
    )
