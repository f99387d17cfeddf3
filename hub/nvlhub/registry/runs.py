"""Use cases of runs: planning, asking, deciding, moving, ending. Who may is checked here.

A run that is approved has a reservation and, where its programme charges the whole slot, money set aside: both come and
go with it in one transaction, or nothing does. Locks: the run, then the reservations of the pool, then awards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from nvlhub.dates import shown
from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NotAllowedError
from nvlhub.flow.course import Action, RunState, moved, phase
from nvlhub.flow.request import combined_factor
from nvlhub.flow.reservation import FARTHEST, NoRoom, Place
from nvlhub.flow.slot import LONGEST, SHORTEST, choose_for_seats, gpus_kept, paying, price, seats_held, slot_starts
from nvlhub.forms import NewRun, RunAsk, RunDecision, RunPatch, RunRoom, RunView, TrayPlace
from nvlhub.registry.awards import COOLING
from nvlhub.registry.codes import fresh_code, fresh_pseudonyms
from nvlhub.registry.courses import need_profile
from nvlhub.registry.guests import dismiss_all
from nvlhub.registry.office import check_match, etag
from nvlhub.registry.reservations import Reservations
from nvlhub.registry.teaching import Teacher, Teaching, times_of
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

MINUTES = {"warm_minutes": "warm", "flex_minutes": "flex", "grace_minutes": "grace", "no_show_minutes": "no_show"}
"""Fields of the forms in minutes -> columns in seconds."""
DECIDED_ON = frozenset({"starts", "ends", "seats", "gpus", "warm"})
"""What somebody who decides goes by: a run in which one of these changes has to be asked for again."""
EDITED = (
    "name", "zone", "starts", "ends", "seats", "gpus", "warm", "flex", "grace", "no_show", "roster_only", "note", "state",
)  # fmt: skip
"""What people edit of a run; the entity tag covers these."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """What a run would keep, or keeps: the time, its trays and their GPUs; `number` is the reservation's."""

    starts: int
    ends: int
    gpus: int = 0
    trays: tuple[Place, ...] = ()
    number: int | None = None

    def price(self, factor_milli: int) -> int:
        return price(self.gpus, self.ends - self.starts, factor_milli)


class Runs(Teaching):
    """Dated events of courses."""

    def __init__(self, desk: Desk, reservations: Reservations) -> None:
        super().__init__(desk)
        self._reservations = reservations

    # --- looking ----------------------------------------------------------------------------------------------

    def runs(
        self, visitor: Visitor, *, course: str = "", state: str = "", page: int = 1, per_page: int = 50
    ) -> tuple[list[RunView], int]:  # fmt: skip
        """Return a page of the runs that the visitor teaches or decides about, the latest start first."""
        with self._store.reading() as unit:
            teacher = self._teacher(unit, visitor)
            rows, total = unit.runs(
                teacher.named, teacher.projects, teacher.standing.officer_of, page, per_page, course=course, state=state
            )
            return self._views(unit, rows, teacher), total

    def run(self, visitor: Visitor, number: int) -> tuple[RunView, str]:
        """Return a run and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            row = unit.run(number)
            teacher = self._teacher(unit, visitor)
            self._need_sight(teacher, row, "run-unknown", run=str(number))
            return self._view(unit, row, teacher), _tag(row)

    def view_within(self, unit: Unit, visitor: Visitor, row: dict[str, Any]) -> RunView:
        """Return a run as the visitor sees it, in a transaction that does more."""
        return self._view(unit, row, self._teacher(unit, visitor))

    # --- planning ---------------------------------------------------------------------------------------------

    def add(self, visitor: Visitor, new: NewRun, key: str = "") -> RunView:
        """Make a draft of a run with its seats; with `dry_run`, only tell what it would need, have and cost.

        Raises `BadInputError` for times and shapes that cannot be, `ConflictError` for a course that is retired.
        """
        now = self._clock.now()
        with self._store.writing() as unit:
            course = self._course(unit, visitor, new.course)
            teacher = self._teacher(unit, visitor)
            if not teacher.teaches(course):
                raise NotAllowedError("not-allowed")
            if course["retired_at"] is not None:
                raise ConflictError("course-retired", course=new.course)
            facts = {
                **_columns(new.model_dump(exclude={"dry_run"})), "state": RunState.DRAFT.value, "made_by": visitor.name,
                "made_at": now,
            }  # fmt: skip

            def check() -> None:
                self._check_times(facts["starts"], facts["ends"], facts["zone"], now)
                self._check_shape(unit, facts["gpus"], course)

            if new.dry_run:
                check()
                programme = unit.programme(course["programme"])
                row = {**course, **facts, "id": 0, "code": "", "slot_charge": programme["slot_charge"], **_UNDECIDED}
                return self._view(unit, row, teacher)

            def do() -> int:
                check()
                number = unit.add_run(fresh_pseudonyms(new.seats), **facts, code=self._unused_code(unit))
                self._noted(unit, visitor, "run-add", None, unit.run(number))
                return number

            number = self._once(unit, visitor, key, new, do)
            return self._view(unit, unit.run(number), teacher)

    def change(self, visitor: Visitor, number: int, patch: RunPatch, match: str) -> tuple[RunView, str]:
        """Change a run. One that is approved moves with its reservation and its money, or not at all.

        Raises as :meth:`add` does, `ConflictError` where there is no room or no money for it then.
        """
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            check_match(_edited(before), match)
            row = self.change_within(unit, visitor, before, _columns(patch.model_dump(exclude_unset=True)))
            view = self._view(unit, row, self._teacher(unit, visitor))
        self._desk.capacity_changed()
        return view, _tag(row)

    def change_within(
        self, unit: Unit, visitor: Visitor, before: dict[str, Any], changes: dict[str, Any]
    ) -> dict[str, Any]:
        """Do the same in a transaction that does more, and return the run; `before` is it, locked, `changes` its columns."""
        now, number = self._clock.now(), before["id"]
        changes = {name: value for name, value in changes.items() if before[name] != value}
        state = moved(RunState(before["state"]), Action.EDIT)
        if before["state"] == RunState.REQUESTED and not DECIDED_ON & changes.keys():
            state = RunState.REQUESTED
        after = {**before, **changes}
        approved = state is RunState.APPROVED
        if approved and before["ends"] <= now:
            raise ConflictError("run-over", run=str(number))
        if {"starts", "ends", "zone"} & changes.keys():
            begun = approved and "starts" not in changes
            self._check_times(after["starts"], after["ends"], after["zone"], now, begun=begun)
        if "gpus" in changes:
            if approved:
                raise BadInputError("run-gpus-approved", field="gpus", gpus=before["gpus"])
            self._check_shape(unit, after["gpus"], unit.course(before["course"]))
        if approved and DECIDED_ON & changes.keys():
            self._move(unit, visitor, before, after, now)
        self._reseat(unit, before, after)
        unit.change_run(number, **changes, state=state.value)
        row = unit.run(number)
        if changes:
            self._noted(unit, visitor, "run-change", before, row)
        return row

    def new_code(self, visitor: Visitor, number: int) -> RunView:
        """Give a run another join code; the old one opens nothing any more."""
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            moved(RunState(before["state"]), Action.EDIT)
            unit.change_run(number, code=self._unused_code(unit))
            self._noted(unit, visitor, "run-code", before, before)
            return self._view(unit, unit.run(number), self._teacher(unit, visitor))

    def _unused_code(self, unit: Unit) -> str:
        while unit.run_by_code(code := fresh_code()) is not None:
            pass
        return code

    def _reseat(self, unit: Unit, before: dict[str, Any], after: dict[str, Any]) -> None:
        more = after["seats"] - before["seats"]
        if more > 0:
            taken = {seat["pseudonym"] for seat in unit.seats(before["id"])}
            unit.add_seats(before["id"], before["seats"] + 1, fresh_pseudonyms(more, taken))
        elif more < 0 and (used := unit.drop_seats(before["id"], after["seats"])):
            raise ConflictError("run-seats-taken", count=used, seats=after["seats"])

    # --- asking and deciding ----------------------------------------------------------------------------------

    def request(self, visitor: Visitor, number: int, ask: RunAsk) -> RunView:
        """Ask for a run to be approved. Raises `ConflictError` where there is no room for it, or no money for its slot."""
        now = self._clock.now()
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            state = moved(RunState(before["state"]), Action.REQUEST)
            self._need_time(before, now)
            slot = self._planned(unit, before, now)
            if before["slot_charge"] and slot.gpus:
                self._award_for(unit, before, slot, self._factor(unit, before))
            told = {"note": ask.note} if ask.note else {}
            unit.change_run(number, state=state.value, requested_by=visitor.name, requested_at=now, **told)
            after = unit.run(number)
            self._noted(unit, visitor, "run-request", before, after)
            return self._view(unit, after, self._teacher(unit, visitor))

    def decide(self, visitor: Visitor, number: int, decision: RunDecision) -> RunView:
        """Approve or refuse a run: for the programme's officers and administrators, as nobody decides for themselves.

        Approved, its trays are reserved and, where the programme charges the slot, its price is set aside: all or nothing.
        """
        now = self._clock.now()
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True, to_decide=True)
            self._need_no_interest(unit, visitor, before)
            state = moved(RunState(before["state"]), Action.APPROVE if decision.approve else Action.REFUSE)
            if decision.approve:
                self._need_time(before, now)
                self._keep(unit, visitor, before, now)
            unit.change_run(
                number, state=state.value, decided_by=visitor.name, decided_at=now, reason=decision.reason
            )  # fmt: skip
            after = unit.run(number)
            self._noted(unit, visitor, "run-approve" if decision.approve else "run-refuse", before, after)
            view = self._view(unit, after, self._teacher(unit, visitor))
        self._desk.capacity_changed()
        return view

    def _need_no_interest(self, unit: Unit, visitor: Visitor, run: dict[str, Any]) -> None:
        """Raise `NotAllowedError` for who asked, who teaches the course, or is, or was lately, in its project."""
        teacher, project = self._teacher(unit, visitor), run["project"]
        own = run["course"] in teacher.named or unit.was_member_since(
            project, visitor.name, self._clock.now() - COOLING
        )
        teacher.standing.need_no_interest(project, run["requested_by"], lately=own)

    def _need_time(self, run: dict[str, Any], now: int) -> None:
        """Raise `ConflictError` for a run that would be over before it is any use."""
        if run["ends"] < now + SHORTEST:
            raise ConflictError("run-over", run=str(run["id"]))

    # --- ending -----------------------------------------------------------------------------------------------

    def cancel(self, visitor: Visitor, number: int, ask: RunAsk) -> RunView:
        """Cancel a run whose slot has not begun: its trays are free, what was set aside goes back to the award.

        Whom it made a member is none any more, and their leases end, as where it is ended.
        One that is cancelled stays so. Raises `ConflictError` once the slot has begun: then it is closed.
        """
        now = self._clock.now()
        gone: list[str] = []
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            if before["state"] != RunState.CANCELLED:
                state = moved(RunState(before["state"]), Action.CANCEL)
                slot = self._kept(unit, before)
                if slot is not None:
                    if slot.starts <= now:
                        raise ConflictError("run-begun", run=str(number))
                    self._free(unit, visitor, before, slot, 0, now, "cancelled")
                unit.change_run(number, state=state.value, closed_at=now, **({"reason": ask.note} if ask.note else {}))
                gone = dismiss_all(unit, before, now)
                self._noted(unit, visitor, "run-cancel", before, unit.run(number))
            view = self._view(unit, unit.run(number), self._teacher(unit, visitor))
        self._desk.capacity_changed()
        self._desk.end_in_run(visitor, number)
        for user in gone:
            self._desk.end_in_project(visitor, before["project"], user)
        return view

    def close(self, visitor: Visitor, number: int) -> RunView:
        """End a run, now or after its end: its trays are free, what was kept until now is charged, the rest goes back.

        One that is closed stays so. Raises `ConflictError` before its slot begins: then it is cancelled.
        """
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            if before["state"] != RunState.CLOSED:
                self.close_within(unit, visitor, before)
            view = self._view(unit, unit.run(number), self._teacher(unit, visitor))
        self._desk.capacity_changed()
        return view

    def close_within(self, unit: Unit, visitor: Visitor, before: dict[str, Any]) -> None:
        """Do the same in a transaction that does more; `before` is the run, locked. The capacity has changed then."""
        now, number = self._clock.now(), before["id"]
        state = moved(RunState(before["state"]), Action.CLOSE)
        slot = self._kept(unit, before)
        begins = slot.starts if slot else slot_starts(times_of(before), 0)
        if now < begins:
            raise ConflictError("run-not-begun", run=str(number))
        if slot is not None and now < slot.ends:
            self._free(unit, visitor, before, slot, now - slot.starts, now, "closed")
        elif slot is not None:
            unit.end_slot(before, self._desk.pool, before["held"], at=now, actor=visitor.name, reason="closed")
        unit.change_run(number, state=state.value, closed_at=now)
        self._noted(unit, visitor, "run-close", before, unit.run(number))

    # --- room and money ---------------------------------------------------------------------------------------

    def _kept(self, unit: Unit, run: dict[str, Any]) -> _Slot | None:
        """Return what is reserved for a run; None: nothing is."""
        if run["reservation"] is None:
            return None
        row = unit.reservation(run["reservation"])
        return _Slot(row["starts"], row["ends"], row["gpus"], row["trays"], row["id"])

    def _planned(self, unit: Unit, run: dict[str, Any], now: int) -> _Slot:
        """Return what a run would have. Raises `ConflictError` with what would be possible where there is no room."""
        starts, ends = slot_starts(times_of(run), now), run["ends"]
        if not run["gpus"]:
            return _Slot(starts, ends)
        found = self._find(unit, run, starts, ends)
        if isinstance(found, NoRoom):
            self._no_room(run, found, starts)
        return _Slot(starts, ends, self._reservations.gpus_of(found), found)

    def _find(
        self, unit: Unit, run: dict[str, Any], starts: int, ends: int, kept: _Slot | None = None, mine: Sequence[Place] = ()
    ) -> tuple[Place, ...] | NoRoom:  # fmt: skip
        number, needed = kept.number if kept else None, gpus_kept(run["seats"], run["gpus"])

        def find(gpus: int) -> tuple[Place, ...] | NoRoom:
            own = mine if gpus == needed else ()
            return self._reservations.find(unit, gpus, starts, ends, number=number, mine=own)

        return choose_for_seats(run["seats"], run["gpus"], self._reservations.sizes(), find)

    def _no_room(self, run: dict[str, Any], found: NoRoom, starts: int) -> NoReturn:
        asked = {"gpus": gpus_kept(run["seats"], run["gpus"]), "most_gpus": found.largest}
        then = self._next_starts(run, found, starts)
        if then is None:
            raise ConflictError("run-no-room", **asked, next_starts=None)
        raise ConflictError("run-no-room-then", **asked, next_starts=then, next_start=shown(then, run["zone"]))

    def _next_starts(self, run: dict[str, Any], found: NoRoom, starts: int) -> int | None:
        """Return when the run itself could start, not its slot."""
        return None if found.next_starts is None else found.next_starts + run["starts"] - starts

    def _keep(self, unit: Unit, visitor: Visitor, run: dict[str, Any], now: int) -> None:
        """Reserve what a run needs, and set its price aside where the whole slot is charged."""
        unit.alone_with_reservations(self._desk.pool)
        slot = self._planned(unit, run, now)
        if not slot.gpus:
            return
        number = unit.add_reservation(
            slot.trays, pool=self._desk.pool, name=f"{run['title']}: {run['name']}"[:100], project=run["project"],
            gpus=slot.gpus, starts=slot.starts, ends=slot.ends, state="booked", note=f"run {run['id']}",
            made_by=visitor.name, made_at=now,
        )  # fmt: skip
        unit.change_run(run["id"], reservation=number)
        if run["slot_charge"]:
            self._set_aside(unit, visitor, run, slot, self._factor(unit, run), now)

    def _set_aside(
        self, unit: Unit, visitor: Visitor, run: dict[str, Any], slot: _Slot, factor_milli: int, now: int
    ) -> None:  # fmt: skip
        award = self._award_for(unit, run, slot, factor_milli)
        unit.hold_slot(run, award, slot.price(factor_milli), factor_milli, at=now, actor=visitor.name)

    def _award_for(self, unit: Unit, run: dict[str, Any], slot: _Slot, factor_milli: int) -> int:
        """Return the award that pays for a slot. Raises `ConflictError` where there is none."""
        units = slot.price(factor_milli)
        award = paying(unit.awards(run["project"], self._desk.pool), units, slot.starts, slot.ends)
        if award is None:
            left = self._left(unit, run, slot.starts, slot.ends)
            raise ConflictError("run-balance", project=run["project"], hold=units, left=left)
        return award.id

    def _left(self, unit: Unit, run: dict[str, Any], starts: int, ends: int) -> int:
        awards = unit.awards(run["project"], self._desk.pool)
        return max((one.left for one in awards if paying([one], 0, starts, ends)), default=0)

    def _factor(self, unit: Unit, run: dict[str, Any]) -> int:
        """Return the charge factor of a run's slot, in thousandths: as it was when it was approved, or is now."""
        if run["factor_milli"] is not None:
            return int(run["factor_milli"])
        programme = unit.programme(run["programme"])
        return combined_factor(unit.pool(self._desk.pool).factor_milli, programme["factor_milli"])

    def _free(
        self, unit: Unit, visitor: Visitor, run: dict[str, Any], slot: _Slot, seconds: int, now: int, why: str
    ) -> None:
        """Free the trays of a slot that was kept for so many seconds, pay for these, and give back the rest."""
        number = slot.number or 0
        if seconds > 0:
            unit.move_reservation(number, self._desk.pool, slot.starts, now, slot.gpus, slot.trays)
        else:
            unit.cancel_reservation(number)
        used = price(slot.gpus, seconds, run["factor_milli"] or 0)
        unit.end_slot(run, self._desk.pool, used, at=now, actor=visitor.name, reason=why)

    def _move(
        self, unit: Unit, visitor: Visitor, before: dict[str, Any], after: dict[str, Any], now: int
    ) -> None:  # fmt: skip
        """Move what is kept for an approved run, and what pays for it."""
        kept = self._kept(unit, before)
        begun = (kept.starts if kept else before["starts"]) <= now
        if begun and after["starts"] != before["starts"]:
            raise BadInputError("run-begun-starts", field="starts")
        if after["ends"] <= now:
            raise BadInputError("run-ends-past", field="ends", now=shown(now, after["zone"]))
        if kept is None:
            return
        needed = gpus_kept(after["seats"], after["gpus"])
        sizes: dict[str, int] = {}
        for domain, tray in kept.trays:
            sizes[domain] = sizes.get(domain, 0) + self._reservations.gpus_of([(domain, tray)])
        if needed > kept.gpus:
            raise BadInputError("run-seats-approved", field="seats", most=seats_held(after["gpus"], sizes.values()))
        starts = kept.starts if begun else slot_starts(times_of(after), now)
        smaller = needed < kept.gpus and not begun
        if (starts, after["ends"]) == (kept.starts, kept.ends) and not smaller:
            return
        unit.alone_with_reservations(self._desk.pool)
        mine = () if smaller else kept.trays
        found = self._find(unit, after, starts, after["ends"], kept, mine)
        if isinstance(found, NoRoom):
            self._no_room(after, found, starts)
        # Trays that stay count as they did, whatever has become of them.
        gpus = kept.gpus if found == kept.trays else self._reservations.gpus_of(found)
        slot = _Slot(starts, after["ends"], gpus, found, kept.number)
        unit.move_reservation(kept.number or 0, self._desk.pool, slot.starts, slot.ends, slot.gpus, slot.trays)
        if before["held"]:
            unit.end_slot(before, self._desk.pool, 0, at=now, actor=visitor.name, reason="moved")
            freed = {**unit.run(before["id"]), "ends": after["ends"]}
            self._set_aside(unit, visitor, freed, slot, before["factor_milli"], now)

    # --- rules ------------------------------------------------------------------------------------------------

    def _check_times(self, starts: int, ends: int, zone: str, now: int, *, begun: bool = False) -> None:
        """Check times; one that has `begun`, or keeps its start, keeps it though it lies in the past."""
        _zone(zone)
        if starts < now and not begun:
            raise BadInputError("run-past", field="starts", now=shown(now, zone))
        if starts > now + FARTHEST:
            raise BadInputError("run-too-far", field="starts", latest=shown(now + FARTHEST, zone))
        if ends <= starts:
            raise BadInputError("run-reversed", field="ends", starts=shown(starts, zone))
        if ends - starts > LONGEST:
            raise BadInputError("run-too-long", field="ends", latest=shown(starts + LONGEST, zone))
        if ends - starts < SHORTEST:
            raise BadInputError("run-too-short", field="ends", earliest=shown(starts + SHORTEST, zone))

    def _check_shape(self, unit: Unit, gpus: int, course: dict[str, Any]) -> None:
        """Check the GPUs of a seat: none, or enough for the course's profile, in a shape that a domain has."""
        if not gpus:
            return
        profile = need_profile(unit, course["profile"], course["project"], course["programme"], self._desk.pool)
        if gpus < profile.gpus:
            raise BadInputError("run-gpus-few", field="gpus", least=profile.gpus, profile=profile.display_name)
        if gpus > 4 and gpus % 4:
            raise BadInputError("run-gpus-trays", field="gpus", below=gpus - gpus % 4, above=gpus + 4 - gpus % 4)

    # --- telling ----------------------------------------------------------------------------------------------

    def _view(self, unit: Unit, row: dict[str, Any], teacher: Teacher) -> RunView:
        """Return one run, with its trays or, while nobody has decided, with whether there would be room."""
        [view] = self._views(unit, [row], teacher)
        if row["state"] in {RunState.APPROVED, RunState.CLOSED}:
            slot = self._kept(unit, row)
            return view.model_copy(update={"trays": _places(slot.trays if slot else ())})
        if row["state"] == RunState.CANCELLED or row["ends"] <= self._clock.now():
            return view
        return view.model_copy(update={"room": self._room(unit, row)})

    def _room(self, unit: Unit, row: dict[str, Any]) -> RunRoom:
        starts, ends = slot_starts(times_of(row), self._clock.now()), row["ends"]
        gpus = gpus_kept(row["seats"], row["gpus"])
        found = self._find(unit, row, starts, ends) if gpus else ()
        left = self._left(unit, row, starts, ends)
        if isinstance(found, NoRoom):
            return RunRoom(
                fits=False, starts=starts, ends=ends, gpus=gpus, trays=[], most_gpus=found.largest,
                next_starts=self._next_starts(row, found, starts), left=left,
            )  # fmt: skip
        of_trays = self._reservations.gpus_of(found)
        return RunRoom(
            fits=True, starts=starts, ends=ends, gpus=of_trays, trays=_places(found), most_gpus=of_trays,
            next_starts=None, left=left,
        )  # fmt: skip

    def _views(self, unit: Unit, rows: Sequence[dict[str, Any]], teacher: Teacher) -> list[RunView]:
        numbers = [row["id"] for row in rows]
        slots, seats, paid = unit.slots_of(numbers), unit.seat_counts(numbers), unit.paid_by_leases(numbers)
        now = self._clock.now()
        told = []
        for row in rows:
            slot = self._slot(row, slots.get(row["id"]), now)
            approved = row["state"] == RunState.APPROVED
            taken, ready = seats.get(row["id"], (0, 0))
            told.append(
                RunView(**{
                    **row, "id": str(row["id"]) if row["id"] else "", **{name: row[of] // 60 for name, of in MINUTES.items()},
                    "code": row["code"] if teacher.teaches(row) else "",
                    "phase": phase(times_of(row), now).value if approved else "", "taken": taken, "ready": ready,
                    "reservation": str(row["reservation"]) if row["reservation"] and slot.number else "",
                    "slot_charge": row["slot_charge"] if row["reservation"] is None else row["award"] is not None,
                    "slot_gpus": slot.gpus, "price": slot.price(self._factor(unit, row)),
                    "charged": row["charged"] + paid.get(row["id"], 0),
                })
            )  # fmt: skip
        return told

    def _slot(self, row: dict[str, Any], kept: dict[str, Any] | None, now: int) -> _Slot:
        """Return what is kept for a run, or what it would be."""
        if kept is not None and kept["state"] == "booked":
            return _Slot(kept["starts"], kept["ends"], kept["gpus"], number=kept["id"])
        starts = min(row["ends"], slot_starts(times_of(row), now))
        return _Slot(starts, row["ends"], gpus_kept(row["seats"], row["gpus"]))

    def _noted(
        self, unit: Unit, visitor: Visitor, action: str, before: dict[str, Any] | None, after: dict[str, Any]
    ) -> None:
        unit.note(
            action, f"run:{after['id']}", at=self._clock.now(), actor=visitor.name, programme=after["programme"],
            project=after["project"], before=_noted(before) if before else None, after=_noted(after),
        )  # fmt: skip


_UNDECIDED = {
    "reservation": None, "award": None, "held": 0, "charged": 0, "factor_milli": None, "holds": 0, "settled_at": None,
    "requested_by": "", "requested_at": None, "decided_by": "", "decided_at": None, "reason": "", "closed_at": None,
}  # fmt: skip
"""Columns of a run that is only tried."""


def _columns(told: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that fields of a form stand for."""
    return {
        MINUTES.get(name, name): value * 60 if name in MINUTES else value for name, value in told.items()
    }  # fmt: skip


def _edited(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in EDITED}


def _noted(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail tells of a run: all but its code."""
    return _edited(row) | {name: row[name] for name in ("course", "reservation", "award", "held", "charged", "reason")}


def _tag(row: dict[str, Any]) -> str:
    return etag(_edited(row))


def _places(trays: Sequence[Place]) -> list[TrayPlace]:
    return [TrayPlace(domain=domain, tray=tray) for domain, tray in trays]


def _zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises `BadInputError` for one that there is not."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadInputError("run-zone", field="zone", given=name) from None
