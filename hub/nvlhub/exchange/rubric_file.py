"""A rubric as people write it: YAML with the names of files beside it -> what a course keeps, with these files inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from nvlhub.errors import BadInputError

BESIDE = ("hidden", "graders")
"""What names files: hidden data, and the instructor's own Python."""
LONGEST = 200_000
"""Characters of the text."""


class _Plain(yaml.SafeLoader):
    """Reads no text in which one thing stands for many: written out, a few lines of that fill any memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("*names that stand for other parts (aliases) are not read")
        return super().compose_node(parent, index)


def packed(text: str, content: Callable[[str, str], str]) -> dict[str, Any]:
    """Return a rubric with the files that it names inside; `content` gives one as it is kept, by kind and name.

    Raises `BadInputError` for what is no YAML, or no rubric.
    """
    if len(text) > LONGEST:
        raise BadInputError("rubric-long", field="rubric", most=LONGEST)
    try:
        # As safe as its base: it only reads less.
        told = yaml.load(text, _Plain)  # noqa: S506
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInputError("rubric-unreadable", field="rubric", why=" ".join(str(error).split())[:300]) from None
    if not isinstance(told, dict):
        raise BadInputError("rubric-shape", field="rubric")
    try:
        # YAML also has dates, bytes and sets, which no course can keep.
        json.dumps(told, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInputError("rubric-unreadable", field="rubric", why=str(error)[:300]) from None
    for what in BESIDE:
        if isinstance(told.get(what), list):
            told[what] = {str(name): content(what, str(name)) for name in told[what]}
    return told
