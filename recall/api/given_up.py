"""A request whose caller hung up is cancelled: done later, it could undo what a newer one did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Status for the metrics alone: there is nobody to send it to.
NOBODY = 499


class GivenUp:
    """Middleware that cancels a request's work when its caller hangs up before the answer begins.

    A wait for a connection, a lock or a slot ends at once, and a transaction under way is rolled
    back. Once the answer has begun the work is done, and nothing is cancelled.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        first = await receive()
        if first["type"] == "http.disconnect":
            return None
        watch = _Watch(first, receive, send)
        try:
            await self._app(scope, watch.receive, watch.send)
        except asyncio.CancelledError:
            if not watch.given_up:
                raise
            watch.working.uncancel()
            await send({"type": "http.response.start", "status": NOBODY, "headers": []})
        finally:
            watch.end()


class _Watch:
    """One request: passes its ASGI messages on, and behind its body waits for a disconnect."""

    def __init__(self, first: Message, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.working = task
        self.given_up = False
        self._first: Message | None = first
        self._receive = receive
        self._send = send
        self._begun = False
        self._listening: asyncio.Task[Message] | None = None
        self._listen_behind(first)

    async def receive(self) -> Message:
        if self._first is not None:
            message, self._first = self._first, None
            return message
        if self._listening is not None:
            return await asyncio.shield(self._listening)
        message = await self._receive()
        self._listen_behind(message)
        return message

    async def send(self, message: Message) -> None:
        self._begun = True
        await self._send(message)

    def end(self) -> None:
        if self._listening is not None:
            self._listening.remove_done_callback(self._heard)
            self._listening.cancel()

    def _listen_behind(self, message: Message) -> None:
        if message["type"] == "http.request" and not message.get("more_body"):
            self._listening = asyncio.ensure_future(_disconnect(self._receive))
            self._listening.add_done_callback(self._heard)

    def _heard(self, listening: asyncio.Task[Message]) -> None:
        if not (listening.cancelled() or listening.exception() or self._begun):
            self.given_up = True
            self.working.cancel()


async def _disconnect(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
