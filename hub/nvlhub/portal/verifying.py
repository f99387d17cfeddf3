"""The public pages of certificates: whoever has an id, or the file, sees whether it counts. No login, nothing is kept."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from nvlhub.api import lang_of
from nvlhub.errors import NotFoundError
from nvlhub.flow.certificate import ID, read
from nvlhub.forms import CertificateView, SignedDocument
from nvlhub.portal.certificate_pdf import certificate_pdf
from nvlhub.portal.html import Site
from nvlhub.registry import Registry
from nvlhub.visitor import Visitor


class Verifying:
    """Shows certificates to anybody."""

    def __init__(self, registry: Registry, site: Site, public_url: str) -> None:
        self._certificates = registry.certificates
        self._site = site
        self._public_url = public_url.rstrip("/")

    def _address(self, name: str) -> str:
        return f"{self._public_url}{self._site.prefix}verify/{name}"

    def form(self, request: Request) -> Response:
        """Return the page that asks for an id or a file's text."""
        return self._page(request, None, 200)

    def verify(self, request: Request, text: Annotated[str, Form(max_length=30_000)] = "") -> Response:
        """Take an id, an address that ends with one, or the text of a downloaded certificate."""
        name = re.sub(r"[\s-]", "", text.rstrip("/ \r\n\t").rpartition("/")[2]).lower()
        if ID.fullmatch(name):
            return RedirectResponse(f"{self._site.prefix}verify/{name}", 303)
        try:
            told = json.loads(text)
            signed = SignedDocument(document=told["document"], signature=told["signature"])
        except (ValueError, ValidationError, TypeError, KeyError, RecursionError):
            return self._page(request, None, 400, error="verify-unreadable")
        return self._page(request, self._certificates.verify(signed), 200, document=signed.document)

    def show(self, request: Request, name: str) -> Response:
        """Show a certificate and whether it counts."""
        try:
            view = self._found(name)
        except NotFoundError:
            return self._page(request, None, 404, error="verify-unknown")
        return self._page(request, view, 200, document=view.document)

    def _found(self, name: str) -> CertificateView:
        if not ID.fullmatch(name):
            raise NotFoundError("certificate-unknown", certificate=name[:20])
        return self._certificates.certificate(name)

    def _page(
        self, request: Request, view: CertificateView | None, status: int, document: str = "", error: str = ""
    ) -> Response:
        told: dict[str, Any] = read(document)
        shown = view is not None and view.verdict in {"valid", "revoked", "key-broken"}
        address = self._address(view.id) if view is not None and shown else ""
        code = segno.make(address, error="m", micro=False).svg_data_uri(scale=4, border=2) if address else ""
        name = f"verify/{view.id}" if view is not None and shown else "verify"
        return self._site.page(
            "verify.html", lang_of(request), status, here=name, view=view, told=told if shown else {}, error=error,
            code=code, address=address, who=Visitor(""), announcements=(),
        )  # fmt: skip

    def pdf(self, request: Request, name: str) -> Response:
        """Return a certificate as PDF."""
        view = self._found(name)
        body = certificate_pdf(read(view.document), self._address(name), lang_of(request))
        return self._file(body, "application/pdf", f"certificate-{name}.pdf")

    def file(self, name: str) -> Response:
        """Return a certificate as the file that can be verified anywhere."""
        view = self._found(name)
        told = {"document": view.document, "signature": view.signature, "public": view.public}
        body = json.dumps(told, ensure_ascii=False, indent=1).encode()
        return self._file(body, "application/json", f"certificate-{name}.json")

    def _file(self, body: bytes, kind: str, name: str) -> Response:
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }  # fmt: skip
        return Response(body, media_type=kind, headers=headers)

    def routes(self) -> APIRouter:
        """Return the routes."""
        router, prefix = APIRouter(include_in_schema=False), self._site.prefix
        router.add_api_route(f"{prefix}verify", self.form, methods=["GET"])
        router.add_api_route(f"{prefix}verify", self.verify, methods=["POST"])
        router.add_api_route(f"{prefix}verify/{{name}}", self.show, methods=["GET"])
        router.add_api_route(f"{prefix}certificates/{{name}}.pdf", self.pdf, methods=["GET"])
        router.add_api_route(f"{prefix}certificates/{{name}}.json", self.file, methods=["GET"])
        return router
