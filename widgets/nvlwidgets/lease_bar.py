"""The lease of this kernel: time left, more time, giving it back, and where its GPUs sit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from markupsafe import Markup, escape

from nvlhub.text import say
from nvlhub.wire import LeaseView, Share
from nvlwidgets.asking import portal
from nvlwidgets.feed import Reading, Topic
from nvlwidgets.live import Live, left, site

SOON, LAST = 15 * 60, 5 * 60
"""Seconds before the end at which its holder is told, and told again."""
MINUTES = (30, 60)
"""What it can be extended by."""
LEVELS = ("info", "warning", "critical")
GPU, GAP, ROW, LABEL = 10, 2, 14, 70


def _trays(found: Any) -> dict[str, list[int]]:
    """Return how many GPUs the trays of each domain have."""
    return {str(item["name"]): [len(tray["gpus"]) for tray in item["trays"]] for item in found["items"]}


def _messages(found: Any) -> list[dict[str, str]]:
    """Return announcements: {id, level, text, lease}."""
    return [
        {
            "id": str(item["id"]), "text": str(item["text"]), "lease": str(item.get("lease") or ""),
            "level": str(item["level"]) if item.get("level") in LEVELS else "info",
        }
        for item in found["items"]
    ]  # fmt: skip


def picture(shares: Sequence[Share], domains: Mapping[str, Sequence[int]], lang: str) -> Markup:
    """Return an SVG of the domains of a lease: a column per tray, a square per GPU, its own filled and ticked."""
    rows: list[str] = []
    width, top = LABEL, 0
    for name in dict.fromkeys(share.domain for share in shares):
        mine = {(share.tray, gpu) for share in shares if share.domain == name for gpu in share.gpus}
        trays = list(domains.get(name, ()))
        trays += [4] * (max(tray for tray, _ in mine) - len(trays))
        rows.append(f'<text x="0" y="{top + ROW}" font-size="11" fill="currentColor">{escape(name)}</text>')
        for tray, gpus in enumerate(trays, start=1):
            for gpu in range(max([gpus, *(gpu + 1 for number, gpu in mine if number == tray)])):
                x, y = LABEL + (tray - 1) * (GPU + GAP + 2), top + gpu * (GPU + GAP) + 4
                own = (tray, gpu) in mine
                rows.append(
                    f'<rect x="{x}" y="{y}" width="{GPU}" height="{GPU}" rx="1.5" fill="{"#2f6f00" if own else "none"}" '
                    f'stroke="#7d877f"/>' + (f'<path d="M{x + 2} {y + 5}l2 3 4-6" stroke="#fff" fill="none"/>' * own)
                )
        width = max(width, LABEL + len(trays) * (GPU + GAP + 2))
        top += max([4, *trays]) * (GPU + GAP) + 8
    label = escape(say("widget-where", lang, where=where(shares)))
    return Markup(  # noqa: S704  # every text in it was escaped above
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
        f'font-family="sans-serif">{"".join(rows)}</svg>'
    )


def where(shares: Sequence[Share]) -> str:
    """Return where GPUs sit, in words."""
    return "; ".join(f"{share.domain} tray {share.tray} GPU {', '.join(map(str, share.gpus))}" for share in shares)


class LeaseBar(Live):
    """The lease of this kernel, or the one that is named. Counts down, extends, gives back."""

    template: ClassVar[str] = "lease_bar.html"
    title: ClassVar[str] = "widget-lease"

    def __init__(self, lease: str | None = None) -> None:
        self._lease = os.environ.get("NVLHUB_LEASE", "") if lease is None else lease
        if not re.fullmatch("[!-~]{0,64}", self._lease):
            raise ValueError(say("widget-lease-bad"))
        super().__init__()

    @property
    def _path(self) -> str:
        return f"/leases/{quote(self._lease, safe='')}"

    def _lease_topic(self) -> Topic:
        return portal(self._path, LeaseView.model_validate)

    def _domains_topic(self) -> Topic:
        return portal("/domains", _trays, 600.0, per_page="200")

    def _messages_topic(self) -> Topic:
        return portal("/announcements", _messages, 30.0)

    def topics(self) -> tuple[Topic, ...]:
        """Return the lease, its domains, messages and the site's zone; nothing on a kernel without a lease."""
        return (self._lease_topic(), self._domains_topic(), self._messages_topic(), site()) if self._lease else ()

    def may_fail(self, topic: Topic, reading: Reading) -> bool:
        """Tell whether a topic is an extra: all are, except the lease."""
        return topic != self._lease_topic()

    def values(self) -> Mapping[str, Any]:
        """Return the lease with what a reader wants to know of it."""
        reading = self.reading(self._lease_topic())
        lease: LeaseView | None = reading.value
        messages = self.reading(self._messages_topic()).value or ()
        shown = {
            "lease_id": self._lease, "lease": lease, "minutes": MINUTES, "soon": SOON, "last": LAST, "picture": "", "left": None,
            "preempted": None, "wait": None, "messages": [item for item in messages if item["lease"] in {"", self._lease}],
        }  # fmt: skip
        if lease is None:
            return shown
        if lease.placement:
            domains = self.reading(self._domains_topic()).value or {}
            shown["picture"] = picture(lease.placement, domains, self.lang)
            shown["where"] = where(lease.placement)
        shown["left"] = left(lease.deadline, lease.now, reading)
        shown["preempted"] = left(lease.preempt_at, lease.now, reading)
        shown["wait"] = left(lease.expected_start, lease.now, reading)
        return shown

    def answer(self, asked: Mapping[str, Any]) -> None:
        """Extend, or give back."""
        if asked.get("action") == "extend" and asked.get("minutes") in [str(minutes) for minutes in MINUTES]:
            self.extend(minutes=int(asked["minutes"]))
        elif asked.get("action") == "release":
            self.release()

    def extend(self, *, minutes: int) -> None:
        """Pay for more time; what came of it is shown."""
        done = say("widget-extended", self.lang, minutes=str(minutes))
        self.act("POST", f"{self._path}/extend", done, json={"seconds": 60 * minutes})

    def release(self) -> None:
        """Give the lease back: its kernel ends."""
        # Where it is this kernel's own lease, these may be the last words that it can say.
        doing = say("widget-releasing", self.lang)
        self.act("DELETE", self._path, say("widget-released", self.lang), doing=doing)
