"""Routes of reconciliation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from nvlhub.api.doors import Here, Order, Page, PerPage, Who, listed
from nvlhub.forms import DifferenceClosing, DifferenceView, Listed, NewReconciliation, Reconciliation

router = APIRouter()


@router.post("/reconciliations")
def reconcile(here: Here, who: Who, body: NewReconciliation) -> Reconciliation:
    """Compare the engine's own records with the ledger; what was charged beyond them is given back at once."""
    return here.registry.reconciling.run(who, body)


@router.get("/differences")
def differences(
    here: Here, who: Who, state: Annotated[str, Query(pattern="^(open|closed|all)$")] = "open", page: Page = 1,
    per_page: PerPage = 50,
) -> Listed[DifferenceView]:  # fmt: skip
    """List where the engine's records and the ledger differ, the newest first."""
    rows, total = here.registry.reconciling.differences(who, state=state, page=page, per_page=per_page)
    return listed(rows, page, per_page, total)


@router.post("/differences/{number}/close")
def close(here: Here, who: Who, number: Order, body: DifferenceClosing) -> DifferenceView:
    """Close a difference: accept it, or correct the ledger."""
    return here.registry.reconciling.close(who, number, body)
