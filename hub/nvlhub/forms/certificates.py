"""Forms of certificates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from nvlhub.forms.base import Reason
from nvlhub.wire import Strict, View

CertificateId = Annotated[str, StringConstraints(pattern=r"^[2-9a-hj-km-np-z]{16}$")]


class SignedDocument(Strict):
    """Body of ``POST /verify``: a certificate as it was downloaded."""

    document: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    signature: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class CertificateView(View):
    """A certificate, and whether it counts."""

    id: str
    verdict: Literal["valid", "revoked", "key-broken", "forged", "unknown"]
    document: str = ""
    """The signed text, byte for byte; empty: this portal knows none."""
    signature: str = ""
    key: str = ""
    public: str = ""
    """The public key that verifies it, base64."""
    issued_at: int | None = None
    revoked_at: int | None = None
    reason: str = ""
    """Why it was revoked; told to those who teach the run."""
    run: str = ""
    seat: int | None = None
    user: str = ""


class Revoking(Strict):
    """Body of ``POST /certificates/{id}/revoke``."""

    reason: Reason


class KeyView(View):
    """A key that certificates are, or were, signed with."""

    id: str
    public: str
    """Ed25519, 32 bytes, base64."""
    made_at: int
    retired_at: int | None
    broken_at: int | None


class RevokedView(View):
    """A certificate that no longer counts."""

    id: str
    revoked_at: int


class Keys(View):
    """All that is needed to verify certificates elsewhere."""

    keys: list[KeyView]
    revoked: list[RevokedView]
    now: int
