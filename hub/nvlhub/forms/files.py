"""Forms of what came of an imported file."""

from __future__ import annotations

from nvlhub.wire import View


class Counts(View):
    """What became of the rows of one kind."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0


class Imported(View):
    """What an import did, by kind; with `dry_run`, what it would have done."""

    dry_run: bool
    kinds: dict[str, Counts]


class ImportFault(View):
    """What is wrong with a row, as the member `errors` of a refusal lists it.

    `row`: its line in a CSV file (the header is line 1), or its place in the list of its kind in YAML, from 1. Where
    `kind` is empty the file itself cannot be read, in that line (0: no line in particular).
    """

    row: int
    kind: str
    field: str
    detail: str
