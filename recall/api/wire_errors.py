"""Errors, translated once: from recall's tree to a status and recall's JSON form of an error."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from recall.contract import errors
from recall.contract.limits import LONGEST_ID
from recall.contract.refusals import field_and_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI, Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("recall.api")

#: Types of what HTTP itself refuses; any other status is the request's own fault, or ours.
HTTP = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
#: Seconds that the rest of a refused body is taken.
LINGER = 1.0
HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def answer_errors(app: FastAPI) -> None:
    """Make `app` answer every error in recall's form."""
    app.add_exception_handler(errors.RecallError, _recall_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)


def answer(
    status: int,
    kind: str,
    message: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error in the contract's form; `headers` go with those of its status."""
    error = {"type": kind, "message": message} | ({"field": field} if field else {})
    return JSONResponse({"error": error}, status, HEADERS.get(status, {}) | dict(headers or {}))


async def refuse(response: JSONResponse, receive: Receive, send: Send) -> None:
    """Answer while a body is still coming, read on for LINGER seconds, and hang up.

    A connection that is closed with bytes unread is reset, and the reset discards the answer.
    """
    headers = [*response.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    try:
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body"})


class LastResort:
    """Middleware for errors that nobody foresaw: a sentence for the caller, a traceback logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if begun or scope["type"] != "http":
                raise  # half an answer can only be broken off, which the server does and logs
            route = getattr(scope.get("route"), "path", "no route")
            log.exception("%s %s failed", scope["method"], route)
            await _fault()(scope, receive, send)


def _fault() -> JSONResponse:
    return answer(
        500,
        "internal",
        "recall met a fault of its own, which its log describes; everything acknowledged is kept, "
        "and this request was carried out as a whole or not at all.",
    )


def explained(error: errors.RecallError) -> JSONResponse:
    """Return the answer to one of recall's own errors."""
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(math.ceil(error.again))
    return answer(*errors.on_the_wire(error), str(error), getattr(error, "field", None), headers)


async def _recall_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.RecallError)
    return explained(error)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong: dict[str, Any] = error.errors()[0]
    where, *loc = wrong["loc"]
    if wrong["type"] == "json_invalid":
        detail = wrong.get("ctx", {}).get("error", "")
        return answer(400, "invalid", f"The body is not JSON: {detail}.")
    if not loc and where == "body" and wrong["type"] != "value_error":
        return answer(422, "invalid", "The body must be a JSON object.")
    field, message = field_and_sentence(loc, wrong)
    return answer(422, "invalid", message, field)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status, headers = error.status_code, dict(error.headers or {})
    path = request.url.path[:LONGEST_ID]
    if isinstance(error.__cause__, errors.RecallError):  # FastAPI wraps what reading a body raises
        return explained(error.__cause__)
    message = {
        400: "The body cannot be read as JSON: no UTF-8, nested too deep, or a number too long.",
        404: f"There is nothing at {path}.",
        405: f"{request.method} is not for {path}.",
    }.get(status, str(error.detail))
    if status == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    kind = HTTP.get(status, "invalid" if status < 500 else "internal")
    return answer(status, kind, message, headers=headers)


def _methods(request: Request) -> Iterator[str]:
    """Yield the methods of all routes at the request's path; Starlette's 405 names one route's."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] == Match.FULL for route in request.app.routes):
            yield method
