"""A picture of the domains: one row per domain, one square per GPU, trays and superchips set apart.

Colours of Okabe and Ito (2008), and a mark for each state: nobody needs to tell colours apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from nvlhub.forms import OUTSIDE, DomainView
from nvlhub.text import say

GPU, GAP, TRAY_GAP, ROW, LABEL = 9, 2, 5, 16, 64
SHOWN = 40
"""Domains drawn; more would be a wall."""
COLOURS = {"free": "#ffffff", "mine": "#0072b2", "taken": "#999999", "outside": "#cc79a7", "out": "#f0e442"}
STROKES = {
    "free": "",
    "mine": "M1.5 4.5l2 2.5 4-5",
    "taken": "",
    "outside": "M4.5 0v9",
    "out": "M1 1l7 7M8 1l-7 7",
}
"""What is drawn over a square: yours has a tick, what is out of service a cross, what others have a bar; free is empty."""
INK = {"mine": "#ffffff", "outside": "#000000", "out": "#000000"}


def _state(held: str, *, in_service: bool) -> str:
    match held:
        case "":
            return "free" if in_service else "out"
        case "*":
            return "taken"
        case found if found == OUTSIDE:
            return "outside"
        case _:
            return "mine"


def _square(state: str, left: int, top: int, title: str) -> str:
    mark = (
        f'<path d="{STROKES[state]}" stroke="{INK[state]}" stroke-width="1.4" fill="none"/>' if STROKES[state] else ""
    )
    return (
        f'<g transform="translate({left} {top})"><title>{escape(title)}</title>'
        f'<rect width="{GPU}" height="{GPU}" rx="1.5" fill="{COLOURS[state]}" stroke="#5b635e"/>{mark}</g>'
    )


def floor_plan(domains: Sequence[DomainView], lang: str) -> Markup:
    """Return an SVG of `domains` as ``GET /domains`` gives them; ``*`` is somebody else's."""
    rows, width = [], LABEL
    words = {state: say(f"gpu-{state}", lang) for state in COLOURS}
    for number, domain in enumerate(domains[:SHOWN]):
        top, left, squares = number * ROW + 2, LABEL, []
        for tray in domain.trays:
            for index, held in enumerate(tray.gpus):
                state = _state(held, in_service=tray.in_service)
                squares.append(
                    _square(state, left, top, f"{domain.name} tray {tray.index} GPU {index}: {words[state]}")
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


def legend(lang: str) -> list[tuple[Markup, str]]:
    """Return what each kind of square looks like, and what it means."""
    side = GPU + 2
    return [
        (
            Markup(  # noqa: S704  # of our own numbers and colours
                f'<svg aria-hidden="true" width="{side}" height="{side}" viewBox="-1 -1 {side} {side}">'
                f"{_square(state, 0, 0, '')}</svg>"
            ),
            say(f"gpu-{state}", lang),
        )
        for state in COLOURS
    ]
