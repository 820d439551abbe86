"""Admission when more requests come than can be served: by the expected wait, senders in turn.

Questions, writes and other requests have a limiter each, with so many slots. A request that finds
none free waits, unless its expected wait is too long: then it is refused at once and told when to
come again. Senders take turns, however many requests each has waiting, and no sender takes every
slot: many requests of one delay none but its own.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from recall.api.gate import OPEN, sender
from recall.api.wire_errors import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

#: Seconds: a request that would wait for longer is refused, and none waits for longer.
LONGEST_WAIT = 2.0
#: Slots of a limiter for each connection of the pool: one question is embedded while another is in
#: the database.
SLOTS = 2
#: Share of a limiter's slots that one sender may hold.
SHARE = 0.75
#: Weight of the newest request in the moving average of their seconds, and the first guess of it.
FOLLOW, FIRST_GUESS = 0.1, 0.02


class Full(Exception):
    """No slot is free for this sender in time; `seconds` is the expected wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Limiter:
    """One kind of request: so many at once, the others in turn."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._share = max(1, math.floor(slots * SHARE))
        self._seconds = FIRST_GUESS
        self._held: Counter[bytes] = Counter()
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, who: bytes) -> AsyncIterator[Slot]:
        """Hold a slot for the block, or until it is given back; raises Full."""
        await self._enter(who)
        slot = Slot(self, who)
        try:
            yield slot
        finally:
            slot.give_back()

    def expected(self, who: bytes) -> float:
        """Return the seconds that a request of `who` would wait if it came now."""
        mine = len(self._waiting.get(who, ()))
        others = [min(len(line), mine + 1) for one, line in self._waiting.items() if one != who]
        slots = min(self._slots, self._share * (len(others) + 1))
        return (mine + sum(others) + 1) * self._seconds / slots

    async def _enter(self, who: bytes) -> None:
        if not self._waiting and self._free(who):
            self._held[who] += 1
            return
        if (wait := self.expected(who)) > LONGEST_WAIT:
            raise Full(wait)
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(ticket)
        self._let_in()
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await ticket
        except BaseException as error:
            if ticket.done() and not ticket.cancelled():
                self._leave(who)  # its slot came as its wait ended: pass it on
            self._forget(who, ticket)
            if isinstance(error, TimeoutError):
                raise Full(self.expected(who)) from None
            raise

    def leave(self, who: bytes, seconds: float) -> None:
        """Give a slot back that was held for so long."""
        self._seconds += FOLLOW * (seconds - self._seconds)
        self._leave(who)

    def _leave(self, who: bytes) -> None:
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        self._let_in()

    def _free(self, who: bytes) -> bool:
        return self._held.total() < self._slots and self._held[who] < self._share

    def _let_in(self) -> None:
        """Let senders in, each once before any a second time, as long as there are slots."""
        while chosen := next((who for who in self._waiting if self._free(who)), None):
            line = self._waiting.pop(chosen)
            ticket = line.popleft()
            if line:
                self._waiting[chosen] = line  # behind the others
            if not ticket.done():  # a request that gave up a moment ago takes no slot
                self._held[chosen] += 1
                ticket.set_result(None)

    def _forget(self, who: bytes, ticket: asyncio.Future[None]) -> None:
        line = self._waiting.get(who, deque())
        if ticket in line:
            line.remove(ticket)
            if not line:
                del self._waiting[who]


class Slot:
    """A slot held; a request that has done its work and only waits gives it back early."""

    def __init__(self, limiter: Limiter, who: bytes) -> None:
        self._limiter: Limiter | None = limiter
        self._who = who
        self._since = asyncio.get_running_loop().time()

    def give_back(self) -> None:
        """Give the slot back, once."""
        if self._limiter is not None:
            limiter, self._limiter = self._limiter, None
            limiter.leave(self._who, asyncio.get_running_loop().time() - self._since)


class Admission:
    """Middleware that gives every request a slot of its limiter, or 503 with when to come again."""

    def __init__(self, app: ASGIApp, connections: int) -> None:
        self._app = app
        self._questions, self._writes, self._others = (
            Limiter(SLOTS * connections) for _ in range(3)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        try:
            async with self._limiter(scope).slot(sender(scope)) as slot:
                scope["recall.slot"] = slot
                await self._app(scope, receive, send)
        except Full as full:
            await _full(full.seconds)(scope, receive, send)

    def _limiter(self, scope: Scope) -> Limiter:
        if scope["path"] == "/recall":
            return self._questions
        return self._others if scope["method"] == "GET" else self._writes


def _full(seconds: float) -> ASGIApp:
    wait = max(1, math.ceil(seconds))
    return answer(
        503,
        "overloaded",
        f"More requests wait than are answered within {LONGEST_WAIT:g} s; nothing was done: "
        f"ask again in {wait} s.",
        headers={"Retry-After": str(wait)},
    )
