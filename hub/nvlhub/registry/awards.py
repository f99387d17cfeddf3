"""Use cases of requests, reviews and awards. Who may is checked here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvlhub.errors import BadInputError, ConflictError, NotFoundError
from nvlhub.flow import awarding
from nvlhub.flow.awarding import Action, RequestKind, RequestState, award_state, check_dates, dry_at, moved
from nvlhub.forms import (
    AwardPatch,
    AwardView,
    NewAward,
    NewRequest,
    RequestView,
    Review,
    ReviewView,
    Revocation,
)
from nvlhub.registry.office import Office, Standing, check_match, etag
from nvlhub.store import Unit
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR

EDITED = ("ends", "cap", "revoked_at")
"""What people edit of an award; the entity tag covers these."""
NEEDED = {
    RequestKind.NEW: ("pool", "gpu_hours", "starts", "ends"),
    RequestKind.RENEWAL: ("award", "pool", "gpu_hours", "starts", "ends"),
    RequestKind.EXTENSION: ("award", "ends"),
    RequestKind.SUPPLEMENT: ("award", "gpu_hours"),
    RequestKind.TRANSFER: ("award", "gpu_hours", "pool"),
}
ALLOWED = {
    RequestKind.NEW: {"cap"}, RequestKind.RENEWAL: {"cap"}, RequestKind.EXTENSION: set(),
    RequestKind.SUPPLEMENT: set(), RequestKind.TRANSFER: {"cap"},
}  # fmt: skip


COOLING = 30 * awarding.DAY
"""Seconds for which somebody who was a member of a project does not decide on it."""


class Awards(Office):
    """What is asked for, decided and awarded."""

    def _lately(self, unit: Unit, who: Standing, project: str) -> bool:
        return unit.was_member_since(project, who.name, self._clock.now() - COOLING)

    # --- awards -----------------------------------------------------------------------------------------------

    def awards(
        self, visitor: Visitor, *, project: str = "", programme: str = "", pool: str = "", page: int = 1,
        per_page: int = 50,
    ) -> tuple[list[AwardView], int]:  # fmt: skip
        """Return a page of the awards of the visitor's projects and programmes."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.award_rows(
                who.reach, officer_of=who.officer_of, project=project, programme=programme, pool=pool, page=page,
                per_page=per_page,
            )  # fmt: skip
            return self._views(unit, rows), total

    def award(self, visitor: Visitor, number: int) -> tuple[AwardView, str]:
        """Return an award and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            row = self._award(unit, self._standing(unit, visitor), number)
            return self._views(unit, [row])[0], _tag(row)

    def _award(self, unit: Unit, who: Standing, number: int, *, lock: bool = False) -> dict[str, Any]:
        row = unit.award(number, lock=lock)
        if not who.sees({"slug": row["project"], "programme": row["programme"]}):
            # As for a number that there is not: the project's name is not theirs to know.
            raise NotFoundError("award-unknown", award=number)
        return row

    def _views(self, unit: Unit, rows: list[dict[str, Any]]) -> list[AwardView]:
        now = self._clock.now()
        used = unit.used_since([row["id"] for row in rows], now - awarding.LOOK_BACK)
        return [self._view(row, used.get(row["id"], 0), now) for row in rows]

    def _view(self, row: dict[str, Any], used: int, now: int) -> AwardView:
        state = award_state(row["starts"], row["ends"], now, revoked=row["revoked_at"] is not None)
        left = row["awarded"] - row["charged"] - row["held"]
        over = min(awarding.LOOK_BACK, now - row["starts"])
        active = state is awarding.AwardState.ACTIVE
        return AwardView(
            id=str(row["id"]), project=row["project"], programme=row["programme"], pool=row["pool"], state=state,
            awarded=row["awarded"], returned=row["returned"], charged=row["charged"], held=row["held"], left=left,
            starts=row["starts"], ends=row["ends"], cap=row["cap"], revoked_at=row["revoked_at"],
            request=str(row["request"]) if row["request"] is not None else None,
            dry_at=dry_at(left + row["held"], used, over, row["ends"], now) if active else None,
        )  # fmt: skip

    def add_award(self, visitor: Visitor, new: NewAward, key: str = "") -> AwardView:
        """Award GPU-hours without a request: for administrators, and the programme's officers except to projects of theirs.

        Raises `BadInputError` for dates, `ConflictError` beyond what the programme may award.
        """
        now = self._clock.now()
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            project = unit.project(new.project)
            who.need_sight(project)
            who.need_officer(project["programme"])
            if not who.admin:
                who.need_no_interest(new.project, lately=self._lately(unit, who, new.project))

            def do() -> int:
                check_dates(new.starts, new.ends, now)
                number = unit.add_award(
                    new.project, new.pool, new.gpu_hours * MILLI_PER_GPU_HOUR, new.starts, new.ends, cap=new.cap,
                    at=now, actor=visitor.name,
                )  # fmt: skip
                self._noted(unit, visitor, "award-add", project, f"award:{number}", None, new.model_dump())
                return number

            number = self._once(unit, visitor, key, new, do)
            return self._views(unit, [unit.award(number)])[0]

    def change_award(self, visitor: Visitor, number: int, patch: AwardPatch, match: str) -> tuple[AwardView, str]:
        """Change the end or the cap of an award. Raises `BadInputError` for an end in the past."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            before = self._award(unit, who, number, lock=True)
            who.need_officer(before["programme"])
            check_match({name: before[name] for name in EDITED}, match)
            if not who.admin:
                who.need_no_interest(before["project"], lately=self._lately(unit, who, before["project"]))
            changes = patch.model_dump(exclude_unset=True)
            if "ends" in changes:
                self.check_end(unit, before, changes["ends"])
            unit.set_award(number, **changes)
            after = unit.award(number)
            self._noted_award(unit, visitor, "award-change", before, after)
            return self._views(unit, [after])[0], _tag(after)

    def check_end(self, unit: Unit, award: dict[str, Any], ends: int) -> None:
        """Check a new end: an award that is over stays over, and no lease outlives the award that pays for it."""
        now = self._clock.now()
        if award["revoked_at"] is not None or award["ends"] <= now:
            raise ConflictError("award-over", award=award["id"])
        if ends <= max(now, award["starts"]):
            raise BadInputError("dates-past" if ends <= now else "dates-reversed", field="ends")
        beyond = unit.paid_beyond(award["id"], ends, now)
        if beyond:
            raise ConflictError("award-ends-before-leases", award=award["id"], count=beyond)

    def revoke(self, visitor: Visitor, number: int, why: Revocation) -> AwardView:
        """Revoke an award: nothing starts on it any more, what nobody holds goes back to the programme at once.

        What is held stays paid for until those leases end; the rest of it goes back then.
        """
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            before = self._award(unit, who, number, lock=True)
            who.need_officer(before["programme"])
            now = self._clock.now()
            if before["revoked_at"] is not None or before["ends"] <= now:
                raise ConflictError("award-over", award=number)
            unit.set_award(number, revoked_at=now)
            left = before["awarded"] - before["charged"] - before["held"]
            if left:
                unit.give_back(before, left, f"revoked: {why.reason}", at=now, actor=visitor.name)
            after = unit.award(number)
            self._noted_award(unit, visitor, "award-revoke", before, {**after, "reason": why.reason})
            return self._views(unit, [after])[0]

    # --- requests ---------------------------------------------------------------------------------------------

    def requests(
        self, visitor: Visitor, *, state: str = "", project: str = "", programme: str = "", newest: bool = False,
        page: int = 1, per_page: int = 50,
    ) -> tuple[list[RequestView], int]:  # fmt: skip
        """Return a page of the requests of the visitor's projects and programmes, the oldest or the newest first."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.requests(
                who.reach, officer_of=who.officer_of, state=state, project=project, programme=programme,
                newest=newest, page=page, per_page=per_page,
            )  # fmt: skip
            return _requests(unit, rows), total

    def request(self, visitor: Visitor, number: int) -> tuple[RequestView, str]:
        """Return a request and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            row = self._request(unit, self._standing(unit, visitor), number)
            return _requests(unit, [row])[0], etag(row)

    def _request(self, unit: Unit, who: Standing, number: int, *, lock: bool = False) -> dict[str, Any]:
        row = unit.request(number, lock=lock)
        if not who.sees({"slug": row["project"], "programme": row["programme"]}):
            raise NotFoundError("request-unknown", request=number)
        return row

    def ask(self, visitor: Visitor, new: NewRequest, key: str = "") -> RequestView:
        """Ask for an award or a change of one: for those who answer for the project."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            project = unit.project(new.project)
            who.need_sight(project)
            who.need_lead(project)

            def do() -> int:
                values = self._asked(unit, new)
                number = unit.add_request(
                    **values, state=RequestState.SUBMITTED.value, asked_by=visitor.name, asked_at=self._clock.now()
                )
                self._noted(unit, visitor, "request-add", project, f"request:{number}", None, values)
                return number

            number = self._once(unit, visitor, key, new, do)
            return _requests(unit, [unit.request(number)])[0]

    def resubmit(self, visitor: Visitor, number: int, new: NewRequest, match: str) -> tuple[RequestView, str]:
        """Send a request again that was sent back for revision."""

        def change(unit: Unit, before: dict[str, Any]) -> dict[str, Any]:
            check_match(before, match)
            if new.project != before["project"]:
                raise BadInputError("request-project", field="project", project=before["project"])
            return {**self._asked(unit, new), "asked_by": visitor.name}

        return self._move(visitor, number, Action.SUBMIT, change)

    def withdraw(self, visitor: Visitor, number: int) -> RequestView:
        """Take a request back."""
        return self._move(visitor, number, Action.WITHDRAW, lambda unit, before: {})[0]

    def _move(
        self, visitor: Visitor, number: int, action: Action,
        change: Callable[[Unit, dict[str, Any]], dict[str, Any]],
    ) -> tuple[RequestView, str]:  # fmt: skip
        """Let those who answer for the project do something with its request."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            before = self._request(unit, who, number, lock=True)
            who.need_lead({"slug": before["project"], "programme": before["programme"]})
            state = moved(RequestState(before["state"]), action)
            unit.set_request(number, **change(unit, before), state=state.value)
            after = unit.request(number)
            self._noted_request(unit, visitor, f"request-{action}", before, after)
            return _requests(unit, [after])[0], etag(after)

    def review(self, visitor: Visitor, number: int, review: Review) -> RequestView:
        """Decide on a request, or send it back: for the programme's officers and administrators.

        Raises `NotAllowedError` for their own request or a project that they are a member of, `ConflictError` for one
        that is decided already and beyond what the programme may award.
        """
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            before = self._request(unit, who, number, lock=True)
            who.need_officer(before["programme"])
            lately = self._lately(unit, who, before["project"])
            who.need_no_interest(before["project"], before["asked_by"], lately=lately)
            state = moved(RequestState(before["state"]), Action(review.verdict))
            amount, result = before["amount"], None
            if review.gpu_hours is not None:
                amount = self._decided_amount(before, review)
            if state is RequestState.APPROVED:
                result = self._carry_out(unit, before, amount, visitor.name)
            told = amount if state is RequestState.APPROVED and amount else None
            unit.add_review(number, visitor.name, review.verdict, told, review.reason, self._clock.now())
            unit.set_request(number, state=state.value, result=result)
            after = unit.request(number)
            self._noted_request(unit, visitor, f"request-{review.verdict}", before, {**after, "reason": review.reason})
            return _requests(unit, [after])[0]

    def _decided_amount(self, asked: dict[str, Any], review: Review) -> int:
        amount = (review.gpu_hours or 0) * MILLI_PER_GPU_HOUR
        if review.verdict != "approve" or not asked["amount"]:
            raise BadInputError("review-no-amount", field="gpu_hours")
        if amount > asked["amount"]:
            most = asked["amount"] // MILLI_PER_GPU_HOUR
            raise BadInputError("review-too-much", field="gpu_hours", given=review.gpu_hours, most=most)
        return amount

    # --- what a request means ---------------------------------------------------------------------------------

    def _asked(self, unit: Unit, new: NewRequest) -> dict[str, Any]:
        """Return the columns of a request that can be meant. Raises `BadInputError` naming the field."""
        for name in NEEDED[new.kind]:
            if getattr(new, name) is None:
                raise BadInputError("request-needs", field=name, kind=new.kind.value)
        told = {
            name for name in ("pool", "gpu_hours", "starts", "ends", "cap", "award") if getattr(new, name) is not None
        }
        surplus = sorted(told - {*NEEDED[new.kind], *ALLOWED[new.kind]})
        if surplus:
            raise BadInputError("request-has-not", field=surplus[0], kind=new.kind.value)
        now = self._clock.now()
        if new.starts is not None and new.ends is not None:
            check_dates(new.starts, new.ends, now)
        award = self._awarded_to(unit, new) if new.award else None
        pool = new.pool or (award["pool"] if award else "")
        unit.pool(pool)
        if award and new.kind is RequestKind.TRANSFER and pool == award["pool"]:
            raise BadInputError("transfer-same-pool", field="pool", pool=pool)
        if award and new.kind is RequestKind.EXTENSION and (new.ends or 0) <= award["ends"]:
            raise BadInputError("extension-not-later", field="ends")
        return {
            "project": new.project, "kind": new.kind.value, "pool": pool, "starts": new.starts, "ends": new.ends,
            "amount": (new.gpu_hours or 0) * MILLI_PER_GPU_HOUR, "cap": new.cap,
            "award": award["id"] if award else None, "reasons": new.reasons,
        }  # fmt: skip

    def _awarded_to(self, unit: Unit, new: NewRequest) -> dict[str, Any]:
        """Return the award that a request is about. Raises `BadInputError` for another project's."""
        award = unit.award_in(new.project, int(new.award or 0))
        if award is None:
            raise BadInputError("award-of-other", field="award", award=new.award, project=new.project)
        if new.kind is not RequestKind.RENEWAL:
            self._check_going_on(award)
        return award

    def _check_going_on(self, award: dict[str, Any]) -> None:
        now = self._clock.now()
        if award["revoked_at"] is not None or award["ends"] <= now:
            raise ConflictError("award-over", award=award["id"])

    def _carry_out(self, unit: Unit, asked: dict[str, Any], amount: int, actor: str) -> int:
        """Make an approved request come about; return the award that came of it."""
        kind, now = RequestKind(asked["kind"]), self._clock.now()
        if kind in {RequestKind.NEW, RequestKind.RENEWAL}:
            check_dates(max(asked["starts"], now), asked["ends"], now)
            return unit.add_award(
                asked["project"], asked["pool"], amount, asked["starts"], asked["ends"], cap=asked["cap"], at=now,
                actor=actor, request=asked["id"],
            )  # fmt: skip
        if kind is RequestKind.TRANSFER:
            # It changes two budgets: one of a programme at a time, so that no two wait for each other's.
            unit.programme(asked["programme"], lock=True)
        award = unit.award(asked["award"], lock=True)
        self._check_going_on(award)
        if kind is RequestKind.EXTENSION:
            unit.set_award(award["id"], ends=max(asked["ends"], award["ends"]))
            return int(award["id"])
        if kind is RequestKind.SUPPLEMENT:
            unit.supplement(award, amount, ref=f"request-{asked['id']}", at=now, actor=actor)
            return int(award["id"])
        left = award["awarded"] - award["charged"] - award["held"]
        if left < amount:
            raise ConflictError("transfer-balance", award=award["id"], left=left, awarded=amount)
        # Two budgets change: one after the other they would be locked in the order of the transfer.
        unit.budgets(asked["programme"], lock=True)
        unit.give_back(award, amount, f"transfer by request {asked['id']}", at=now, actor=actor)
        return unit.add_award(
            asked["project"], asked["pool"], amount, award["starts"], award["ends"], cap=asked["cap"], at=now,
            actor=actor, request=asked["id"],
        )  # fmt: skip

    # --- audit ------------------------------------------------------------------------------------------------

    def _noted(
        self, unit: Unit, visitor: Visitor, action: str, project: dict[str, Any], what: str,
        before: dict[str, Any] | None, after: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        unit.note(
            action, what, at=self._clock.now(), actor=visitor.name, before=before, after=after,
            programme=project["programme"], project=project["slug"],
        )  # fmt: skip

    def _noted_award(
        self, unit: Unit, visitor: Visitor, action: str, before: dict[str, Any], after: dict[str, Any]
    ) -> None:  # fmt: skip
        project = {"slug": before["project"], "programme": before["programme"]}
        self._noted(unit, visitor, action, project, f"award:{before['id']}", before, after)

    def _noted_request(
        self, unit: Unit, visitor: Visitor, action: str, before: dict[str, Any], after: dict[str, Any]
    ) -> None:  # fmt: skip
        project = {"slug": before["project"], "programme": before["programme"]}
        self._noted(unit, visitor, action, project, f"request:{before['id']}", before, after)


def _tag(row: dict[str, Any]) -> str:
    return etag({name: row[name] for name in EDITED})


def _requests(unit: Unit, rows: list[dict[str, Any]]) -> list[RequestView]:
    said = unit.reviews([row["id"] for row in rows])
    return [
        RequestView(
            **{name: value for name, value in row.items() if name not in {"id", "award", "result"}}, id=str(row["id"]),
            award=str(row["award"]) if row["award"] is not None else None,
            result=str(row["result"]) if row["result"] is not None else None,
            reviews=[
                ReviewView(**{name: one[name] for name in ReviewView.model_fields}) for one in said[row["id"]]
            ],
        )
        for row in rows
    ]  # fmt: skip
