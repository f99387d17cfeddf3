"""Use cases of the ledger and the audit trail. Who may is checked here."""

from __future__ import annotations

from dataclasses import asdict

from nvlhub.errors import BadInputError, NotFoundError
from nvlhub.forms import AuditView, BrokenView, Correction, Proof, Replayed, TransactionView
from nvlhub.registry.office import Office, Standing, fresh_ref
from nvlhub.store import Unit, replay, verify
from nvlhub.visitor import Visitor
from nvlhub.wire import LeaseView


def prove(unit: Unit) -> Proof:
    """Prove the ledger of a database right, or say what is broken."""
    broken = [BrokenView(**asdict(row)) for row in verify(unit)]
    _, total = unit.journal(per_page=1)
    return Proof(ok=not broken, transactions=total, broken=broken)


def play(unit: Unit) -> Replayed:
    """Play the journal of a database again, and say what does not come out as it is stored."""
    found = replay(unit)
    return Replayed(ok=not found.broken, **asdict(found))


class Ledger(Office):
    """What was written, and the proof that it is right."""

    def transactions(
        self, visitor: Visitor, *, lease: str = "", award: int | None = None, entry: str = "", since: int = 0,
        page: int = 1, per_page: int = 50,
    ) -> tuple[list[TransactionView], int]:  # fmt: skip
        """Return a page of the journal: all of it to an administrator, that of their projects to others."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            if lease:
                self._need_sight(unit, who, lease)
            rows, total = unit.journal(
                # Whoever may see a lease may see what was written about it.
                lease=lease, award=award, entry=entry, since=since, projects=None if lease else who.reach, officer_of=who.officer_of,
                page=page, per_page=per_page,
            )  # fmt: skip
        return [TransactionView(**asdict(row)) for row in rows], total

    def _need_sight(self, unit: Unit, who: Standing, lease_id: str) -> None:
        lease = unit.lease(lease_id)
        mine = lease is not None and lease.user == who.name
        if lease is None or not (mine or who.sees({"slug": lease.project, "programme": lease.programme})):
            raise NotFoundError("lease-unknown", lease=lease_id)

    def verify(self, visitor: Visitor) -> Proof:
        """Prove the ledger right, or say what is broken."""
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_admin()
            try:
                proof = prove(unit)
            except Exception:
                # A proof that cannot be made is no proof.
                self._desk.observer.verified(self._clock.now(), ok=False)
                raise
        self._desk.observer.verified(self._clock.now(), ok=proof.ok)
        return proof

    def replay(self, visitor: Visitor) -> Replayed:
        """Play the whole journal again from its beginning, and compare what comes out with what is stored."""
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_admin()
            return play(unit)

    def correct(self, visitor: Visitor, new: Correction, key: str = "") -> LeaseView:
        """Charge a settled lease more or give it back, by a compensating entry that names what it corrects."""
        if not new.gpu_seconds:
            raise BadInputError("correct-nothing", field="gpu_seconds")
        now = self._clock.now()
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            lease = unit.lease(new.lease)
            if lease is None:
                raise NotFoundError("lease-unknown", lease=new.lease[:40])

            def do() -> int:
                written = unit.correct(
                    lease, new.gpu_seconds * 1000, f"settle:{lease.id}", new.reason, ref=fresh_ref(), at=now,
                    actor=visitor.name,
                )  # fmt: skip
                unit.note(
                    "lease-correct", f"lease:{lease.id}", at=now, actor=visitor.name, programme=lease.programme,
                    project=lease.project, user=lease.user, after={**new.model_dump(), "transaction": written},
                )  # fmt: skip
                return 0

            self._once(unit, visitor, key, new, do)
        return self._desk.lease(visitor, new.lease)

    def audit(
        self, visitor: Visitor, *, what: str = "", actor: str = "", action: str = "", since: int = 0, page: int = 1,
        per_page: int = 50,
    ) -> tuple[list[AuditView], int]:  # fmt: skip
        """Return a page of the audit trail, the newest first: what is the visitor's business.

        That is what they did and what was done about them, and what happens in projects and programmes they answer for.
        """
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.audit_lines(
                programmes=None if who.admin else who.officer_of, projects=who.led, user=who.name,
                what=what, actor=actor, action=action, since=since, page=page, per_page=per_page,
            )  # fmt: skip
        return [AuditView(**row) for row in rows], total
