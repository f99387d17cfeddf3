"""The form of a run: what is typed -> what the registry takes, and back. Times are those of the run's zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nvlhub.dates import UnclearTimeError, moment
from nvlhub.errors import BadInputError
from nvlhub.forms import RunView
from nvlhub.portal.paged import one_line, whole

MORE = ("last_day", "warm_minutes", "flex_minutes", "grace_minutes", "no_show_minutes", "roster_only")
"""Fields that are folded away until somebody wants them, or one of them is wrong."""
FIELDS = ("name", "zone", "day", "starts", "ends", "starts_which", "ends_which", "seats", "gpus", *MORE, "note")
NUMBERS = ("seats", "gpus", "warm_minutes", "flex_minutes", "grace_minutes", "no_show_minutes")
WHICH = {"": None, "first": False, "last": True}
"""Of an hour that exists twice: not said, the earlier one, the later one."""


def blank(zone: str, gpus: int) -> dict[str, str]:
    """Return a form that nobody has filled in; `gpus`: what the course's kernel needs."""
    return dict.fromkeys(FIELDS, "") | {
        "zone": zone, "gpus": str(gpus), "seats": "20", "warm_minutes": "30", "flex_minutes": "30", "grace_minutes": "30",
        "no_show_minutes": "20",
    }  # fmt: skip


def filled(run: RunView) -> dict[str, str]:
    """Return the form of a run as it is."""
    told = {name: str(getattr(run, name)) for name in ("name", "zone", "note", *NUMBERS)}
    return dict.fromkeys(FIELDS, "") | told | _times(run.starts, run.ends, run.zone) | {
        "roster_only": "1" if run.roster_only else ""
    }  # fmt: skip


def moved_to(sent: Mapping[str, str], starts: int, ends: int) -> dict[str, str]:
    """Return a form with other times."""
    return {**sent, **_times(starts, ends, sent["zone"].strip())}


def meant(sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of `NewRun` or `RunPatch` that a form means. Raises `BadInputError` naming the field."""
    zone = _zone(sent["zone"].strip())
    last = "last_day" if sent["last_day"].strip() else "day"
    return {
        "name": sent["name"].strip(), "zone": sent["zone"].strip(), "note": one_line(sent["note"]),
        "roster_only": sent["roster_only"] == "1", "starts": _at(sent, "day", "starts", zone),
        "ends": _at(sent, last, "ends", zone), **{name: whole(name, sent[name]) for name in NUMBERS},
    }  # fmt: skip


def _times(starts: int, ends: int, zone: str) -> dict[str, str]:
    """Return two moments as days and times, so that they are read back as the same moments."""
    there = ZoneInfo(zone)
    first, last = datetime.fromtimestamp(starts, there), datetime.fromtimestamp(ends, there)
    return {
        "day": f"{first:%Y-%m-%d}", "starts": f"{first:%H:%M}", "starts_which": _which(first),
        "last_day": f"{last:%Y-%m-%d}" if last.date() != first.date() else "", "ends": f"{last:%H:%M}",
        "ends_which": _which(last),
    }  # fmt: skip


def _which(at: datetime) -> str:
    both = [at.replace(fold=fold).utcoffset() for fold in (0, 1)]
    return "" if both[0] == both[1] else ("last" if at.fold else "first")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadInputError("run-zone", field="zone", given=name) from None


def _at(sent: Mapping[str, str], day: str, time: str, zone: ZoneInfo) -> int:
    """Return the moment of a day and a time. Raises `BadInputError` for one that is none, or that could be two."""
    try:
        date = datetime.strptime(sent[day].strip(), "%Y-%m-%d").date()  # noqa: DTZ007  # the zone comes with the time
    except ValueError:
        raise BadInputError("day-wanted", field=day) from None
    clock = sent[time].strip()
    clock = f"0{clock}" if clock[1:2] == ":" else clock
    if not clock:
        raise BadInputError("plan-time-wanted", field=time)
    try:
        return moment(f"{date}T{clock}", zone, second=WHICH.get(sent[f"{time}_which"]))
    except UnclearTimeError as error:
        members = {**error.members, "zone": str(zone)} | (
            {"given": clock[:20]} if error.slug == "time-unreadable" else {}
        )
        raise BadInputError(f"plan-{error.slug}", field=time, **members) from None
