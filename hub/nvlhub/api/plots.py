"""Plots as SVG that needs no script: widths in percent, so that text stays readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from markupsafe import Markup, escape

TOP, HEIGHT, FOOT, SIDE = 10, 160, 22, 56
"""Pixels above the columns, of the columns, below them for names, and beside them for numbers."""
BAR = 14
USED, FREE, LINE = "#3f6f00", "#dfe9d0", "#c9d2c3"


def columns(points: Sequence[tuple[str, float]], label: str) -> Markup:
    """Return one column for each (name, value), in order; `label` says what it shows to those who do not see it."""
    most = max((value for _, value in points), default=0)
    step = _step(most)
    rules = [number * step for number in range(max(1, ceil(most / step)) + 1)]
    top, width = rules[-1], 100 / max(1, len(points))
    levels = [(value, TOP + HEIGHT * (1 - value / top)) for value in rules]
    drawn = [f'<line x2="100%" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>' for _, y in levels]
    for place, (name, value) in enumerate(points):
        height = HEIGHT * value / top
        drawn.append(
            f'<rect x="{(place + 0.1) * width:.3f}%" y="{TOP + HEIGHT - height:.2f}" width="{0.8 * width:.3f}%" '
            f'height="{height:.2f}" fill="{USED}"><title>{escape(name)}: {value:,.2f}</title></rect>'
        )
    drawn += [_text(f"{across:.3f}%", TOP + HEIGHT + 16, anchor, name) for name, across, anchor in _shown(points)]
    axis = "".join(_text(str(SIDE - 8), y + 4, "end", f"{value:,g}") for value, y in levels)
    height = TOP + HEIGHT + FOOT
    return Markup('<div class="plot">{}{}</div>').format(
        _svg(axis, height, "", str(SIDE)), _svg("".join(drawn), height, label)
    )


def _shown(points: Sequence[tuple[str, float]]) -> list[tuple[str, float, str]]:
    """Return the names that are written below, where, and how they are aligned: the ends and the middle."""
    if len(points) < 5:
        return [(name, (place + 0.5) * 100 / len(points), "middle") for place, (name, _) in enumerate(points)]
    middle = len(points) // 2
    across = (middle + 0.5) * 100 / len(points)
    return [(points[0][0], 0, "start"), (points[middle][0], across, "middle"), (points[-1][0], 100, "end")]


def _text(x: str, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="#3b4640">{escape(text)}</text>'


def _step(most: float) -> float:
    """Return the distance of rules: 1, 2 or 5 times a power of ten, so that there are three to six of them."""
    if most <= 0:
        return 1.0
    power = 10.0 ** floor(log10(most / 3))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= most / 3 or factor == 1)


def bar(share: float, label: str) -> Markup:
    """Return one horizontal bar, filled to `share` of its length (0 to 1)."""
    filled = min(1.0, max(0.0, share)) * 100
    return _svg(
        f'<rect width="100%" height="{BAR}" rx="2" fill="{FREE}"/>'
        f'<rect width="{filled:.3f}%" height="{BAR}" rx="2" fill="{USED}"/>',
        BAR, label,
    )  # fmt: skip


def _svg(body: str, height: float, label: str, width: str = "100%") -> Markup:
    told = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(f'<svg {told} width="{width}" height="{height:g}">{body}</svg>')  # noqa: S704  # texts are escaped above
