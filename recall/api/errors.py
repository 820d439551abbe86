"""Errors, translated once: from recall's tree to a status and recall's JSON form of an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recall.errors import Invalid, NotFound, Overloaded, RecallError, Unauthorized, Unavailable
from recall.models import explain

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

#: The most specific class first.
STATUS: tuple[tuple[type[RecallError], int], ...] = (
    (Invalid, 422),
    (Unauthorized, 401),
    (NotFound, 404),
    (Overloaded, 503),
    (Unavailable, 503),
)


def register(app: FastAPI) -> None:
    """Make `app` answer every error in recall's form."""
    app.add_exception_handler(RecallError, _recall_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)


def _answer(status: int, kind: str, message: str, field: str | None = None) -> JSONResponse:
    error = {"type": kind, "message": message} | ({"field": field} if field else {})
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status)
    return JSONResponse({"error": error}, status, headers)


async def _recall_error(request: Request, error: Exception) -> JSONResponse:
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    status = next((code for family, code in STATUS if isinstance(error, family)), 500)
    return _answer(status, kind, str(error), getattr(error, "field", None))


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong: dict[str, Any] = error.errors()[0]
    where, *loc = wrong["loc"]
    if wrong["type"] == "json_invalid":
        detail = wrong.get("ctx", {}).get("error", "")
        return _answer(400, "invalid", f"The body is not JSON: {detail}.")
    if not loc and where == "body":
        return _answer(422, "invalid", "The body must be a JSON object.")
    field, message = explain(loc, wrong)
    return _answer(422, "invalid", message, field)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
    message = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not for {request.url.path}.",
    }.get(error.status_code, str(error.detail))
    return _answer(error.status_code, kind, message)
