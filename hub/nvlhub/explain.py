"""An error -> a problem document (RFC 9457) in the reader's language."""

from __future__ import annotations

from http import HTTPStatus

from nvlhub.errors import NvlhubError
from nvlhub.text import say
from nvlhub.wire import Problem, gpu_hours

_AMOUNTS = frozenset({"hold", "left", "awarded", "held", "charged"})
_DURATIONS = frozenset({"seconds", "longest_seconds", "ends_in", "most_seconds", "least_seconds", "wait"})


def duration(seconds: int, lang: str) -> str:
    """Return a time span for people, e.g. ``2 h 30 min``."""
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [("hours", hours), ("minutes", minutes), ("seconds", rest if not hours and minutes < 5 else 0)]
    said = [say(f"duration-{unit}", lang, n=str(count)) for unit, count in parts if count]
    return " ".join(said) or say("duration-seconds", lang, n="0")


def _shown(name: str, value: object, lang: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if name in _AMOUNTS:
            return gpu_hours(value)
        if name in _DURATIONS:
            return duration(value, lang)
    return "" if value is None else str(value)


def sentence(slug: str, lang: str, **members: object) -> str:
    """Return the sentence `slug` with its members in units for people."""
    shown = {name: _shown(name, value, lang) for name, value in members.items()}
    return say(slug, lang, **shown, allowed=_allowed(members, lang))


def _allowed(members: dict[str, object], lang: str) -> str:
    """Say the largest starts that would be allowed now."""
    gpus, at_most, seconds = (members.get(name) for name in ("largest_gpus", "longest_gpus", "longest_seconds"))
    choices = []
    if gpus:
        time = duration(int(str(members["seconds"])), lang)
        choices.append(say("allowed-start", lang, gpus=str(gpus), time=time))
    if at_most and at_most != gpus:
        choices.append(say("allowed-start", lang, gpus=str(at_most), time=duration(int(str(seconds)), lang)))
    return say("allowed-or", lang).join(choices) or say("allowed-nothing", lang)


def _way_out(error: NvlhubError, lang: str) -> str:
    """Say that a start could be pre-emptible where it could."""
    return "\n" + say("low-priority", lang) if error.members.get("low_priority") else ""


def problem(error: NvlhubError, lang: str, instance: str = "", more_url: str = "") -> Problem:
    """Return the problem document of an error; `more_url` is where to ask for more."""
    return Problem(
        type=f"urn:nvlhub:problem:{error.slug}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=sentence(error.slug, lang, **error.members, more=more_url) + _way_out(error, lang),
        instance=instance,
        **{name: value for name, value in error.members.items() if name not in Problem.model_fields},
    )
