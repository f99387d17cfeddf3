"""What a lease that does not run yet waits for, in words: the same wherever it is shown."""

from __future__ import annotations

from datetime import datetime

from nvlhub.dates import shown, zone_of
from nvlhub.text import say
from nvlhub.wire import LeaseView, State

BEFORE = frozenset({State.HELD, State.PLACED, State.STARTING})


def waits_for(lease: LeaseView, lang: str, zone: str) -> str:
    """Return why a lease does not run yet, and at what time of the site's it should; empty: it runs, or is just starting."""
    if lease.state not in BEFORE or lease.end_reason is not None or not lease.detail:
        return ""
    if lease.expected_start is None:
        return lease.detail
    if lease.expected_start <= lease.now:
        return say("waits-soon", lang, why=lease.detail)
    return say("waits-until", lang, why=lease.detail, at=time_of(lease.expected_start, lease.now, zone))


def time_of(at: int, now: int, zone: str) -> str:
    """Return a time of day with its zone, e.g. ``"14:05 CST (UTC+8)"``; with its date where that is not today's."""
    then, today = (datetime.fromtimestamp(moment, zone_of(zone)).date() for moment in (at, now))
    return shown(at, zone, "%H:%M") if then == today else shown(at, zone)
