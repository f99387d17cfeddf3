"""Forms of the journal, its proofs, corrections and the audit trail."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nvlhub.forms.base import Reason
from nvlhub.wire import Strict, View


class PostingView(View):
    """An amount into an account (negative: out of it); milli-GPU-seconds."""

    account: str
    amount: int


class TransactionView(View):
    """One transaction of the journal; its postings sum to zero."""

    id: int
    key: str
    entry: str
    at: int
    actor: str
    award: int | None
    lease: str
    corrects: str
    reason: str
    postings: list[PostingView]


class BrokenView(View):
    """An invariant that does not hold, and where."""

    invariant: str
    detail: str


class Proof(View):
    """What ``verify`` found."""

    ok: bool
    transactions: int
    broken: list[BrokenView]


class Replayed(View):
    """What came of playing the whole journal again from its beginning."""

    ok: bool
    transactions: int
    postings: int
    accounts: int
    """Accounts that hold something at the end."""
    missing: int
    """Numbers between the first and the last transaction that none has."""
    broken: list[BrokenView]
    warnings: list[BrokenView]
    """What is unusual and proves nothing wrong."""


class Correction(Strict):
    """Body of ``POST /ledger/corrections``: charge a settled lease more, or give it back (negative).

    `gpu_seconds` at charge factor 1.0.
    """

    lease: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
    gpu_seconds: Annotated[
        int, Field(strict=True, ge=-(10**12), le=10**12, json_schema_extra={"not": {"const": 0}})
    ]  # fmt: skip
    reason: Reason


class AuditView(View):
    """Who changed what; `hash` covers the line and the hash of the one before it."""

    id: int
    at: int
    actor: str
    action: str
    object: str
    programme: str
    project: str
    user: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str
