"""The API's description of itself: what FastAPI derives from the routes, completed by how each of them can fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

FAILURES = {
    401: "No token, or one that the hub does not know.",
    403: "Not for this visitor.",
    404: "Not there, or not for this visitor: the two look the same.",
    409: "It cannot be done as things stand now.",
    412: "It was changed since the visitor read it: the entity tag is not the present one.",
    413: "The body is too large and was not read.",
    422: "A value cannot be meant: `detail` names it, and what would be allowed.",
    428: "The header If-Match is missing.",
    429: "Too many requests: what stands before the portal asks to wait.",
    500: "A fault of the portal's own; nothing was changed.",
    503: "The portal or the hub cannot answer just now; nothing was changed.",
}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

TAGGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {
                "description": "Entity tag of what can be changed; a change sends it back as If-Match.",
                "required": True,
                "schema": {"type": "string", "pattern": '^"[0-9a-f]{24}"$'},
            }
        }
    }
}
"""For routes that answer with an entity tag."""
TAGGED_NEW: dict[int | str, dict[str, Any]] = {201: TAGGED[200]}
"""For routes that make something and answer with its entity tag."""
MISSING: dict[int | str, dict[str, Any]] = {404: {}}
"""For routes that look for something named in the query."""


def repeated(model: Any) -> dict[int | str, dict[str, Any]]:
    """Return what a route declares that tells a repetition from the first time."""
    return {200: {"model": model, "description": "It was done before; this is what came of it."}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; it is made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                operation["responses"] = _answers(path, method, operation)
        parts = document["components"]
        for unused in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(unused, None)
        parts["responses"] = {
            str(status): {"description": why, "content": PROBLEM} for status, why in FAILURES.items()
        }  # fmt: skip
        app.openapi_schema = document
    return app.openapi_schema


def _answers(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    derived = operation["responses"]
    failures = {int(status) for status in derived if int(status) >= 400}.union(_failures(path, method, operation))
    told = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(failures)}
    return {**{status: answer for status, answer in derived.items() if int(status) < 400}, **told}


def _failures(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    """Yield the statuses that a route can fail with, as far as its shape tells."""
    yield 500
    if "security" in operation:
        yield from (401, 403, 429, 503)
    if operation.get("parameters") or "requestBody" in operation:
        yield 422
    if "{" in path or "requestBody" in operation:
        yield 404
    if method != "get":
        yield 409
    if "requestBody" in operation:
        yield 413
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "If-Match":
            yield from (412, 428)


def methods_of(app: FastAPI, path: str) -> set[str]:
    """Return the methods that an address of the API takes."""
    paths = describe(app)["paths"]
    like = (template for template in paths if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path))
    methods: dict[str, Any] = paths.get(path) or next((paths[template] for template in like), {})
    return {method.upper() for method in methods}
