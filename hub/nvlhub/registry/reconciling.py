"""Use cases of reconciliation: the engine's own records against the ledger. For administrators alone.

An engine may be slow to tell what it ran, so nobody waits for it but the request that asked: not the run loop, and no
writer, because it is read before anything is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from nvlhub.engines.base import EngineError
from nvlhub.errors import BadInputError, ConflictError, FailedError
from nvlhub.flow.lease import Lease
from nvlhub.flow.reconciliation import (
    Action,
    Charged,
    Closing,
    Difference,
    DifferenceKind,
    Record,
    compare,
    correction,
    rule,
)
from nvlhub.forms import DifferenceClosing, DifferenceView, NewReconciliation, Reconciliation
from nvlhub.registry.office import Office, fresh_ref
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

logger = logging.getLogger(__name__)

DAY = 86_400
TOLERANCE = 10
"""Seconds on each GPU: an end that is asked for politely takes some, and nobody pays for them."""
SHOWN = 200
"""Differences that a run answers with; the others are on the pages of the list."""
RULE = "rule"
"""Who closed what nobody had to decide."""


class Reconciling(Office):
    """What the engine ran against what was charged."""

    def run(self, visitor: Visitor, new: NewReconciliation) -> Reconciliation:
        """Compare the leases that ended since a time, write down what differs, and give back what the rule says.

        Raises `BadInputError` for a time to come, `FailedError` when the engine cannot tell what it ran.
        """
        now = self._clock.now()
        since = now - DAY if new.since is None else new.since
        if since > now:
            raise BadInputError("since-future", field="since", given=since, most=now)
        counts = dict.fromkeys(DifferenceKind, 0)
        kept: list[Difference] = []
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_admin()
            doubted = unit.open_differences(self._desk.pool)
            for judged in self._compared(unit, since, now):
                counts[judged.kind] += 1
                if judged.kind is not DifferenceKind.MATCHED or judged.lease_id in doubted:
                    kept.append(judged)
        # One transaction each: a lease or an award is kept from the run loop for a moment only.
        numbers = [number for judged in kept for number in self._take(visitor, judged, now)]
        with self._store.reading() as unit:
            found, _ = unit.differences(self._desk.pool, numbers=numbers[:SHOWN], per_page=SHOWN)
            _, left = unit.differences(self._desk.pool, state="open", per_page=1)
        return Reconciliation(
            since=since, at=now, tolerance=TOLERANCE, counts=counts, open=left, found=[_view(row) for row in found]
        )

    def _compared(self, unit: Unit, since: int, now: int) -> Iterator[Difference]:
        """Yield the judgements on the leases that ended since then.

        The order keeps what goes on meanwhile out of them: `unit` sees the ledger as it was before the engine is
        asked, so every lease that is settled there has all its records; and a task that began since is looked for in
        the ledger as it is afterwards.
        """
        first = unit.first_asked(self._desk.pool, since)
        # All runs of a lease, even where the engine's clock is behind ours.
        records = self._records((since if first is None else min(first, since)) - DAY)
        handles = unit.handles(sorted({record.lease_id for record in records}))
        records = [record for record in records if record.is_of(handles.get(record.lease_id, {}))]
        others = self._known(sorted({record.lease_id for record in records}), since)
        yield from compare(chain(unit.charged_since(self._desk.pool, since), others), records, TOLERANCE, now)

    def _records(self, since: int) -> list[Record]:
        engine = self._desk.engine
        try:
            return list(engine.records(max(0, since)))
        except EngineError as error:
            logger.warning("engine %s cannot tell what it ran: %s", engine.name, error)
            raise FailedError("engine-records", engine=engine.name) from error

    def _known(self, lease_ids: list[str], before: int) -> Iterator[Charged]:
        with self._store.reading() as unit:
            yield from unit.known(lease_ids, before)

    def _take(self, visitor: Visitor, judged: Difference, now: int) -> list[int]:
        """Write down a judgement; return the number of the difference, if it is one.

        What was found of the same lease before and is so no more is closed.
        """
        pool = self._desk.pool
        with self._store.writing() as unit:
            before = unit.differences_of(pool, judged.lease_id)
            numbers = []
            if judged.kind is not DifferenceKind.MATCHED:
                row = unit.find(pool, judged, now)
                numbers.append(int(row["id"]))
                closing = rule(judged)
                if row["state"] == "open" and closing is not None:
                    self._by_rule(unit, visitor, row, closing)
            for row in before:
                if row["state"] == "open" and row["kind"] != judged.kind.value:
                    over = Closing(Action.ACCEPT, f"no longer so: it is {judged.kind} now")
                    self._close(unit, visitor, row, over, unit.lease(row["lease"]), 0, RULE)
        return numbers

    def _by_rule(self, unit: Unit, visitor: Visitor, row: dict[str, Any], closing: Closing) -> None:
        lease = unit.lease(row["lease"])
        amount = self._owed(unit, row, lease)
        # Somebody else may have given it back since the ledger was read; never is anything charged here.
        if amount < 0:
            self._close(unit, visitor, row, closing, lease, amount, RULE)

    def _owed(self, unit: Unit, row: dict[str, Any], lease: Lease | None) -> int:
        return correction(unit.paid(row["lease"]), row["engine"], lease.factor_milli) if lease else 0

    def _close(
        self, unit: Unit, visitor: Visitor, row: dict[str, Any], closing: Closing, lease: Lease | None, amount: int,
        by: str,
    ) -> None:  # fmt: skip
        """Close a difference, with the compensating entry of `amount` in the same transaction."""
        now, written = self._clock.now(), ""
        if amount and lease is not None:
            settled, why = f"settle:{lease.id}", f"difference {row['id']}: {closing.reason}"
            written = unit.correct(lease, amount, settled, why, ref=fresh_ref(), at=now, actor=by)
        unit.close_difference(row["id"], by=by, at=now, reason=closing.reason, correction=written)
        whose = {"programme": lease.programme, "project": lease.project, "user": lease.user} if lease else {}
        unit.note(
            f"difference-{closing.action}", f"difference:{row['id']}", at=now, actor=visitor.name,
            before={name: row[name] for name in ("lease", "kind", "ledger", "engine", "state")},
            after={"state": "closed", "closed_by": by, "reason": closing.reason, "transaction": written}, **whose,
        )  # fmt: skip

    def differences(
        self, visitor: Visitor, *, state: str = "open", page: int = 1, per_page: int = 50
    ) -> tuple[list[DifferenceView], int]:
        """Return a page of what was found, the newest first. `state`: open, closed or all."""
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_admin()
            rows, total = unit.differences(self._desk.pool, state=state, page=page, per_page=per_page)
        return [_view(row) for row in rows], total

    def close(self, visitor: Visitor, number: int, new: DifferenceClosing) -> DifferenceView:
        """Close a difference as a person has decided.

        Raises `NotFoundError`, and `ConflictError` for one that is closed, for a correction of what has no end or no lease
        yet, and for one that the award cannot pay: that difference stays open.
        """
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            row = unit.difference(number, lock=True)
            if row["state"] != "open":
                raise ConflictError("difference-closed", difference=number, closed_by=row["closed_by"])
            lease, amount = unit.lease(row["lease"]), 0
            if new.action is Action.CORRECT:
                if row["kind"] == DifferenceKind.STILL_RUNNING:
                    raise ConflictError("difference-running", lease=row["lease"])
                if lease is None:
                    raise ConflictError("difference-no-lease", difference=number)
                amount = self._owed(unit, row, lease)
            try:
                self._close(unit, visitor, row, Closing(new.action, new.reason), lease, amount, visitor.name)
            except ConflictError as error:
                if error.slug != "correct-balance":
                    raise
                raise ConflictError("difference-balance", lease=row["lease"], held=amount) from error
            [after], _ = unit.differences(self._desk.pool, numbers=[number])
        return _view(after)


def _view(row: dict[str, Any]) -> DifferenceView:
    return DifferenceView(**{**row, "id": str(row["id"]), "project": row["project"] or "", "user": row["user"] or ""})
