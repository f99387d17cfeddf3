"""Rows of certificates and of the keys that signed them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict


class Certificates(Work):
    """Who achieved what, signed."""

    def add_key(self, name: str, public: str, at: int) -> None:
        """Add a key; the one before it signs nothing new any more."""
        keys = t.signing_keys.c
        self.connection.execute(t.signing_keys.update().where(keys.retired_at.is_(None)).values(retired_at=at))
        self.connection.execute(t.signing_keys.insert().values(id=name, public=public, made_at=at))

    def alone_with_keys(self) -> None:
        """Keep others from making a key until the unit ends."""
        self._alone("signing-keys")

    def signing_key(self) -> dict[str, Any] | None:
        """Return the key that signs now; None: there is none."""
        keys = t.signing_keys.c
        query = sa.select(t.signing_keys).where(keys.retired_at.is_(None), keys.broken_at.is_(None))
        row = self.connection.execute(query.order_by(keys.made_at.desc()).limit(1)).one_or_none()
        return as_dict(row) if row else None

    def key(self, name: str) -> dict[str, Any] | None:
        """Return a key by its id; None: there is none."""
        row = self._one(sa.select(t.signing_keys).where(t.signing_keys.c.id == name))
        return as_dict(row) if row else None

    def keys_of_certificates(self) -> list[dict[str, Any]]:
        """Return all keys, the newest first."""
        return [as_dict(row) for row in self._all(sa.select(t.signing_keys).order_by(t.signing_keys.c.made_at.desc()))]

    def break_key(self, name: str, at: int) -> bool:
        """Mark a key as known to others; tell whether there is one that was not marked."""
        marked = self.connection.execute(
            t.signing_keys.update()
            .where(t.signing_keys.c.id == name, t.signing_keys.c.broken_at.is_(None))
            .values(broken_at=at, retired_at=sa.func.coalesce(t.signing_keys.c.retired_at, at))
        )
        return marked.rowcount == 1

    def add_certificate(self, **values: Any) -> None:
        """Add a certificate."""
        self.connection.execute(t.certificates.insert().values(**values))

    def certificate(self, name: str) -> dict[str, Any]:
        """Return a certificate by its id. Raises `NotFoundError`."""
        query = sa.select(t.certificates).where(t.certificates.c.id == name)
        return self._found(query, False, "certificate-unknown", certificate=name)

    def certificate_of(self, run: int, user: str) -> dict[str, Any] | None:
        """Return the certificate that counts of a user in a run; None: there is none."""
        table = t.certificates.c
        query = sa.select(t.certificates).where(table.run == run, table.user == user, table.revoked_at.is_(None))
        row = self.connection.execute(query.order_by(table.issued_at.desc()).limit(1)).one_or_none()
        return as_dict(row) if row else None

    def certificates(
        self, run: int | None, user: str | None, page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the certificates of a run, or of a user, the newest first."""
        query = sa.select(t.certificates)
        if run is not None:
            query = query.where(t.certificates.c.run == run)
        if user is not None:
            query = query.where(t.certificates.c.user == user)
        return self._page(query, [t.certificates.c.issued_at.desc(), t.certificates.c.id], page, per_page)

    def revoked_certificates(self) -> list[dict[str, Any]]:
        """Return id and time of what was revoked, the newest first."""
        table = t.certificates.c
        query = sa.select(table.id, table.revoked_at).where(table.revoked_at.is_not(None))
        return [as_dict(row) for row in self._all(query.order_by(table.revoked_at.desc()))]

    def revoke_certificate(self, name: str, by: str, reason: str, at: int) -> bool:
        """Revoke a certificate; tell whether it was not revoked before."""
        table = t.certificates.c
        changed = self.connection.execute(
            t.certificates.update()
            .where(table.id == name, table.revoked_at.is_(None))
            .values(revoked_at=at, revoked_by=by, reason=reason)
        )
        return changed.rowcount == 1

    def attempt(self, number: int) -> dict[str, Any]:
        """Return what was handed in. Raises `NotFoundError`."""
        query = sa.select(t.attempts).where(t.attempts.c.id == number)
        return self._found(query, False, "attempt-unknown", attempt=str(number))
