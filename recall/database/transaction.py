"""A unit of work on its connection: entered, signed, done and rung for, in one transaction.

    writing      BEGIN · enter · sign · work · ring · COMMIT
    reading      enter · work

A transaction's tenant, role and timeouts are set within it (`set_config(…, true)`), because behind
a transaction pooler the next one may run on another server process. Reading needs no BEGIN and
COMMIT: Postgres runs all messages of a pipeline up to its Sync in one implicit transaction, and the
settings last as long. `sign` writes the unit's id into `committed`, and COMMIT makes it stand: an
attempt behind one whose COMMIT was not answered finds it there, and knows that all is done.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID, uuid4

from recall.base.queries import query
from recall.database.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from recall.database.caller import Owner
    from recall.database.connections import Connection

T = TypeVar("T")

#: Seconds between two rings of one process: a process that hears one looks again that much later.
RING_EVERY = 1.0


class Pulse:
    """What a process knows of its own traffic with the database."""

    def __init__(self) -> None:
        self.process = uuid4()  # signs what this process commits, and its rings
        self.rang_at = -RING_EVERY
        #: Set by every answer of the server: it is awake. A waiter clears it first.
        self.answered = asyncio.Event()


@dataclass
class Unit(Generic[T]):
    """A unit of work under way, with what must be known of it when its connection is lost."""

    work: Callable[[Connection], Awaitable[T]]
    who: Caller | Owner
    deadline: float
    writes: bool
    rings: bool = False
    id: UUID = field(default_factory=uuid4)
    slot: int = -1
    connection: Connection | None = None
    result: T | None = None
    ending: bool = False  # this attempt's work is done and its COMMIT was sent
    in_doubt: bool = False  # the answer to an earlier attempt's COMMIT was lost
    lost: bool = False  # an attempt ended without the server's word
    rang_at: float | None = None

    def left(self) -> float:
        """Return the seconds until its deadline."""
        return self.deadline - time.monotonic()

    async def attempt(self, connection: Connection, search_path: str, pulse: Pulse) -> T:
        """Make one attempt, its statements pipelined, and return what the work returned."""
        self.connection = connection
        try:
            async with connection.pipeline():
                if not self.writes:
                    await self._enter(connection, search_path)
                    return await self.work(connection)
                async with connection.transaction():
                    await self._enter(connection, search_path)
                    return await self._once(connection, pulse)
        finally:
            self.connection = None

    async def _enter(self, connection: Connection, search_path: str) -> None:
        values = {
            "search_path": search_path,
            "timeout": f"{max(round(self.left() * 1000), 1)}ms",
            "writes": self.writes,
        }
        if isinstance(self.who, Caller):
            values |= {"tenant": str(self.who.tenant), "user": self.who.user or ""}
            await connection.execute(query("enter_unit"), values)
        else:
            await connection.execute(query("enter_owner_unit"), values)

    async def _once(self, connection: Connection, pulse: Pulse) -> T:
        """Sign, work and ring; if an earlier attempt's signature stands, all is done already.

        An attempt whose COMMIT is still on its way holds the lock of its signature's row, so that
        signing waits until that attempt has ended.
        """
        values = {"process": pulse.process, "slot": self.slot, "unit": self.id}
        signed = await connection.execute(query("sign_unit"), values)
        if self.in_doubt:
            if await signed.fetchone() is None:
                return self.result  # type: ignore[return-value]  # what it was before COMMIT
            self.in_doubt = False
        self.result = await self.work(connection)
        if self.rings and time.monotonic() - pulse.rang_at > RING_EVERY:
            self.rang_at = time.monotonic()
            await connection.execute(query("ring"), [str(pulse.process)])
        self.ending = True
        return self.result
