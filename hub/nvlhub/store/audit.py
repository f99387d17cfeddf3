"""The audit trail: who changed what, each line's hash covering the line before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict

CHAIN = 0x6E766C  # any number, the same in every process: the lock under which the chain grows
COVERED = ("id", "at", "actor", "action", "object", "programme", "project", "user", "before", "after")


def line_hash(before: str, line: Mapping[str, Any]) -> str:
    """Return the hash of a line: SHA-256 over the hash of the line before it and its own fields as JSON."""
    told = json.dumps([line[name] for name in COVERED], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{told}".encode()).hexdigest()


def line_of(
    action: str, what: str, *, at: int, actor: str, before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None, programme: str = "", project: str = "", user: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return a line of the trail; `programme`, `project` and `user` say whose business it is."""
    return {
        "at": at, "actor": actor, "action": action, "object": what[:300], "programme": programme, "project": project,
        "user": user, "before": dict(before) if before is not None else None,
        "after": dict(after) if after is not None else None,
    }  # fmt: skip


class Audit(Work):
    """What was changed by whom."""

    def note(self, action: str, what: str, **more: Any) -> int:
        """Write one line, as :func:`line_of` makes it, in the transaction of the change; return its number."""
        return self.note_all([line_of(action, what, **more)])

    def note_all(self, lines: Sequence[Mapping[str, Any]]) -> int:
        """Write lines in the transaction of the changes; return the number of the last."""
        if self.connection.dialect.name == "postgresql":
            # One at a time: each line needs the hash of the one before. SQLite has one writer anyway.
            self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN)))
        last = self._one(sa.select(t.audit.c.id, t.audit.c.hash).order_by(t.audit.c.id.desc()).limit(1))
        number, hashed = (int(last.id), str(last.hash)) if last else (0, "")
        rows = []
        for line in lines:
            number += 1
            hashed = line_hash(hashed, {"id": number, **line})
            rows.append({"id": number, **line, "hash": hashed})
        self.connection.execute(t.audit.insert(), rows)
        return number

    def audit_line(self, number: int) -> dict[str, Any]:
        """Return a line that is there."""
        return as_dict(self.connection.execute(sa.select(t.audit).where(t.audit.c.id == number)).one())

    def audit_lines(
        self, *, programmes: frozenset[str] | None = None, projects: frozenset[str] = frozenset(), user: str = "",
        what: str = "", actor: str = "", action: str = "", since: int = 0, page: int = 1, per_page: int = 50,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the trail, the newest first; `programmes` None: everybody's, else what is theirs.

        Theirs are lines of `programmes` and `projects`, and those about `user` and by them.
        """
        query = sa.select(t.audit).where(t.audit.c.at >= since)
        if programmes is not None:
            query = query.where(
                t.audit.c.programme.in_(programmes) | t.audit.c.project.in_(projects) | (t.audit.c.user == user)
                | (t.audit.c.actor == user)
            )  # fmt: skip
        wanted = ((t.audit.c.object, what), (t.audit.c.actor, actor), (t.audit.c.action, action))
        query = query.where(*(column == value for column, value in wanted if value))
        return self._page(query, [t.audit.c.id.desc()], page, per_page)

    def was_member_since(self, project: str, user: str, since: int) -> bool:
        """Tell whether somebody was made a member of a project, or taken out of it, since then."""
        made = t.audit.c.action.in_(("member-set", "member-drop"))
        query = sa.select(t.audit.c.id).where(
            made, t.audit.c.project == project, t.audit.c.user == user, t.audit.c.at >= since
        )  # fmt: skip
        return bool(self._all(query.limit(1)))

    def broken_chain(self) -> Iterator[str]:
        """Yield what is wrong with the trail's chain: a gap, or a line whose hash is not that of its fields."""
        before = ""
        lines = self.connection.execution_options(yield_per=1000).execute(sa.select(t.audit).order_by(t.audit.c.id))
        for number, row in enumerate(lines, start=1):
            line = as_dict(row)
            if line["id"] != number:
                yield f"line {number} is missing"
                return
            before = line_hash(before, line)
            if before != line["hash"]:
                yield f"line {number} was changed"
                return
