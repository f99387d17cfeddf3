"""Use cases of learners: a code opens a seat, and the seat is theirs to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvlhub.dates import shown
from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NotFoundError
from nvlhub.flow.course import Admission, RunState, admission, frees_at, landing, seat_state
from nvlhub.forms import OwnSeat, Progress, SeatName
from nvlhub.forms.seats import Message
from nvlhub.registry.codes import normalised
from nvlhub.registry.guests import welcome
from nvlhub.registry.office import Office
from nvlhub.registry.teaching import times_of
from nvlhub.registry.tries import Tries
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

SEEN_EVERY = 30
"""Seconds after which it is saved again that somebody is there."""
MESSAGES = 20
NO_RUN: dict[str, Any] = {
    "id": 0, "state": RunState.DRAFT.value, "starts": 0, "ends": 0, "warm": 0, "flex": 0, "grace": 0, "no_show": 0,
    "roster_only": False,
}  # fmt: skip
"""What a code stands for that is not the code of a run: it is looked at in the same way."""


class CodeWrongError(NotFoundError):
    """The code opens no seat for this user. It says neither why nor whether there is such a code."""


class Joining(Office):
    """Seats, for those who sit in them."""

    def __init__(self, desk: Desk, tries: Tries | None = None) -> None:
        super().__init__(desk)
        self._tries = tries or Tries()
        self.on_seat: Callable[[], None] = _nobody
        """Called when somebody was seated: their server is wanted."""

    # --- joining ----------------------------------------------------------------------------------------------

    def join(self, visitor: Visitor, code: str) -> OwnSeat:
        """Give the visitor a seat of the run whose code it is; who has one keeps it.

        Raises `TooManyError` for somebody who was wrong too often, `CodeWrongError` for a code that opens nothing for
        them, `ConflictError` before and after its time, and where no seat is free.
        """
        self._tries.begin(visitor.name)
        now = self._clock.now()
        with self._store.reading() as unit:
            run = unit.run_by_code(normalised(code)[:12]) or NO_RUN
            found, _, _ = self._admission(unit, run, visitor, now)
        if found is Admission.WRONG:
            raise CodeWrongError("code-wrong")
        self._tries.forgiven(visitor.name)
        if found is Admission.EARLY:
            raise ConflictError("code-early", opens=shown(run["starts"] - run["flex"], run["zone"]))
        if found is Admission.LATE:
            raise ConflictError("code-late", ended=shown(run["ends"], run["zone"]))
        with self._store.writing() as unit:
            self._sit(unit, unit.run(run["id"], lock=True), visitor, now)
            seat = self._own(unit, visitor, run["id"])
        self.on_seat()
        return seat

    def _admission(
        self, unit: Unit, run: dict[str, Any], visitor: Visitor, now: int
    ) -> tuple[Admission, dict[str, Any] | None, dict[str, Any] | None]:
        """Return what the code of a run is good for, with the visitor's seat and row: as many questions whatever it is."""
        seat, row = unit.seat_of(run["id"], visitor.name), unit.roster_row(run["id"], visitor.name)
        found = admission(
            RunState(run["state"]), times_of(run), now, roster_only=run["roster_only"], listed=row is not None,
            seated=seat is not None, extra=seat["extra"] if seat else 0,
        )  # fmt: skip
        return found, seat, row

    def _sit(self, unit: Unit, run: dict[str, Any], visitor: Visitor, now: int) -> None:
        """Have the visitor sit in their seat, or in a free one."""
        found, seat, row = self._admission(unit, run, visitor, now)
        if found not in {Admission.SEATED, Admission.OPEN}:
            # It was shut in this moment.
            raise CodeWrongError("code-wrong")
        unit.know_user(visitor.name, now)
        number = seat["number"] if seat else self.take(unit, run, visitor.name, row, now)
        if number is None:
            frees = frees_at(times_of(run), now)
            if frees is None:
                raise ConflictError("run-full")
            raise ConflictError("run-full-until", frees=shown(frees, run["zone"]))
        first = seat is None or seat["seen_at"] is None
        made = welcome(unit, run, number, visitor.name, now)
        unit.change_seat(run["id"], number, seen_at=now)
        if first:
            # Not which seat: results stay by seat when names are removed, and the trail keeps names for ever.
            unit.note(
                "seat-join", f"run:{run['id']}", at=now, actor=visitor.name, programme=run["programme"],
                project=run["project"], user=visitor.name, before=None, after={"made_member": made},
            )  # fmt: skip

    def take(self, unit: Unit, run: dict[str, Any], user: str, row: dict[str, Any] | None, now: int) -> int | None:
        """Give a user a free seat, with what the roster says of them: that which they wish for, else any."""
        told = {"row": row["row"], "name": row["name"], "name_latin": row["name_latin"]} if row else {}
        wanted = row["seat"] if row else None
        number = unit.take_seat(run["id"], user, now, wanted, **told) if wanted is not None else None
        return number or unit.take_seat(run["id"], user, now, **told)

    def seat_roster(self, run: int, now: int) -> int:
        """Give seats to those on the roster of a run whom the portal knows; return how many got one.

        They are not there yet: their servers can be started before they come, and who does not come loses the seat.
        """
        with self._store.reading() as unit:
            if not unit.roster_unseated(run):
                return 0
        with self._store.writing() as unit:
            row = unit.run(run, lock=True)
            if row["state"] != RunState.APPROVED:
                return 0
            # Somebody may stand there twice.
            waiting = {listed["account"]: listed for listed in unit.roster_unseated(run)}
            return sum(self.take(unit, row, user, listed, now) is not None for user, listed in waiting.items())

    # --- the seat ---------------------------------------------------------------------------------------------

    def mine(self, visitor: Visitor) -> list[OwnSeat]:
        """Return the visitor's seats in runs that are not over, the earliest first."""
        now = self._clock.now()
        with self._store.reading() as unit:
            return [self._view(unit, row, now) for row in unit.seats_of(visitor.name, now)]

    def here(self, visitor: Visitor, run: int) -> OwnSeat:
        """Return the visitor's seat in a run, and remember that they are there. Raises `NotFoundError`.

        When the run is over it can still be looked at: what came of it stands there.
        """
        now = self._clock.now()
        with self._store.reading() as unit:
            seat = unit.seat_held(run, visitor.name)
            if seat is None:
                raise NotFoundError("seat-unknown", run=str(run))
            view = self._view(unit, seat, now)
        if view.state == "over":
            return view
        if seat["seen_at"] is None or now - seat["seen_at"] >= SEEN_EVERY:
            with self._store.writing() as unit:
                # One who was seated by the roster and comes without the code joins now.
                self._sit(unit, unit.run(run, lock=True), visitor, now)
        return view

    def hand(self, visitor: Visitor, run: int, *, up: bool) -> OwnSeat:
        """Raise the visitor's hand, or lower it; one that is up stays where it is in the queue."""

        def change(seat: dict[str, Any], now: int) -> dict[str, Any]:
            if not up:
                return {"hand_at": None, "helped_by": ""}
            return {} if seat["hand_at"] is not None else {"hand_at": now, "helped_by": ""}

        return self._changed(visitor, run, change)

    def progress(self, visitor: Visitor, run: int, progress: Progress) -> OwnSeat:
        """Note how far the visitor is, and what came of a check. Raises `BadInputError`."""
        told = progress
        if (told.step is None) != (told.steps is None) or (told.step or 0) > (told.steps or 0):
            raise BadInputError("progress-steps", field="step")
        if bool(told.check) != (told.ok is not None) or (told.step is None and not told.check):
            raise BadInputError("progress-check", field="check")

        def change(seat: dict[str, Any], now: int) -> dict[str, Any]:
            steps = {} if told.step is None else {"step": told.step, "steps": told.steps}
            return steps | ({"check_name": told.check, "check_ok": told.ok, "check_at": now} if told.check else {})

        return self._changed(visitor, run, change)

    def rename(self, visitor: Visitor, run: int, name: SeatName) -> OwnSeat:
        """Write the name on the certificate. Raises `ConflictError` once there is one."""

        def change(seat: dict[str, Any], now: int) -> dict[str, Any]:
            return {"name": name.name.strip(), "name_latin": name.name_latin.strip()}

        return self._changed(visitor, run, change, before_certificate=True)

    def _changed(
        self, visitor: Visitor, run: int, change: Callable[[dict[str, Any], int], dict[str, Any]], *,
        before_certificate: bool = False,
    ) -> OwnSeat:  # fmt: skip
        now = self._clock.now()
        with self._store.writing() as unit:
            seat = self._row(unit, visitor, run)
            if before_certificate and unit.certificate_of(run, visitor.name) is not None:
                raise ConflictError("seat-name-settled")
            if values := change(seat, now):
                unit.change_seat_of(run, seat["number"], visitor.name, seen_at=now, **values)
            return self._own(unit, visitor, run)

    # --- telling ----------------------------------------------------------------------------------------------

    def _row(self, unit: Unit, visitor: Visitor, run: int) -> dict[str, Any]:
        found = [row for row in unit.seats_of(visitor.name, self._clock.now()) if row["run"] == run]
        if not found:
            raise NotFoundError("seat-unknown", run=str(run))
        return found[0]

    def _own(self, unit: Unit, visitor: Visitor, run: int) -> OwnSeat:
        return self._view(unit, self._row(unit, visitor, run), self._clock.now())

    def _view(self, unit: Unit, row: dict[str, Any], now: int) -> OwnSeat:
        certificate = unit.certificate_of(row["run"], row["user"])
        return OwnSeat(
            run=str(row["run"]), course=row["course"], title=row["title"], title_zh=row["title_zh"],
            run_name=row["run_name"], seat=row["number"], pseudonym=row["pseudonym"], name=row["name"],
            name_latin=row["name_latin"], zone=row["zone"], starts=row["starts"], ends=row["ends"] + row["extra"],
            grace=row["grace"], now=now, failed=row["failed"],
            state="over" if row["state"] == RunState.CLOSED else seat_state(
                times_of(row), now, warm_at=row["warm_at"], ready_at=row["ready_at"], failed=row["failed"],
                extra=row["extra"],
            ),
            opens=landing(
                row["user"], row["run"], folder=row["course"], repository=row["repository"], commit=row["commit"],
                opens=row["opens"],
            ),
            hand_at=row["hand_at"], helped_by=row["helped_by"], step=row["step"], steps=row["steps"],
            check_name=row["check_name"], check_ok=row["check_ok"], assessed=bool(row["assessed"]),
            certificate=certificate["id"] if certificate else "",
            messages=[Message(**message) for message in unit.told(row["run"], row["number"], MESSAGES)],
        )  # fmt: skip


def _nobody() -> None:
    pass
