"""Draws ``docs/lease.svg`` from the table of states, so that picture and code cannot disagree."""

from __future__ import annotations

from pathlib import Path

from nvlhub.flow.lease import FINAL, MOVES
from nvlhub.wire import State

WIDE, HIGH, GAP = 96, 34, 34
ORDER = (State.ASKED, State.HELD, State.PLACED, State.STARTING, State.RUNNING, State.ENDING, State.SETTLED)


def _centre(state: State) -> tuple[int, int]:
    if state is State.REFUSED:
        return 20 + WIDE // 2, 190
    return 20 + ORDER.index(state) * (WIDE + GAP) + WIDE // 2, 90


def _box(state: State) -> str:
    x, y = _centre(state)
    fill = "#dfe5da" if state in FINAL else "#d9efb0"
    return (
        f'<rect x="{x - WIDE // 2}" y="{y - HIGH // 2}" width="{WIDE}" height="{HIGH}" rx="6" fill="{fill}" stroke="#1b2a1f"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle">{state.value}</text>'
    )


def _arrow(start: State, end: State, names: list[str]) -> str:
    (x1, y1), (x2, y2) = _centre(start), _centre(end)
    label = ", ".join(names)
    if end is State.REFUSED:
        path, tx, ty = f"M{x1} {y1 + HIGH // 2} V{y2 - HIGH // 2}", x1 + 34, (y1 + y2) // 2
    elif ORDER.index(end) - ORDER.index(start) == 1:
        path, tx, ty = f"M{x1 + WIDE // 2} {y1} H{x2 - WIDE // 2}", (x1 + x2) // 2, y1 - 24
    elif ORDER.index(end) < ORDER.index(start):
        depth = 30 + 14 * (ORDER.index(start) - ORDER.index(end))
        path, tx, ty = (
            f"M{x1 - 9} {y1 - HIGH // 2} V{y1 - depth} H{x2 + 9} V{y2 - HIGH // 2}",
            (x1 + x2) // 2,
            y1 - depth - 4,
        )
    else:
        depth = 40 + 22 * (ORDER.index(end) - ORDER.index(start))
        path, tx, ty = f"M{x1} {y1 + HIGH // 2} V{y1 + depth} H{x2} V{y2 + HIGH // 2}", (x1 + x2) // 2, y1 + depth - 4
    return f'<path d="{path}" fill="none" stroke="#3f6f00" marker-end="url(#tip)"/><text x="{tx}" y="{ty}" text-anchor="middle" font-size="11" fill="#3f6f00">{label}</text>'


def drawing() -> str:
    """Return the picture as SVG."""
    arrows = []
    for state, moves in MOVES.items():
        ends: dict[State, list[str]] = {}
        for event, (end, _) in moves.items():
            if end is not state:
                ends.setdefault(end, []).append(event.__name__)
        arrows += [_arrow(state, end, names) for end, names in ends.items()]
    tip = '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8z" fill="#3f6f00"/></marker></defs>'
    width = 40 + len(ORDER) * (WIDE + GAP)
    body = "".join([tip, *arrows, *map(_box, State)])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 250" width="{width}" height="250" font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'


if __name__ == "__main__":
    Path(__file__).with_name("lease.svg").write_text(drawing(), encoding="utf-8")
