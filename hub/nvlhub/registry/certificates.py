"""Use cases of certificates: issued by what judged an attempt, verified by anybody."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any

from nvlhub.desk import Desk
from nvlhub.errors import ConflictError, NotFoundError
from nvlhub.flow.certificate import ALPHABET, ID, KEY, Achievement, Verdict, document, judge, read
from nvlhub.forms import CertificateView, Keys, KeyView, RevokedView, SignedDocument
from nvlhub.registry.teaching import Teaching
from nvlhub.signing import Signer
from nvlhub.store import Unit
from nvlhub.visitor import Visitor


class Certificates(Teaching):
    """Signed words about what somebody achieved."""

    def __init__(self, desk: Desk, signer: Signer, issuer: str) -> None:
        super().__init__(desk)
        self._signer = signer
        self._issuer = issuer

    # --- for what judges --------------------------------------------------------------------------------------

    def issue(self, unit: Unit, attempt: int) -> str:
        """Issue the certificate of an attempt that passed, in the unit that says so; return its id.

        Who has one in this run that counts keeps it.
        """
        tried = unit.attempt(attempt)
        known = unit.certificate_of(tried["run"], tried["user"])
        if known is not None:
            return str(known["id"])
        run, seat = unit.run(tried["run"]), unit.seat_of(tried["run"], tried["user"]) or {}
        # Whoever was released meanwhile has no seat; what the roster says of them stays. The document is for good.
        listed = (unit.roster_row(tried["run"], tried["user"]) or {}) if not seat else {}
        name_zh = seat.get("name") or listed.get("name", "")
        latin = seat.get("name_latin") or listed.get("name_latin", "")
        now, key = self._clock.now(), self._key(unit)
        name = "".join(secrets.choice(ALPHABET) for _ in range(16))
        told = document(
            Achievement(
                id=name, name=name_zh or latin or tried["user"], name_latin=latin,
                course=run["course"], title=run["title"], title_zh=run["title_zh"], repository=run["repository"],
                commit=run["commit"], run=run["id"], run_name=run["name"], score_milli=tried["score_milli"] or 0,
                grader=tried["grader"], at=f"{datetime.fromtimestamp(tried['at'], UTC):%Y-%m-%dT%H:%M:%SZ}",
            ),
            self._issuer, key,
        )  # fmt: skip
        unit.add_certificate(
            id=name, run=run["id"], seat=tried["seat"], user=tried["user"], attempt=attempt, document=told,
            signature=self._signer.sign(key, told), key=key, issued_at=now,
        )  # fmt: skip
        return name

    def _key(self, unit: Unit) -> str:
        """Return the key that signs now, made where there is none or its private half is gone."""
        unit.alone_with_keys()
        known = unit.signing_key()
        if known is not None and self._signer.has(known["id"]):
            return str(known["id"])
        return self._new_key(unit)

    def _new_key(self, unit: Unit) -> str:
        name, public = self._signer.make()
        unit.add_key(name, public, self._clock.now())
        return name

    # --- for anybody ------------------------------------------------------------------------------------------

    def certificate(self, name: str, visitor: Visitor | None = None) -> CertificateView:
        """Return a certificate and whether it counts. Raises `NotFoundError`."""
        with self._store.reading() as unit:
            row = unit.certificate(name)
            return self._view(unit, row, inside=visitor is not None and self._inside(unit, visitor, row))

    def verify(self, signed: SignedDocument) -> CertificateView:
        """Tell whether a document counts, wherever it comes from."""
        told = read(signed.document)
        # What strangers wrote is not looked up unless it can be there: not every text can be asked a database for.
        name, key_name = _like(ID, told.get("id")), _like(KEY, told.get("key"))
        with self._store.reading() as unit:
            try:
                row = unit.certificate(name) if name else {"revoked_at": None}
            except NotFoundError:
                row = {"revoked_at": None}
            key = unit.key(key_name) if key_name else None
            verdict = judge(signed.document, signed.signature, key, revoked=row["revoked_at"] is not None)
            if verdict is Verdict.VALID and "id" not in row:
                # Signed by us and not known: a copy of the database from before, or a stolen key.
                verdict = Verdict.UNKNOWN
        return CertificateView(
            id=name, verdict=verdict.value, key=key["id"] if key else "",
            public=key["public"] if key else "", revoked_at=row["revoked_at"],
        )  # fmt: skip

    def keys(self) -> Keys:
        """Return all public keys, and what was revoked: whoever has these needs the portal no more."""
        with self._store.reading() as unit:
            keys = [KeyView(**row) for row in unit.keys_of_certificates()]
            revoked = [RevokedView(**row) for row in unit.revoked_certificates()]
        return Keys(keys=keys, revoked=revoked, now=self._clock.now())

    # --- for those who are concerned --------------------------------------------------------------------------

    def mine(self, visitor: Visitor, page: int = 1, per_page: int = 50) -> tuple[list[CertificateView], int]:
        """Return a page of the visitor's own certificates."""
        with self._store.reading() as unit:
            rows, total = unit.certificates(None, visitor.name, page, per_page)
            return [self._view(unit, row, inside=True) for row in rows], total

    def of_run(
        self, visitor: Visitor, run: int, page: int = 1, per_page: int = 50
    ) -> tuple[list[CertificateView], int]:
        """Return a page of the certificates of a run, to those who teach it."""
        with self._store.reading() as unit:
            self._run(unit, visitor, run)
            rows, total = unit.certificates(run, None, page, per_page)
            return [self._view(unit, row, inside=True) for row in rows], total

    def revoke(self, visitor: Visitor, name: str, reason: str) -> CertificateView:
        """Revoke a certificate; one that was revoked stays so. Those who teach the run may, and its officers."""
        with self._store.writing() as unit:
            row = unit.certificate(name)
            run = unit.run(row["run"])
            teacher = self._teacher(unit, visitor)
            if not (teacher.teaches(run) or teacher.decides(run)):
                raise NotFoundError("certificate-unknown", certificate=name)
            if unit.revoke_certificate(name, visitor.name, reason, self._clock.now()):
                unit.note(
                    "certificate-revoke", f"certificate:{name}", at=self._clock.now(), actor=visitor.name,
                    programme=run["programme"], project=run["project"], before={"revoked": False},
                    after={"revoked": True, "reason": reason},
                )  # fmt: skip
            return self._view(unit, unit.certificate(name), inside=True)

    def rotate(self, visitor: Visitor) -> KeyView:
        """Make a new key; what the old one signed stays valid."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            unit.alone_with_keys()
            name = self._new_key(unit)
            self._noted(unit, visitor, "certificate-key-new", name)
            return KeyView(**self._known(unit, name))

    def break_key(self, visitor: Visitor, name: str) -> KeyView:
        """Say that a key became known to others: nothing that it signed counts. Raises `NotFoundError`, `ConflictError`."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            self._known(unit, name)
            if not unit.break_key(name, self._clock.now()):
                raise ConflictError("certificate-key-broken", key=name)
            self._noted(unit, visitor, "certificate-key-break", name)
            row = self._known(unit, name)
        self._signer.forget(name)
        return KeyView(**row)

    # --- telling ----------------------------------------------------------------------------------------------

    def _known(self, unit: Unit, name: str) -> dict[str, Any]:
        row = unit.key(name)
        if row is None:
            raise NotFoundError("certificate-key-unknown", key=name)
        return row

    def _inside(self, unit: Unit, visitor: Visitor, row: dict[str, Any]) -> bool:
        return visitor.name == row["user"] or self._teacher(unit, visitor).teaches(unit.run(row["run"]))

    def _view(self, unit: Unit, row: dict[str, Any], *, inside: bool) -> CertificateView:
        key = unit.key(row["key"])
        verdict = judge(row["document"], row["signature"], key, revoked=row["revoked_at"] is not None)
        told = (
            {"run": str(row["run"]), "seat": row["seat"], "user": row["user"], "reason": row["reason"]}
            if inside
            else {}
        )
        return CertificateView(
            id=row["id"], verdict=verdict.value, document=row["document"], signature=row["signature"], key=row["key"],
            public=key["public"] if key else "", issued_at=row["issued_at"], revoked_at=row["revoked_at"], **told,
        )  # fmt: skip

    def _noted(self, unit: Unit, visitor: Visitor, action: str, key: str) -> None:
        unit.note(
            action, f"certificate-key:{key}", at=self._clock.now(), actor=visitor.name, programme="", project="",
            before=None, after={"key": key},
        )  # fmt: skip


def _like(pattern: re.Pattern[str], told: object) -> str:
    """Return what has the form of a name; nothing for anything else."""
    return told if isinstance(told, str) and pattern.fullmatch(told) else ""
