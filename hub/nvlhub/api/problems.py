"""Every failure leaves as a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nvlhub.api.document import methods_of
from nvlhub.api.doors import doors_of, lang_of
from nvlhub.errors import NvlhubError, TooManyError
from nvlhub.explain import problem
from nvlhub.registry.office import UnreadError
from nvlhub.wire import MAX_BODY_BYTES

logger = logging.getLogger(__name__)


class TooLargeError(NvlhubError):
    """The body is larger than what is read."""

    status = 413


def add_handlers(app: FastAPI) -> None:
    """Have every error of `app` answered as a problem document."""
    app.add_exception_handler(NvlhubError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Failing)


def answer(request: Request, error: NvlhubError) -> JSONResponse:
    """Return the problem document of an error as an answer."""
    doors = doors_of(request)
    document = problem(error, lang_of(request), request.url.path, doors.desk.more_url)
    headers = {"Retry-After": str(error.members["wait"])} if isinstance(error, TooManyError) else {}
    if document.status == 401:
        # RFC 9110: whoever is not known is told how to become so.
        headers["WWW-Authenticate"] = "token"
    return JSONResponse(
        document.model_dump(), status_code=document.status, headers=headers, media_type="application/problem+json"
    )


async def _known(request: Request, error: Exception) -> Response:
    return answer(request, error if isinstance(error, NvlhubError) else NvlhubError("portal-failed"))


class Failing:
    """Answers what fails by our fault.

    An error that leaves the application has the server close the connection after the answer, without having said so: the
    proxy's next request, somebody else's, goes over it into nothing.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on; answer where nothing else did."""
        begun = False

        async def seen(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            # What the route was about is over here.
            lease = scope.get("path_params", {}).get("lease_id", "")
            logger.exception("a request failed", exc_info=error, extra={"lease": lease})
            await answer(Request(scope), NvlhubError("portal-failed"))(scope, receive, send)


class InvalidError(NvlhubError):
    """The request does not have the shape that the API describes."""

    status = 422


async def _invalid(request: Request, error: Exception) -> Response:
    first: dict[str, Any] = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    return answer(request, _misshapen(first.get("loc", ()), first.get("type", ""), first.get("msg", "")))


def _misshapen(place: tuple[int | str, ...], kind: str, why: str) -> NvlhubError:
    if kind == "json_invalid":
        return InvalidError("not-json")
    if place == ("header", "If-Match") and kind in {"missing", "string_pattern_mismatch"}:
        return UnreadError("match-missing")
    if place == ("header", "Idempotency-Key"):
        return InvalidError("key-missing", field="Idempotency-Key")
    field = ".".join(str(part) for part in place[1:])
    return InvalidError("invalid-input", field=field[:80] or "body", allowed_text=why)


class HttpError(NvlhubError):
    """An address or a method that there is not."""


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 413:
        return answer(request, TooLargeError("body-too-large", most=MAX_BODY_BYTES))
    if status not in {404, 405}:
        # A body that cannot be decoded; what is no JSON in other ways comes as a validation error.
        return answer(request, InvalidError("not-json"))
    wrong = HttpError("not-found") if status == 404 else HttpError("method-not-allowed", method=request.method)
    wrong.status = status  # type: ignore[misc]  # the status came from outside, not from the class
    found = answer(request, wrong)
    if status == 405:
        # FastAPI knows but one method of an address: each is a route of its own.
        methods = methods_of(request.app, request.url.path)
        found.headers["Allow"] = ", ".join(sorted(methods)) or (getattr(error, "headers", None) or {}).get("Allow", "")
    return found
