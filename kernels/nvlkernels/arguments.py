"""What users say to a cluster, checked before anything is done: errors name the argument and what would be allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nvlhub.text import say


def whole(lang: str, argument: str, given: object, least: int, most: int) -> int:
    """Return a whole number in range. Raises `ValueError`."""
    if isinstance(given, bool) or not hasattr(given, "__index__") or not least <= given.__index__() <= most:
        raise ValueError(
            say(
                "cluster-not-whole", lang, argument=argument, given=repr(given)[:40], least=str(least), most=str(most)
            )
        )  # fmt: skip
    return int(given.__index__())


def one_of(lang: str, argument: str, given: object, allowed: tuple[str, ...]) -> str:
    """Return one of some words. Raises `ValueError`."""
    if given not in allowed:
        raise ValueError(
            say("cluster-not-one-of", lang, argument=argument, given=repr(given)[:40], allowed=", ".join(allowed))
        )
    return str(given)


def pairs(lang: str, argument: str, given: object, begins: str = "") -> dict[str, str | None]:
    """Return names with their texts; numbers become text. Raises `ValueError`."""
    if isinstance(given, Mapping) and all(_fits(name, value, begins) for name, value in given.items()):
        return {name: None if value is None else str(value) for name, value in given.items()}
    raise ValueError(say("cluster-not-pairs", lang, argument=argument, given=repr(given)[:60], begins=begins or "A"))


def _fits(name: object, value: object, begins: str) -> bool:
    good = isinstance(name, str) and len(name) > len(begins) and name.startswith(begins) and not set(name) & set("=\0")
    return good and isinstance(value, str | int | float | None) and "\0" not in str(value)


def free_name(lang: str, name: object, taken: Collection[str]) -> str:
    """Return a name that can be shown and that nobody has. Raises `ValueError`."""
    if not isinstance(name, str) or not 1 <= len(name) <= 60 or not name.isprintable() or set(name) & set("<>&"):
        raise ValueError(say("cluster-name-bad", lang))
    if name in taken:
        raise ValueError(say("cluster-name-taken", lang, name=name))
    return name
