"""Checks of IRIs that are made ready when the first one is asked for.

``rfc3987_syntax`` (1.1.0) reads its grammar when it is imported, which takes a processor 2.5 s. ``jsonschema`` imports it for the
formats ``iri`` and ``iri-reference``, and so does every hub and every notebook server at its start, which have no use for them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

GRAMMAR = "rfc3987_syntax"


class Later(ModuleType):
    """Stands where ``rfc3987_syntax`` would until something is checked."""

    def is_valid_syntax(self, term: str, value: str) -> bool:
        """Tell whether `value` is a `term` of RFC 3987, such as ``iri``."""
        if sys.modules.get(GRAMMAR) is self:
            del sys.modules[GRAMMAR]
        return bool(import_module(GRAMMAR).is_valid_syntax(term, value))


def check_later() -> None:
    """Have the grammar read when it is needed. To be called before anything imports ``jsonschema``; later it changes nothing."""
    sys.modules.setdefault(GRAMMAR, Later(GRAMMAR))
