"""Use cases of an instructor while a run goes on, before it and after it. Who may is checked here: those who teach it.

What is asked of the hub, whose servers are not the database's to roll back, is asked when the transaction is through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, FailedError, NotFoundError, RefusedError
from nvlhub.explain import problem
from nvlhub.flow import rubric
from nvlhub.flow.course import RunState, phase
from nvlhub.flow.tile import Seat, SeatState, counted, figures, need, state_of
from nvlhub.forms import (
    BoardView,
    CheckView,
    ExtensionView,
    Helping,
    ItemView,
    NewMessage,
    Opened,
    ReadinessView,
    Refused,
    ResultsView,
    ResultView,
    RunExtension,
    RunMessage,
    RunView,
    SeatExtension,
    SeatView,
)
from nvlhub.material import Reach, reach
from nvlhub.registry.courses import need_profile
from nvlhub.registry.guests import dismiss, dismiss_all, fit, welcome
from nvlhub.registry.reservations import Reservations
from nvlhub.registry.runs import Runs
from nvlhub.registry.teaching import Teaching, times_of
from nvlhub.store import Unit
from nvlhub.text import LANGUAGES, say
from nvlhub.visitor import Visitor

TOLD = 5
"""Messages on the board."""
MINUTE = 60
PORTAL = Visitor("portal", admin=True)
"""Who ends runs that nobody ended."""


class Rooms(Protocol):
    """What is asked of the hub about the servers of seats."""

    def stop(self, user: str, run: int, *, remove: bool = False) -> object:
        """Stop the server of a seat; `remove`: for good, with what was shared of it."""

    def let_in(self, user: str, run: int, guest: str) -> bool:
        """Let somebody open the server of a seat with their own login; tell whether the hub did."""


class _TriedError(Exception):
    """Undoes what was only tried; carries what it would be."""

    def __init__(self, view: ExtensionView) -> None:
        super().__init__()
        self.view = view


class Boards(Teaching):
    """Runs, seen and steered by those who teach them."""

    def __init__(self, desk: Desk, runs: Runs, reservations: Reservations) -> None:
        super().__init__(desk)
        self._runs = runs
        self._reservations = reservations
        self.rooms: Rooms | None = None
        """The hub; None: there is none, and servers are left alone."""
        self.visits = False
        """Whether servers may be opened: only where a learner's has not the portal's origin, where it could act as the visitor."""
        self.forget: Callable[[str], None] = _keep
        """Removes a snapshot of what was handed in, by its digest."""
        self.on_seat: Callable[[], None] = _wait
        """Called when a server of a seat is wanted."""
        self.reach: Callable[[str, str], Reach] = reach
        """Asks a repository for a commit."""

    # --- looking ----------------------------------------------------------------------------------------------

    def board(
        self, visitor: Visitor, number: int, *, sort: str = "number", pseudonyms: bool = False
    ) -> BoardView:  # fmt: skip
        """Return a run as it stands now. `pseudonyms`: nothing in it tells who somebody is."""
        now = self._clock.now()
        with self._store.reading() as unit:
            row = self._run(unit, visitor, number)
            run = self._runs.view_within(unit, visitor, row)
            seats = unit.seats(number)
            listed = {one["row"]: one for one in unit.roster(number)}
            results = _results(unit.judged(number))
            messages = [] if pseudonyms else [RunMessage(**_message(one)) for one in unit.messages(number, TOLD)]
        state, times = RunState(row["state"]), times_of(row)
        leases = {lease.user: lease.id for lease in self._desk.leases_of_run(number)}
        told = []
        for seat in seats:
            facts = _seat(seat)
            stands = state_of(facts, state, times, now)
            view = _seat_view(
                seat, stands, row["ends"], listed.get(seat["row"], {}), results.get(seat["user"], _UNTRIED)
            )
            view = view.model_copy(update={"lease": leases.get(seat["user"], "")})
            told.append((facts, stands, _anonymous(view) if pseudonyms else view))
        if sort == "help":
            told.sort(key=lambda one: need(one[0], one[1]))
        if pseudonyms:
            run = run.model_copy(update={"made_by": "", "requested_by": "", "decided_by": "", "note": "", "reason": ""})
        return BoardView(
            run=run, now=now, counts=counted((facts, stands) for facts, stands, _ in told),
            seats=[view for _, _, view in told], messages=messages,
        )  # fmt: skip

    # --- telling and helping ----------------------------------------------------------------------------------

    def tell(self, visitor: Visitor, number: int, message: NewMessage) -> RunMessage:
        """Tell everybody in a run something, or one seat."""
        now = self._clock.now()
        text = message.text.replace("\r\n", "\n").strip()
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number)
            if run["redacted_at"] is not None or run["state"] != RunState.APPROVED:
                raise ConflictError("board-not-on", run=str(number))
            if message.seat is not None:
                unit.seat(number, message.seat)
            unit.add_message(number, message.seat, text, at=now, by=visitor.name)
            self._noted(unit, visitor, "run-message", run, seat=message.seat, length=len(text))
        return RunMessage(seat=message.seat, at=now, by=visitor.name, text=text)

    def help(self, visitor: Visitor, number: int, seat: int, helping: Helping) -> SeatView:
        """Go to a raised hand, or say that it is settled. Raises `ConflictError` where there is none, or another goes."""
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            row = unit.seat(number, seat)
            if row["hand_at"] is None:
                raise ConflictError("hand-down", seat=seat)
            if not helping.done and row["helped_by"] not in {"", visitor.name}:
                raise ConflictError("hand-helped", seat=seat, user=row["helped_by"])
            now = self._clock.now()
            told = {"hand_at": None, "helped_by": ""} if helping.done else {"helped_by": visitor.name}
            unit.change_seat(number, seat, **told)
            action = "seat-helped" if helping.done else "seat-help"
            self._noted(unit, visitor, action, run, seat=seat, waited=now - row["hand_at"])
        return self._seat(visitor, number, seat)

    def open(self, visitor: Visitor, number: int, seat: int) -> Opened:
        """Let the visitor into a learner's server, with their own login; the learner is told.

        Raises `ConflictError` where servers are not visited, `FailedError` where the hub does not let them in: nobody is
        told then.
        """
        with self._store.reading() as unit:
            run = self._run(unit, visitor, number)
            user = self._user(run, unit.seat(number, seat))
        if not self.visits:
            raise ConflictError("seat-no-visits")
        if self.rooms is None or not self.rooms.let_in(user, number, visitor.name):
            raise FailedError("seat-not-opened", seat=str(seat))
        text = " · ".join(say("board-opened", lang, user=visitor.name) for lang in LANGUAGES)
        with self._store.writing() as unit:
            unit.add_message(number, seat, text[:500], at=self._clock.now(), by=visitor.name)
            self._noted(unit, visitor, "seat-open", run, seat=seat)
        return Opened(path=f"user/{quote(user, safe='@~')}/class-{number}/lab")

    # --- seats ------------------------------------------------------------------------------------------------

    def restart(self, visitor: Visitor, number: int, seat: int) -> SeatView:
        """Stop the server of a seat, so that it is started anew; files stay, kernels end."""
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            row = unit.seat(number, seat)
            user = self._user(run, row)
            unit.change_seat(number, seat, **_fresh())
            self._noted(unit, visitor, "seat-restart", run, seat=seat)
        self._start_anew(visitor, number, user)
        return self._seat(visitor, number, seat)

    def replace(self, visitor: Visitor, number: int, seat: int) -> SeatView:
        """Have a learner sit on another, free seat, with a server that is started anew. Raises `ConflictError`."""
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            unit.alone_with_seats(number)
            row = unit.seat(number, seat)
            user = self._user(run, row)
            to = unit.other_free_seat(number, seat)
            if to is None:
                raise ConflictError("seat-none-free")
            unit.move_seat(number, seat, to)
            unit.change_seat(number, to, **_fresh())
            self._noted(unit, visitor, "seat-replace", run, seat=seat, to=to)
        self._start_anew(visitor, number, user)
        return self._seat(visitor, number, to)

    def _start_anew(self, visitor: Visitor, number: int, user: str) -> None:
        self._desk.end_in_run(visitor, number, user)
        if self.rooms is not None:
            self.rooms.stop(user, number)
        self.on_seat()

    def release(self, visitor: Visitor, number: int, seat: int) -> SeatView:
        """Take a seat from whoever has it: what they handed in counts, their leases and their server end."""
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            unit.alone_with_seats(number)
            row = unit.seat(number, seat)
            user = self._user(run, row)
            unit.vacate(number, seat)
            gone = dismiss(unit, run, row, self._clock.now())
            self._noted(unit, visitor, "seat-release", run, seat=seat)
        self._desk.end_in_run(visitor, number, user)
        if gone:
            self._desk.end_in_project(visitor, run["project"], user)
        if self.rooms is not None:
            self.rooms.stop(user, number, remove=True)
        return self._seat(visitor, number, seat)

    def try_seat(self, visitor: Visitor, number: int) -> SeatView:
        """Have the visitor take a seat themselves, to see what learners will; a second time frees it.

        It needs no code and is possible before the code is accepted.
        """
        now = self._clock.now()
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            self._need_on(run)
            own = unit.seat_of(number, visitor.name)
            if own is None:
                unit.know_user(visitor.name, now)
                found = unit.take_seat(number, visitor.name, now)
                if found is None:
                    raise ConflictError("seat-none-free")
                taken = found
                welcome(unit, run, taken, visitor.name, now)
                unit.change_seat(number, taken, seen_at=now)
                self._noted(unit, visitor, "seat-try", run, seat=taken)
        if own is not None:
            return self.release(visitor, number, own["number"])
        self.on_seat()
        return self._seat(visitor, number, taken)

    def _seat(self, visitor: Visitor, number: int, seat: int) -> SeatView:
        return self.board(visitor, number).seats[seat - 1]

    def _user(self, run: dict[str, Any], seat: dict[str, Any]) -> str:
        """Return who has a seat of a run that goes on. Raises `ConflictError`."""
        self._need_on(run)
        if seat["user"] is None:
            raise ConflictError("seat-free", seat=seat["number"])
        return str(seat["user"])

    def _need_on(self, run: dict[str, Any]) -> None:
        if run["state"] != RunState.APPROVED:
            raise ConflictError("board-not-on", run=str(run["id"]))

    # --- time -------------------------------------------------------------------------------------------------

    def extend_seat(self, visitor: Visitor, number: int, seat: int, more: SeatExtension, lang: str) -> ExtensionView:
        """Give a seat more time beyond the end of the run; its leases go on where they can.

        Those that the slot pays for end with it; what is started anew then pays for itself.
        """
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            row = unit.seat(number, seat)
            user = self._user(run, row)
            extra = row["extra"] + more.minutes * MINUTE
            if extra > LONGEST_EXTRA:
                raise BadInputError("seat-extra-long", field="minutes", most_seconds=LONGEST_EXTRA - row["extra"])
            ends = run["ends"] + extra
            if ends <= self._clock.now():
                raise ConflictError("run-over", run=str(number))
            unit.change_seat(number, seat, extra=extra)
            # What was one after the other may be at once now.
            fit(unit, run["project"], user, self._clock.now())
            self._noted(unit, visitor, "seat-extend", run, seat=seat, minutes=more.minutes)
        # Its slot is paid for as a whole: time of a seat's own lies beyond it.
        told = say("board-extend-slot", lang) if run["award"] is not None else ""
        view = ExtensionView(run=str(number), ends=ends, fits=True, detail=told)
        return self._lengthened(visitor, number, view, lang, user)

    def extend(self, visitor: Visitor, number: int, more: RunExtension, lang: str) -> ExtensionView:
        """Give a run more time: its end, its reservation and its money move together, or nothing does.

        `dry_run` tells what it would do, why it cannot, and who else is on the trays. Raises `ConflictError`.
        """
        ends = 0  # it is told only where the run was found
        try:
            with self._store.writing() as unit:
                before = self._run(unit, visitor, number, lock=True)
                ends = before["ends"]
                self._need_on(before)
                ends = before["ends"] + more.minutes * MINUTE
                view = self._longer(unit, visitor, before, ends, tried=more.dry_run)
                self._noted(unit, visitor, "run-extend", before, minutes=more.minutes)
        except _TriedError as tried:
            return tried.view
        except RefusedError as error:
            if not more.dry_run or error.status != ConflictError.status:
                raise
            return ExtensionView(run=str(number), ends=ends, fits=False, detail=problem(error, lang).detail)
        self._desk.capacity_changed()
        return self._lengthened(visitor, number, view, lang)

    def _longer(self, unit: Unit, visitor: Visitor, before: dict[str, Any], ends: int, *, tried: bool) -> ExtensionView:
        """Move the end of a run. Raises `_TriedError`, which undoes it, where it is only tried."""
        kept = before["reservation"]
        had = unit.reservation(kept)["trays"] if kept is not None else ()
        after = self._runs.change_within(unit, visitor, before, {"ends": ends})
        trays = unit.reservation(kept)["trays"] if kept is not None else ()
        view = ExtensionView(
            run=str(before["id"]), ends=ends, fits=True, new_trays=set(had) != set(trays),
            price=self._runs.view_within(unit, visitor, after).price,
            displaced=self._reservations.displaced(trays, before["project"], before["ends"]),
        )  # fmt: skip
        if tried:
            raise _TriedError(view)
        return view

    def _lengthened(
        self, visitor: Visitor, number: int, view: ExtensionView, lang: str, user: str = ""
    ) -> ExtensionView:  # fmt: skip
        done, refused = self._desk.extend_in_run(visitor, number, view.ends, user, lang)
        told = [Refused(lease=lease, detail=problem(error, lang).detail) for lease, error in refused]
        return view.model_copy(update={"extended": done, "refused": told})

    # --- the end ----------------------------------------------------------------------------------------------

    def end(self, visitor: Visitor, number: int) -> RunView:
        """End a run: money and trays are given back, memberships undone, leases ended; its servers are stopped.

        One that has ended stays so. Raises as :meth:`nvlhub.registry.runs.Runs.close` does.
        """
        gone: list[str] = []
        with self._store.writing() as unit:
            before = self._run(unit, visitor, number, lock=True)
            if before["state"] != RunState.CLOSED:
                self._runs.close_within(unit, visitor, before)
                gone = dismiss_all(unit, before, self._clock.now())
                self._noted(unit, visitor, "run-end", before, memberships=len(gone))
            view = self._runs.view_within(unit, visitor, unit.run(number))
        self._desk.capacity_changed()
        self._desk.end_in_run(visitor, number)
        for user in gone:
            self._desk.end_in_project(visitor, before["project"], user)
        self.on_seat()
        return view

    def end_left_open(self) -> list[int]:
        """End the runs that nobody ended, when not even what is handed in late counts; return them."""
        with self._store.reading() as unit:
            over = unit.runs_left_open(self._clock.now())
        for number in over:
            self.end(PORTAL, number)
        return over

    def redact(self) -> list[int]:
        """Remove names, accounts, rosters, messages and what was handed in of runs whose days are over; return these.

        What was signed stays in certificates: that is what they are for.
        """
        now = self._clock.now()
        with self._store.reading() as unit:
            due = unit.runs_to_redact(now)
        for number in due:
            with self._store.writing() as unit:
                run = unit.run(number, lock=True)
                snapshots = unit.redact_run(number, now)
                self._noted(unit, PORTAL, "run-redact", run, snapshots=len(snapshots))
            for name in snapshots:
                self.forget(name)
        return due

    # --- afterwards -------------------------------------------------------------------------------------------

    def results(self, visitor: Visitor, number: int) -> ResultsView:
        """Return what came of a run: everybody on the roster, and whoever else was there."""
        with self._store.reading() as unit:
            row = self._run(unit, visitor, number)
            run = self._runs.view_within(unit, visitor, row)
            seats, roster, tries = unit.seats(number), unit.roster(number), unit.judged(number)
        learners = _learners(seats, roster, tries)
        best = [one.best_milli for one in learners if one.best_milli is not None]
        items = [
            ItemView(
                **{name: getattr(one, name) for name in ("name", "title", "title_zh", "judged", "passed", "mean_milli")},
                passed_milli=round(1000 * one.passed / one.judged),
            )
            for one in figures(_best_items(tries))
        ]  # fmt: skip
        return ResultsView(
            run=run, came=sum(one.seat is not None for one in learners), tried=sum(one.attempts > 0 for one in learners),
            passed=sum(one.passed for one in learners), mean_milli=round(sum(best) / len(best)) if best else None,
            cost=run.charged, redacted_at=row["redacted_at"], learners=learners, items=items,
        )  # fmt: skip

    # --- before -----------------------------------------------------------------------------------------------

    def readiness(self, visitor: Visitor, number: int, lang: str) -> ReadinessView:
        """Return what is in order before the start, and what is not. Asks the repository, so that it takes its time."""
        with self._store.reading() as unit:
            run = self._run(unit, visitor, number)
            checks = [
                self._approved(run), self._profile(unit, run), self._capacity(unit, run), _roster(unit, run),
                ("code", "good" if run["code"] else "bad", "check-code", {"code": run["code"]}), self._assessment(unit, run, lang),
            ]  # fmt: skip
        checks.insert(1, self._material(run))
        told = [
            CheckView(name=name, verdict=verdict, detail=say(slug, lang, **members))
            for name, verdict, slug, members in checks
        ]
        return ReadinessView(run=str(number), ready=all(one.verdict != "bad" for one in told), checks=told)

    def _approved(self, run: dict[str, Any]) -> Check:
        if run["state"] != RunState.APPROVED:
            return "approved", "bad", "check-not-approved", {}
        over = phase(times_of(run), self._clock.now()) == "over"
        return "approved", "bad" if over else "good", "check-over" if over else "check-approved", {}

    def _material(self, run: dict[str, Any]) -> Check:
        if not run["repository"]:
            return "material", "good", "check-no-material", {}
        found = self.reach(run["repository"], run["commit"])
        verdict = {Reach.THERE: "good", Reach.UNASKED: "unknown"}.get(found, "bad")
        members = {"repository": run["repository"], "commit": run["commit"][:12]}
        return "material", verdict, f"check-material-{found}", members

    def _profile(self, unit: Unit, run: dict[str, Any]) -> Check:
        try:
            profile = need_profile(unit, run["profile"], run["project"], run["programme"], self._desk.pool)
        except (NotFoundError, BadInputError):
            return "profile", "bad", "check-profile-gone", {"profile": run["profile"], "project": run["project"]}
        if run["gpus"] and profile.gpus > run["gpus"]:
            return "profile", "bad", "check-profile-large", {"profile": run["profile"], "gpus": str(run["gpus"])}
        return "profile", "good", "check-profile", {"profile": profile.display_name}

    def _capacity(self, unit: Unit, run: dict[str, Any]) -> Check:
        if not run["gpus"]:
            return "capacity", "good", "check-no-gpus", {}
        kept = unit.reservation(run["reservation"]) if run["reservation"] is not None else None
        if kept is None or kept["state"] != "booked" or kept["ends"] < run["ends"]:
            return "capacity", "bad", "check-no-capacity", {}
        healthy = self._reservations.gpus_of(kept["trays"])
        slug = "check-capacity" if healthy >= kept["gpus"] else "check-capacity-less"
        return "capacity", "good" if healthy >= kept["gpus"] else "bad", slug, {"gpus": str(healthy)}

    def _assessment(self, unit: Unit, run: dict[str, Any], lang: str) -> Check:
        told = unit.course(run["course"])["assessment"]
        if not told:
            return "assessment", "good", "check-no-assessment", {}
        try:
            rubric.read(told)
        except BadInputError as error:
            return "assessment", "bad", "check-assessment-bad", {"why": problem(error, lang).detail}
        return "assessment", "good", "check-assessment", {}

    # --- audit ------------------------------------------------------------------------------------------------

    def _noted(self, unit: Unit, visitor: Visitor, action: str, run: dict[str, Any], **after: Any) -> None:
        # Seats by number, no names: these are removed after some days, and the trail never is.
        unit.note(
            action, f"run:{run['id']}", at=self._clock.now(), actor=visitor.name, programme=run["programme"],
            project=run["project"], after=after,
        )  # fmt: skip


Check = tuple[str, str, str, dict[str, str]]
"""Name, verdict, sentence and its members."""
LONGEST_EXTRA = 4 * 3600
"""Seconds beyond the end of a run that a seat may have, at most."""
_UNTRIED: dict[str, Any] = {"attempts": 0, "best_milli": None, "passed": False, "certificate": ""}


def _keep(_name: str) -> None:
    pass


def _wait() -> None:
    pass


def _message(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in RunMessage.model_fields}


def _fresh() -> dict[str, Any]:
    """Return what a seat is whose server is to be started, as if it never was."""
    return {"warm_at": None, "ready_at": None, "failed": "", "tries": 0}


def _seat(row: dict[str, Any]) -> Seat:
    return Seat(
        row["number"], row["user"] is not None, row["extra"], row["ready_at"], row["seen_at"], row["failed"], row["hand_at"],
        row["helped_by"], row["check_ok"],
    )  # fmt: skip


def _seat_view(
    row: dict[str, Any], state: SeatState, ends: int, listed: dict[str, Any], result: dict[str, Any]
) -> SeatView:
    return SeatView(
        **{name: row[name] for name in SeatView.model_fields if name in row and name not in {"user", "name", "name_latin"}},
        user=row["user"] or "", name=row["name"] or listed.get("name", ""),
        name_latin=row["name_latin"] or listed.get("name_latin", ""), student_no=listed.get("student_no", ""),
        group=listed.get("group", ""), state=state.value, ends=ends + row["extra"], **result,
    )  # fmt: skip


def _anonymous(view: SeatView) -> SeatView:
    """Return a seat without anything that tells whose it is; a certificate would name them."""
    hidden = {
        "user": "",
        "name": "",
        "name_latin": "",
        "student_no": "",
        "group": "",
        "lease": "",
        "failed": "",
        "certificate": "",
    }
    helped = "…" if view.helped_by else ""
    return view.model_copy(update={**hidden, "helped_by": helped})


def _results(tries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what came of what users handed in."""
    found: dict[str, dict[str, Any]] = {}
    for one in tries:
        result = found.setdefault(one["user"], dict(_UNTRIED))
        result["attempts"] += 1
        result["passed"] |= one["state"] == "passed"
        result["certificate"] = one["certificate"] or result["certificate"]
        if one["score_milli"] is not None:
            result["best_milli"] = max(one["score_milli"], result["best_milli"] or 0)
    return found


def _best_items(tries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the items of each learner's best attempt."""
    best: dict[str, dict[str, Any]] = {}
    for one in tries:
        if one["score_milli"] is not None and one["feedback"]:
            known = best.get(one["user"])
            if known is None or one["score_milli"] > known["score_milli"]:
                best[one["user"]] = one
    return [one["feedback"] for one in best.values()]


def _learners(
    seats: list[dict[str, Any]], roster: list[dict[str, Any]], tries: list[dict[str, Any]]
) -> list[ResultView]:  # fmt: skip
    """Return everybody of a run: by seat, then those who gave theirs up, then those who never came."""
    results, listed = _results(tries), {one["row"]: one for one in roster}
    learners = []
    for seat in seats:
        if seat["user"] is None:
            continue
        row = listed.pop(seat["row"], {})
        learners.append(
            ResultView(
                row=seat["row"], seat=seat["number"], pseudonym=seat["pseudonym"], user=_account(seat["user"]),
                student_no=row.get("student_no", ""), name=seat["name"] or row.get("name", ""),
                name_latin=seat["name_latin"] or row.get("name_latin", ""), group=row.get("group", ""),
                **results.pop(seat["user"], _UNTRIED),
            )
        )  # fmt: skip
    numbers = {one["user"]: one["seat"] for one in tries}
    by_user = {one["user"].lower(): one for one in listed.values() if one["user"]}
    for user, result in results.items():
        row = by_user.get(user.lower(), {})
        listed.pop(row.get("row"), None)
        told = {name: row.get(name, "") for name in ("student_no", "name", "name_latin", "group")}
        learners.append(ResultView(row=row.get("row"), seat=numbers[user], user=_account(user), **told, **result))
    for row in listed.values():
        told = {name: row[name] for name in ("student_no", "name", "name_latin", "group", "user")}
        learners.append(ResultView(row=row["row"], seat=None, **told))
    return learners


def _account(user: str) -> str:
    """Return an account; nothing for what stands in place of one that was removed."""
    return "" if user.startswith("~") else user


def _roster(unit: Unit, run: dict[str, Any]) -> Check:
    count = len(unit.roster(run["id"]))
    if run["roster_only"] and not count:
        return "roster", "bad", "check-roster-empty", {}
    if count > run["seats"]:
        return "roster", "bad", "check-roster-long", {"count": str(count), "seats": str(run["seats"])}
    return "roster", "good", "check-roster" if count else "check-roster-open", {"count": str(count)}
