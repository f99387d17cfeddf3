"""Forms of the engine's own records against the ledger."""

from __future__ import annotations

from typing import Literal

from nvlhub.flow.reconciliation import Action, DifferenceKind
from nvlhub.forms.base import Reason, Time
from nvlhub.wire import Strict, View


class NewReconciliation(Strict):
    """Body of ``POST /reconciliations``: the leases that ended since then are compared; left out: in the last 24 hours."""

    since: Time | None = None


class DifferenceView(View):
    """Where the engine's records and the ledger differ about a lease; in GPU-seconds, null: that side has nothing."""

    id: str
    pool: str
    lease: str
    project: str
    """Whose lease it is; empty where the ledger knows none."""
    user: str
    kind: DifferenceKind
    ledger: int | None
    engine: int | None
    found_at: int
    state: Literal["open", "closed"]
    closed_by: str
    """A user, or ``rule``."""
    closed_at: int | None
    reason: str
    correction: str
    """Key of the compensating transaction; empty: there is none."""


class Reconciliation(View):
    """What a reconciliation found; `tolerance` is in seconds on each GPU of a lease."""

    since: int
    at: int
    tolerance: int
    counts: dict[DifferenceKind, int]
    """How many leases and strangers were judged how."""
    open: int
    """Differences that wait for a person, older ones included."""
    found: list[DifferenceView]
    """Those of this run, 200 at most."""


class DifferenceClosing(Strict):
    """Body of ``POST /differences/{id}/close``.

    accept: both sides stay as they are. correct: a compensating entry makes the ledger equal to the engine.
    """

    action: Action
    reason: Reason
