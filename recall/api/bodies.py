"""Limits of bodies: bytes, time, and the memory that all requests hold together.

A body is read here, whole, before any route sees it. One that is too large, too slow, or too much
beside the others is refused while it is still coming, and costs nothing but its connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.api.gate import sender
from recall.api.wire_errors import answer, refuse

if TYPE_CHECKING:
    from fastapi.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of a batch, and of any other body: a question with all its lists takes less.
LARGEST_BODY = 64 * 1024 * 1024
LARGEST_OTHER = 4 * 1024 * 1024
BATCHES = {"/messages", "/notes"}
#: Bytes of bodies that all requests hold together, and the requests of one sender; bodies of up to
#: SMALL bytes are not counted.
MOST_HELD = 256 * 1024 * 1024
MOST_HELD_BY_ONE = 192 * 1024 * 1024
SMALL = 256 * 1024
#: Seconds between two parts of a body, at most; seconds for a whole one, and the bytes that earn it
#: one second more.
QUIET = 10.0
SLOWEST = 30.0
BYTES_A_SECOND = 64 * 1024


class Refused(Exception):
    """A body that is not read to its end, with the answer to it."""

    def __init__(self, response: JSONResponse) -> None:
        super().__init__()
        self.response = response


@dataclass
class _Hold:
    """The bytes that a request holds on its sender's account."""

    who: bytes
    size: int = 0


class Bodies:
    """Reads each request's body within the limits and hands it on in one piece."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        hold = _Hold(sender(scope))
        try:
            body = await self._read(scope, receive, hold)
            if body is not None:
                await self._app(scope, _replayed(body, receive), send)
        except Refused as refused:
            await refuse(refused.response, receive, send)
        finally:
            self._held[hold.who] -= hold.size
            if not self._held[hold.who]:
                del self._held[hold.who]

    async def _read(self, scope: Scope, receive: Receive, hold: _Hold) -> bytes | None:
        """Return the body, or None when the caller went away meanwhile; raises Refused."""
        largest = LARGEST_BODY if scope["path"] in BATCHES else LARGEST_OTHER
        self._reserve(hold, _announced(scope), largest)
        begun, size, parts = asyncio.get_running_loop().time(), 0, []
        while True:
            try:
                async with asyncio.timeout_at(_deadline(begun, size)):
                    message = await receive()
            except TimeoutError:
                raise Refused(_too_slow()) from None
            if message["type"] == "http.disconnect":
                return None
            if part := message.get("body", b""):
                parts.append(part)
                size += len(part)
                self._reserve(hold, size, largest)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _reserve(self, hold: _Hold, size: int, largest: int) -> None:
        """Hold `size` bytes, of which some may be held already; raises Refused without room.

        An announced size (Content-Length) is held before the body comes: of four bodies that do not
        fit together three are read, where four read side by side would all be refused.
        """
        if size > largest:
            raise Refused(_too_large(largest))
        more = size - hold.size
        if size <= SMALL or more <= 0:
            return
        if self._held[hold.who] + more > MOST_HELD_BY_ONE or self._held.total() + more > MOST_HELD:
            raise Refused(_too_many())
        hold.size = size
        self._held[hold.who] += more


def _announced(scope: Scope) -> int:
    size = dict(scope["headers"]).get(b"content-length", b"")
    return int(size) if size.isdigit() else 0


def _deadline(begun: float, size: int) -> float:
    now = asyncio.get_running_loop().time()
    return min(now + QUIET, begun + SLOWEST + size / BYTES_A_SECOND)


def _replayed(body: bytes, receive: Receive) -> Receive:
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(largest: int) -> JSONResponse:
    smaller = "; send smaller batches" if largest == LARGEST_BODY else ""
    return answer(413, "too_large", f"The body must take at most {largest} bytes{smaller}.")


def _too_slow() -> JSONResponse:
    return answer(
        408,
        "too_slow",
        f"The body must keep coming: nothing came for {QUIET:g} s, or it took longer than "
        f"{SLOWEST:g} s and a second for every {BYTES_A_SECOND} bytes; nothing was stored.",
    )


def _too_many() -> JSONResponse:
    return answer(
        503,
        "overloaded",
        f"The bodies of requests under way must take at most {MOST_HELD} bytes together, and "
        f"{MOST_HELD_BY_ONE} those of one caller; nothing was stored: send this one again.",
    )
