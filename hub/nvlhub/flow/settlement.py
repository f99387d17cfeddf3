"""What happened to an award or a lease -> postings that sum to zero.

Accounts are named by what they hold: ``supply:<pool>`` (what the programmes got of it, negative),
``programme:<slug>:<pool>`` (what a programme can still award), ``award:<id>`` (what can be set aside), ``held:<id>`` (set aside by the award's running leases), ``charged:<pool>`` (what was used).
Amounts are milli-GPU-seconds, positive into the account. Nothing is ever changed or removed: what was wrong is
put right by a transaction that names the one it corrects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nvlhub.flow.lease import Lease
from nvlhub.flow.metering import charge
from nvlhub.wire import EndReason


class Entry(StrEnum):
    """Why a transaction was written."""

    BUDGET = "budget"
    AWARD = "award"
    SUPPLEMENT = "supplement"
    RETURN = "return"
    HOLD = "hold"
    EXTEND = "extend"
    SETTLE = "settle"
    REFUND = "refund"
    CORRECT = "correct"
    SLOT_HOLD = "slot-hold"
    SLOT_END = "slot-end"


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount into an account (negative: out of it)."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """Postings that belong together. `key` is unique: writing the same thing twice is impossible."""

    key: str
    entry: Entry
    award: int | None
    """None where no award is concerned: between the supply of a pool and a programme."""
    postings: tuple[Posting, ...]
    lease: str = ""
    corrects: str = ""
    """Key of the transaction that this one puts right."""
    reason: str = ""
    """In the words of whoever wrote it."""
    run: int | None = None
    """The run of a course whose slot it is about."""

    def __post_init__(self) -> None:
        if sum(posting.amount for posting in self.postings):
            raise ValueError(f"postings of {self.key} do not sum to zero")


def budget_postings(programme: str, pool: str, amount: int, ref: str) -> Transaction:
    """Give `amount` of a pool's supply to a programme, or take it back (negative); `ref` makes the key unique."""
    return Transaction(
        key=f"budget:{programme}:{pool}:{ref}",
        entry=Entry.BUDGET,
        award=None,
        postings=(Posting(f"supply:{pool}", -amount), Posting(programme_account(programme, pool), amount)),
    )


def programme_account(programme: str, pool: str) -> str:
    """Return the account of what a programme can still award in a pool."""
    return f"programme:{programme}:{pool}"


def award_postings(award: int, programme: str, pool: str, amount: int) -> Transaction:
    """Give `amount` from a programme to a new award."""
    return _granted(f"award:{award}", Entry.AWARD, award, programme, pool, amount)


def supplement_postings(award: int, programme: str, pool: str, amount: int, ref: str) -> Transaction:
    """Give an award `amount` more; `ref` makes the key unique."""
    return _granted(f"supplement:{award}:{ref}", Entry.SUPPLEMENT, award, programme, pool, amount)


def _granted(key: str, entry: Entry, award: int, programme: str, pool: str, amount: int) -> Transaction:
    return Transaction(
        key=key,
        entry=entry,
        award=award,
        postings=(Posting(programme_account(programme, pool), -amount), Posting(f"award:{award}", amount)),
    )


def return_postings(award: int, programme: str, pool: str, amount: int, before: int, reason: str) -> Transaction:
    """Give `amount` of an award back to its programme; `before` is what was given back before, which only grows."""
    return Transaction(
        key=f"return:{award}:{before}",
        entry=Entry.RETURN,
        award=award,
        postings=(Posting(f"award:{award}", -amount), Posting(programme_account(programme, pool), amount)),
        reason=reason,
    )


def correct_postings(lease: Lease, amount: int, corrects: str, ref: str, reason: str) -> Transaction:
    """Charge a settled lease `amount` more, or give it back (negative); `corrects` is what was wrong."""
    return Transaction(
        key=f"correct:{lease.id}:{ref}",
        entry=Entry.CORRECT,
        award=lease.award,
        lease=lease.id,
        corrects=corrects,
        postings=(Posting(f"award:{lease.award}", -amount), Posting(f"charged:{lease.pool}", amount)),
        reason=reason,
    )


def hold_postings(lease: Lease) -> Transaction:
    """Set aside what `lease` may use at most."""
    return _set_aside(f"hold:{lease.id}", Entry.HOLD, lease, lease.held)


def extend_postings(lease: Lease, units: int) -> Transaction:
    """Set aside `units` more; `lease` is as it is after the extension, which makes the key unique."""
    return _set_aside(f"extend:{lease.id}:{lease.seconds}", Entry.EXTEND, lease, units)


def _set_aside(key: str, entry: Entry, lease: Lease, units: int) -> Transaction:
    return Transaction(
        key=key,
        entry=entry,
        award=lease.award,
        lease=lease.id,
        postings=(Posting(f"award:{lease.award}", -units), Posting(f"held:{lease.award}", units)),
    )


def settle_postings(lease: Lease, grace: int) -> tuple[Transaction, ...]:
    """Charge what an ended lease used, give back the rest, and refund it when the machine failed."""
    if not lease.pays:
        return ()
    used = charge(lease, grace)
    postings = [Posting(f"held:{lease.award}", -lease.held)]
    if used:
        postings.append(Posting(f"charged:{lease.pool}", used))
    if lease.held - used:
        postings.append(Posting(f"award:{lease.award}", lease.held - used))
    settle = Transaction(f"settle:{lease.id}", Entry.SETTLE, lease.award, tuple(postings), lease.id)
    if not used or lease.end_reason is not EndReason.ENGINE:
        return (settle,)
    refund = Transaction(
        key=f"refund:{lease.id}",
        entry=Entry.REFUND,
        award=lease.award,
        lease=lease.id,
        corrects=settle.key,
        postings=(Posting(f"charged:{lease.pool}", -used), Posting(f"award:{lease.award}", used)),
    )
    return (settle, refund)


def slot_hold_postings(run: int, holds: int, award: int, units: int) -> Transaction:
    """Set aside what the whole slot of a run costs; `holds` numbers it among those of the run."""
    return Transaction(
        key=f"slot-hold:{run}:{holds}",
        entry=Entry.SLOT_HOLD,
        award=award,
        run=run,
        postings=(Posting(f"award:{award}", -units), Posting(f"held:{award}", units)),
    )


def slot_end_postings(
    run: int, holds: int, award: int, pool: str, held: int, used: int, reason: str = ""
) -> Transaction:  # fmt: skip
    """Charge what was kept of a slot for which `held` is set aside, and give back the rest."""
    into = ((f"charged:{pool}", used), (f"award:{award}", held - used))
    return Transaction(
        key=f"slot-end:{run}:{holds}",
        entry=Entry.SLOT_END,
        award=award,
        run=run,
        postings=(
            Posting(f"held:{award}", -held), *(Posting(account, amount) for account, amount in into if amount)
        ),
        reason=reason,
    )  # fmt: skip
