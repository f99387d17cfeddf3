"""Routes of the ledger and the audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from nvlhub.api.document import MISSING
from nvlhub.api.doors import Here, Key, Page, PerPage, Who, listed
from nvlhub.flow.settlement import Entry
from nvlhub.forms import AuditView, Correction, Listed, Proof, Replayed, TransactionView
from nvlhub.wire import LeaseView

router = APIRouter()
Since = Annotated[int, Query(ge=0, le=2**40, description="Unix seconds.")]


@router.get("/ledger", responses=MISSING)
def ledger(
    here: Here, who: Who, lease: Annotated[str, Query(max_length=64, pattern="^[!-~]*$")] = "",
    award: Annotated[int | None, Query(ge=1, le=2**53)] = None, entry: Entry | None = None, since: Since = 0,
    page: Page = 1, per_page: PerPage = 50,
) -> Listed[TransactionView]:  # fmt: skip
    """List transactions with their postings, in the order of writing."""
    rows, total = here.registry.ledger.transactions(
        who, lease=lease, award=award, entry=entry.value if entry else "", since=since, page=page, per_page=per_page
    )
    return listed(rows, page, per_page, total)


@router.get("/ledger/verify")
def verify(here: Here, who: Who) -> Proof:
    """Prove the ledger right, or say what is broken."""
    return here.registry.ledger.verify(who)


@router.get("/ledger/replay")
def replay(here: Here, who: Who) -> Replayed:
    """Play the whole journal again from its beginning: no account was ever overdrawn, and all is as it is stored."""
    return here.registry.ledger.replay(who)


@router.post("/ledger/corrections", status_code=201)
def correct(here: Here, who: Who, body: Correction, idempotency_key: Key = "") -> LeaseView:
    """Charge a settled lease more, or give it back, by a compensating entry."""
    return here.registry.ledger.correct(who, body, idempotency_key)


@router.get("/audit")
def audit(
    here: Here, who: Who, object: Annotated[str, Query(max_length=300, pattern="^[^\\x00]*$")] = "",  # noqa: A002
    actor: Annotated[str, Query(max_length=255, pattern="^[^\\x00]*$")] = "",
    action: Annotated[str, Query(max_length=40, pattern="^[^\\x00]*$")] = "", since: Since = 0, page: Page = 1,
    per_page: PerPage = 50,
) -> Listed[AuditView]:  # fmt: skip
    """List who changed what of the visitor's business, the newest first."""
    rows, total = here.registry.ledger.audit(
        who, what=object, actor=actor, action=action, since=since, page=page, per_page=per_page
    )  # fmt: skip
    return listed(rows, page, per_page, total)
