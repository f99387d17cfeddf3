"""Routes of certificates. What verifies one is open to everybody, without a token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from nvlhub.api.doors import Here, Order, Page, PerPage, Who, listed
from nvlhub.forms import CertificateView, Keys, KeyView, Listed, Revoking, SignedDocument

router = APIRouter()

CertificateId = Annotated[str, Path(pattern=r"^[2-9a-hj-km-np-z]{16}$")]
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("/certificates/keys")
def certificate_keys(here: Here) -> Keys:
    """Return all public keys, and which certificates were revoked; open to everybody."""
    return here.registry.certificates.keys()


@router.post("/certificates/keys", status_code=201)
def new_certificate_key(here: Here, who: Who) -> KeyView:
    """Make a new key to sign with; what the old one signed stays valid."""
    return here.registry.certificates.rotate(who)


@router.delete("/certificates/keys/{key}")
def break_certificate_key(here: Here, who: Who, key: KeyId) -> KeyView:
    """Say that a key became known to others: nothing that it signed counts any more."""
    return here.registry.certificates.break_key(who, key)


@router.post("/verify")
def verify_certificate(here: Here, body: SignedDocument) -> CertificateView:
    """Tell whether a downloaded certificate counts; open to everybody."""
    return here.registry.certificates.verify(body)


@router.get("/certificates")
def certificates(here: Here, who: Who, page: Page = 1, per_page: PerPage = 50) -> Listed[CertificateView]:
    """List the visitor's own certificates, the newest first."""
    found, total = here.registry.certificates.mine(who, page, per_page)
    return listed(found, page, per_page, total)


@router.get("/certificates/{name}")
def certificate(here: Here, name: CertificateId) -> CertificateView:
    """Return a certificate and whether it counts; open to everybody who knows its id."""
    return here.registry.certificates.certificate(name)


@router.post("/certificates/{name}/revoke")
def revoke_certificate(here: Here, who: Who, name: CertificateId, body: Revoking) -> CertificateView:
    """Revoke a certificate; those who teach the run may, and the programme's officers."""
    return here.registry.certificates.revoke(who, name, body.reason)


@router.get("/runs/{run}/certificates")
def certificates_of_run(
    here: Here, who: Who, run: Order, page: Page = 1, per_page: PerPage = 50
) -> Listed[CertificateView]:
    """List the certificates of a run, to those who teach it."""
    found, total = here.registry.certificates.of_run(who, run, page, per_page)
    return listed(found, page, per_page, total)
