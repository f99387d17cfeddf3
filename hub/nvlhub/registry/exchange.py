"""Use cases of files: everything out, and in again, all of a file or nothing."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from nvlhub.desk import Desk
from nvlhub.errors import BadInputError
from nvlhub.exchange import Fault, FileKind, Form, new_awards, read, told, write
from nvlhub.explain import sentence
from nvlhub.forms import Imported, ImportFault
from nvlhub.registry.awards import Awards
from nvlhub.registry.intake import Intake
from nvlhub.registry.office import Office
from nvlhub.registry.profiles import Profiles
from nvlhub.visitor import Visitor
from nvlhub.wire import Strict

SHOWN = 200
"""Errors that are listed; all are counted."""


class ImportRefusedError(BadInputError):
    """Something is wrong with a file, so nothing of it was imported. Members: `errors`, the first of `total`."""


class _Undone(Exception):  # noqa: N818  # no error: how a trial leaves its transaction
    """A trial is over."""


class _Asked(Strict):
    """What an idempotency key of an import stands for."""

    form: Form
    kind: FileKind | None
    dry_run: bool
    sha256: str


class Exchange(Office):
    """Everything as files. For administrators."""

    def __init__(self, desk: Desk, awards: Awards, profiles: Profiles) -> None:
        super().__init__(desk)
        self._awards = awards
        self._profiles = profiles

    def export(self, visitor: Visitor, form: Form, kind: FileKind | None = None, *, ids: bool = True) -> bytes:
        """Return a file with all kinds, or with one.

        Without `ids` its awards are those that another portal can make as new ones.
        """
        self._need_admin(visitor)
        if form is Form.CSV and kind is None:
            raise BadInputError("import-kind-needed", field="kind", known=", ".join(FileKind))
        kinds = [kind] if kind else list(FileKind)
        with self._store.reading() as unit:
            found = {one: unit.everything(one) for one in kinds}
        document = {one: told(one, rows) for one, rows in found.items()}
        if not ids and FileKind.AWARDS in found:
            document[FileKind.AWARDS] = new_awards(found[FileKind.AWARDS], self._clock.now())
        return write(document, form)

    def bring(
        self, visitor: Visitor, content: bytes, form: Form, kind: FileKind | None, *, dry_run: bool, lang: str,
        key: str = "",
    ) -> Imported:  # fmt: skip
        """Import a file: make what is not there, change what is different, delete nothing.

        Raises `ImportRefusedError` with all that is wrong, row by row, in the reader's language; then nothing is
        imported. A `dry_run` does the same and takes everything back. With an idempotency `key`, a file that is sent
        again is imported once.
        """
        self._need_admin(visitor)
        if form is Form.CSV and kind is None:
            raise BadInputError("import-kind-needed", field="kind", known=", ".join(FileKind))
        if form is Form.YAML and kind is not None:
            raise BadInputError("import-kind-surplus", field="kind")
        rows, faults = read(content, form, kind)
        asked = _Asked(form=form, kind=kind, dry_run=dry_run, sha256=hashlib.sha256(content).hexdigest())
        kinds: dict[str, Any] = {}
        with contextlib.suppress(_Undone), self._store.writing() as unit:

            def do() -> int:
                work = Intake(unit, visitor, self._desk, self._awards, self._profiles)
                work.take(rows)
                if found := [*faults, *work.faults]:
                    raise self._refused(found, lang)
                return work.finish()

            with unit.trying():
                number = self._once(unit, visitor, key, asked, do)
            kinds = unit.audit_line(number)["after"]
            if dry_run:
                raise _Undone
        if not dry_run:
            self._desk.capacity_changed()
        return Imported(dry_run=dry_run, kinds=kinds)

    def _refused(self, faults: list[Fault], lang: str) -> ImportRefusedError:
        order = {kind: place for place, kind in enumerate(FileKind, start=1)}
        faults = sorted(faults, key=lambda fault: (order[fault.kind] if fault.kind else 0, fault.row))
        listed = [
            ImportFault(
                row=fault.row, kind=fault.kind or "", field=fault.field,
                detail=sentence(fault.error.slug, lang, **fault.error.members, more=self._desk.more_url),
            ).model_dump()
            for fault in faults[:SHOWN]
        ]  # fmt: skip
        return ImportRefusedError("import-refused", total=len(faults), errors=listed)
