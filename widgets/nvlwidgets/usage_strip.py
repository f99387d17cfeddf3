"""The last 24 hours of this user: what was held, and what of it computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from markupsafe import Markup, escape

from nvlhub.text import say
from nvlhub.wire import View
from nvlwidgets.asking import portal, refused
from nvlwidgets.feed import Reading, Topic
from nvlwidgets.live import Live, site

HEIGHT, WIDTH, STEP = 48, 6, 2


class Quarter(View):
    """A quarter of an hour; GPU-seconds. `measured`: those of `held` of which it is known whether they computed."""

    at: int
    held: float
    busy: float
    measured: float


def _quarters(found: Any) -> list[Quarter]:
    return [Quarter.model_validate(item) for item in found["items"]][-400:]


def strip(quarters: Sequence[Quarter], lang: str) -> Markup:
    """Return an SVG: hatched what was held, filled what computed."""
    most = max([1.0, *(quarter.held for quarter in quarters)])
    bars = []
    for number, quarter in enumerate(quarters):
        x = number * (WIDTH + STEP)
        held = max(0.0, min(1.0, quarter.held / most)) * HEIGHT
        busy = max(0.0, min(quarter.busy, quarter.held) / most) * HEIGHT
        bars.append(
            f'<rect x="{x}" y="{HEIGHT - held:.1f}" width="{WIDTH}" height="{held:.1f}" fill="#ffd68a" stroke="#8a4b00" stroke-width=".6"/>'
            f'<rect x="{x}" y="{HEIGHT - busy:.1f}" width="{WIDTH}" height="{busy:.1f}" fill="#0072b2"/>'
        )
    width = max(1, len(quarters)) * (WIDTH + STEP)
    return Markup(  # noqa: S704  # numbers, and one text that is escaped
        f'<svg role="img" aria-label="{escape(say("widget-strip", lang))}" viewBox="0 0 {width} {HEIGHT}" width="100%" height="{HEIGHT}" '
        f'preserveAspectRatio="none">{"".join(bars)}</svg>'
    )


class UsageStrip(Live):
    """Held against computing, for this user."""

    template: ClassVar[str] = "usage_strip.html"
    title: ClassVar[str] = "widget-strip"

    def _topic(self) -> Topic:
        return portal("/activity", _quarters, 60.0, hours="24")

    def topics(self) -> tuple[Topic, ...]:
        """Return the last day and the site's zone."""
        return self._topic(), site()

    def may_fail(self, topic: Topic, reading: Reading) -> bool:
        """Tell whether a topic's failing needs no badge: a portal without this route gets a sentence instead."""
        return super().may_fail(topic, reading) or (topic == self._topic() and self._missing(reading))

    @staticmethod
    def _missing(reading: Reading) -> bool:
        problem = getattr(reading.cause, "problem", None)
        return refused(reading.cause) and getattr(problem, "status", 0) in {404, 405}

    def values(self) -> Mapping[str, Any]:
        """Return the quarters of an hour and their sums in milli-GPU-seconds."""
        reading = self.reading(self._topic())
        quarters: list[Quarter] | None = reading.value
        held, busy, measured = (
            int(1000 * sum(getattr(quarter, name) for quarter in quarters or ()))
            for name in ("held", "busy", "measured")
        )
        return {
            "quarters": quarters, "missing": self._missing(reading), "held": held, "busy": busy, "measured": measured,
            "percent": round(100 * busy / measured) if measured else None,
            "strip": strip(quarters, self.lang) if quarters else "",
        }  # fmt: skip
