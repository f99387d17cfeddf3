"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

LAST = 253_402_214_400
"""The last day that a date can be told of, in every zone."""


@cache
def zone_of(name: str) -> tzinfo:
    """Return a time zone; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return ZoneInfo("UTC")


def shown(at: int, zone: str | tzinfo, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment as clocks in a zone show it: ``"2027-03-14 09:00 CST (UTC+8)"``, which is not Chicago's CST.

    `at` is Unix time, never told beyond the year 9999; `zone` as for :func:`zone_of`.
    """
    then = datetime.fromtimestamp(min(at, LAST), zone_of(zone) if isinstance(zone, str) else zone)
    name, minutes = then.strftime("%Z"), round((then.utcoffset() or timedelta()).total_seconds() / 60)
    if minutes or name != "UTC":
        ahead, rest = divmod(abs(minutes), 60)
        offset = f"UTC{'-' if minutes < 0 else '+'}{ahead}{f':{rest:02}' if rest else ''}"
        name = f"{name} ({offset})" if name.isalpha() else offset
    return f"{then:{form}} {name}"


def unix_time(text: str) -> int:
    """Return the Unix time that `text` names: whole Unix seconds, or YYYY-MM-DD for the first second of that day (UTC).

    Raises `ValueError` for anything else.
    """
    if re.fullmatch(r"[0-9]{1,13}", text):
        return int(text)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("neither Unix seconds nor YYYY-MM-DD")
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class UnclearTimeError(ValueError):
    """A time that cannot be meant, or that could mean two. `slug` and `members` say it in the reader's language."""

    def __init__(self, slug: str, **members: str) -> None:
        super().__init__(slug)
        self.slug = slug
        self.members = members


_ISO = r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?))?(Z|[+-][0-9]{2}:?[0-9]{2})?"


def moment(text: str, zone: tzinfo, *, second: bool | None = None) -> int:
    """Return the Unix time of ``2027-03-14T09:00``, in `zone` unless it names its own offset; a day is its first second.

    `second`: of an hour that exists twice, because clocks are set back, which one. Raises `UnclearTimeError` for one
    that exists twice where that is None, for one that clocks leave out, and for what is no time.
    """
    if re.fullmatch(r"[0-9]{6,11}", text):
        return int(text)
    found = re.fullmatch(_ISO, text.strip())
    unreadable = UnclearTimeError("time-unreadable", given=text[:40])
    if found is None:
        raise unreadable
    try:
        told = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{found[3] or ''}")
        at = (told if told.tzinfo else _clear(told, zone, second)).timestamp()
    except UnclearTimeError:
        raise
    except (ValueError, OverflowError):
        raise unreadable from None
    if at < 0:
        raise unreadable
    return int(at)


def _clear(told: datetime, zone: tzinfo, second: bool | None) -> datetime:
    """Return the moment that clocks in a zone show as `told`."""
    both = [told.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    first, last = both
    if first.utcoffset() == last.utcoffset():
        return first
    shown = datetime.fromtimestamp(first.timestamp(), zone)
    if shown.replace(tzinfo=None, fold=0) != told:
        raise UnclearTimeError("time-left-out", given=f"{told:%Y-%m-%d %H:%M}", instead=f"{shown:%Y-%m-%d %H:%M}")
    if second is None:
        first_text, last_text = (f"{one.isoformat(timespec='minutes')}" for one in both)
        raise UnclearTimeError(
            "time-twice", given=f"{told:%Y-%m-%d %H:%M}", first=first_text, last=last_text
        )  # fmt: skip
    return both[second]
