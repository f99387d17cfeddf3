"""Use cases of announcements. Who may is checked here."""

from __future__ import annotations

import threading
import time
from typing import Any

from nvlhub.errors import BadInputError, ConflictError, NotAllowedError, NotFoundError
from nvlhub.forms import AnnouncementView, NewAnnouncement
from nvlhub.registry.office import Office, Standing
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

REMEMBERED = 5.0
"""Seconds for which what stands is not read again: every page asks for it."""
LEVELS = ("urgent", "warning", "info")
"""The most pressing first."""
HISTORY = frozenset({"text_zh", "actor", "withdrawn_at"})
"""Fields that are told in the history alone."""


class Announcements(Office):
    """What those who run the portal say."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()
        self._known: tuple[float, list[dict[str, Any]]] | None = None

    # --- reading ----------------------------------------------------------------------------------------------

    def current(self, visitor: Visitor, lang: str) -> list[AnnouncementView]:
        """Return what is for the visitor now: the most pressing first, then the newest."""
        now = self._clock.now()
        rows = [row for row in self._standing_rows() if row["starts"] <= now and not _over(row, now)]
        rows = [row for row in rows if row["user"] in {"", visitor.name} and self._still(row)]
        if any(row["programme"] for row in rows):
            mine = self._programmes(visitor)
            rows = [row for row in rows if not row["programme"] or row["programme"] in mine]
        rows.sort(key=lambda row: LEVELS.index(row["level"]))
        return [_shown(row, lang) for row in rows]

    def _standing_rows(self) -> list[dict[str, Any]]:
        known = self._known
        if known is None or time.monotonic() - known[0] > REMEMBERED:
            at = time.monotonic()
            with self._store.reading() as unit:
                rows = unit.standing_announcements(self._clock.now())
            known = (at, rows)
            with self._lock:
                self._known = known
        return known[1]

    def _still(self, row: dict[str, Any]) -> bool:
        """Tell whether what a message is about is still there."""
        return not row["lease"] or row["lease"] in self._desk.board.leases

    def _programmes(self, visitor: Visitor) -> set[str]:
        with self._store.reading() as unit:
            roles = unit.roles(visitor.name)
        return {*roles.officer_of, *(programme for _, programme in roles.projects.values())}

    def history(self, visitor: Visitor, page: int, per_page: int) -> tuple[list[AnnouncementView], int]:
        """Return a page of all that was ever announced, with who did; for administrators."""
        self._need_admin(visitor)
        with self._store.reading() as unit:
            rows, total = unit.announcements(page, per_page)
        return [_told(row) for row in rows], total

    # --- changing ---------------------------------------------------------------------------------------------

    def add(self, visitor: Visitor, new: NewAnnouncement, key: str = "") -> AnnouncementView:
        """Announce something: administrators anything, officers to their programme.

        Raises `BadInputError` for dates in the wrong order and for two addressees, `NotFoundError` for one that there is
        not, `ConflictError` for a lease that the user does not hold.
        """
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            who.need_officer("" if new.user or not new.programme else new.programme)
            number = self._once(unit, visitor, key, new, lambda: self._add(unit, visitor, new))
            row = unit.announcement(number)
        self._forget()
        return _told(row)

    def _add(self, unit: Unit, visitor: Visitor, new: NewAnnouncement) -> int:
        now = self._clock.now()
        starts = now if new.starts is None else new.starts
        if new.ends is not None and new.ends <= max(starts, now):
            raise BadInputError("dates-past" if new.ends <= now else "dates-reversed", field="ends")
        if new.user and new.programme:
            raise BadInputError("announcement-two", field="programme")
        self._check_addressee(unit, new)
        values = new.model_dump(exclude_none=True)
        number = unit.add_announcement(at=now, actor=visitor.name, **{**values, "starts": starts})
        unit.note(
            "announcement-add", f"announcement:{number}", at=now, actor=visitor.name, programme=new.programme or "",
            user=new.user or "", after=values,
        )  # fmt: skip
        return number

    def _check_addressee(self, unit: Unit, new: NewAnnouncement) -> None:
        if new.programme:
            unit.programme(new.programme)
        if new.user:
            unit.user(new.user)
        if new.lease:
            if not new.user:
                raise BadInputError("announcement-no-user", field="user")
            lease = self._desk.board.leases.get(new.lease)
            if lease is None or lease.user != new.user:
                raise ConflictError("announcement-no-holder", user=new.user, lease=new.lease)

    def withdraw(self, visitor: Visitor, number: int) -> None:
        """Withdraw an announcement; once more changes nothing. Raises `NotFoundError`."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            if not (who.admin or who.officer_of):
                raise NotAllowedError("not-allowed")
            row = unit.announcement(number)
            _need_authority(who, row)
            now = self._clock.now()
            if unit.withdraw_announcement(number, now):
                unit.note(
                    "announcement-withdraw", f"announcement:{number}", at=now, actor=visitor.name,
                    programme=row["programme"], user=row["user"], before={"text": row["text"]},
                )  # fmt: skip
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._known = None


def _need_authority(who: Standing, row: dict[str, Any]) -> None:
    """Raise for an officer whose programme's it is not; what is not theirs to see looks as if it were not there."""
    if who.admin or row["programme"] in who.officer_of:
        return
    if row["programme"] or row["user"] not in {"", who.name}:
        raise NotFoundError("announcement-unknown", announcement=str(row["id"]))
    raise NotAllowedError("not-allowed")


def _over(row: dict[str, Any], now: int) -> bool:
    return row["ends"] is not None and row["ends"] <= now


def _told(row: dict[str, Any]) -> AnnouncementView:
    return AnnouncementView(**{**row, "id": str(row["id"])})


def _shown(row: dict[str, Any], lang: str) -> AnnouncementView:
    text = row["text_zh"] if lang == "zh-TW" and row["text_zh"] else row["text"]
    told = {name: value for name, value in row.items() if name not in HISTORY}
    return AnnouncementView(**{**told, "id": str(row["id"]), "text": text})
