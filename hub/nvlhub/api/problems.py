"""Every failure leaves as a problem document (RFC 9457)."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nvlhub.api.doors import doors_of, lang_of
from nvlhub.api.limiter import TooManyError
from nvlhub.errors import NvlhubError
from nvlhub.explain import problem
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
    app.add_exception_handler(Exception, _unknown)


def answer(request: Request, error: NvlhubError) -> JSONResponse:
    """Return the problem document of an error as an answer."""
    doors = doors_of(request)
    document = problem(error, lang_of(request), request.url.path, doors.desk.more_url)
    headers = {"Retry-After": str(error.members["wait"])} if isinstance(error, TooManyError) else None
    return JSONResponse(
        document.model_dump(), status_code=document.status, headers=headers, media_type="application/problem+json"
    )


async def _known(request: Request, error: Exception) -> Response:
    return answer(request, error if isinstance(error, NvlhubError) else NvlhubError("portal-failed"))


async def _unknown(request: Request, error: Exception) -> Response:
    # What the route was about is over here.
    logger.error("a request failed", exc_info=error, extra={"lease": request.path_params.get("lease_id", "")})
    return answer(request, NvlhubError("portal-failed"))


class InvalidError(NvlhubError):
    """The request does not have the shape that the API describes."""

    status = 422


async def _invalid(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": ""}
    field = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"})
    return answer(request, InvalidError("invalid-input", field=field[:80] or "body", allowed_text=first["msg"]))


class HttpError(NvlhubError):
    """An address or a method that there is not."""


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        wrong: NvlhubError = HttpError("method-not-allowed", method=request.method)
    elif status == 404:
        wrong = HttpError("not-found")
    elif status == 413:
        wrong = TooLargeError("body-too-large", most=MAX_BODY_BYTES)
    else:
        wrong = HttpError("not-json")
    wrong.status = status  # type: ignore[misc]  # the status came from outside, not from the class
    return answer(request, wrong)
