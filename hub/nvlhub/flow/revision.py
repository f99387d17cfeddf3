"""Two states of one thing -> the fields that are different."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """A field before and after; None: it was not there, or is no longer."""

    field: str
    before: Any
    after: Any


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what is different, in the order of the fields; what lies inside a field is named with a dot."""
    old, new = _flat(before), _flat(after)
    both = ((name, old.get(name), new.get(name)) for name in {**old, **new})
    # 1 and True are equal, and not the same.
    return [Change(name, was, is_now) for name, was, is_now in both if (type(was), was) != (type(is_now), is_now)]


def _flat(told: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{within}{name}.")
        else:
            found[within + name] = list(value) if isinstance(value, tuple) else value
    return found
