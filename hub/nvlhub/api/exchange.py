"""Routes of files: export and import."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from nvlhub.api.doors import Here, Key, Lang, Who
from nvlhub.exchange import FileKind, Form
from nvlhub.forms import Imported

router = APIRouter()
MEDIA = {Form.YAML: "application/yaml", Form.CSV: "text/csv"}
AsFile = Annotated[Form, Query(alias="format", description="What the file is written in.")]
FILE = {MEDIA[Form.YAML]: {"schema": {"type": "object"}}, MEDIA[Form.CSV]: {"schema": {"type": "string"}}}


async def _body(request: Request) -> bytes:
    return await request.body()


@router.get("/export", response_class=Response, responses={200: {"description": "The file.", "content": FILE}})
def export(here: Here, who: Who, form: AsFile, kind: FileKind | None = None, ids: bool = True) -> Response:
    """Return everything, or one kind of it, as a file; without `ids` its awards are new ones for another portal."""
    content = here.registry.exchange.export(who, form, kind, ids=ids)
    return Response(content, media_type=MEDIA[form])


@router.post("/import", openapi_extra={"requestBody": {"required": True, "content": FILE}})
def bring(
    here: Here, who: Who, lang: Lang, content: Annotated[bytes, Depends(_body)], form: AsFile,
    kind: FileKind | None = None, dry_run: bool = False, idempotency_key: Key = "",
) -> Imported:  # fmt: skip
    """Import a file, all of it or nothing; with `dry_run`, tell what that would do."""
    return here.registry.exchange.bring(who, content, form, kind, dry_run=dry_run, lang=lang, key=idempotency_key)
