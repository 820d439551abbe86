"""Three ways to use the database, and no fourth; each runs a unit of work.

    as_caller    writes, under the role that row-level security binds, as one tenant
    as_owner     writes past every policy: the queue and administration
    read         changes nothing, as either; Postgres itself refuses a write

A unit is one transaction (`recall/database/transaction.py`). Its deadline holds whatever the
network does, and it takes effect at most once:

    lost before COMMIT was sent    run again on a fresh connection
    lost behind it                 sign again: where the signature stands, all is done
"""

from __future__ import annotations

import asyncio
import random
import time
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from recall.base.faults import Fault, connection_lost, fault_of, translated
from recall.base.queries import query
from recall.contract.errors import Broken, Misconfigured, Unavailable
from recall.database.caller import OWNER, Caller
from recall.database.connections import HOW, Connections, cut
from recall.database.fetching import fetch_value
from recall.database.transaction import Pulse, Unit
from recall.embedded import keeper
from recall.schema import functions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from recall.base.settings import Settings
    from recall.contract.errors import RecallError
    from recall.database.caller import Owner, Right
    from recall.database.connections import Connection as Connection
    from recall.embedded.keeper import Server

T = TypeVar("T")

#: Seconds for a unit that stores a batch of a backfill or folds counts; for one that reads all
#: rows.
INDEXING, WHOLE = 60.0, 3600.0
#: Seconds between the server's own timeout for a unit and our cut of its connection: the server's
#: answer says why the unit ended, a cut does not.
GRACE = 0.5
#: Seconds: while a server is away for less than RESTART, units wait until their deadline; behind
#: that each waits for PATIENCE only, so that its caller hears soon.
RESTART, PATIENCE = 15.0, 2.0
#: Times that a unit is run which collides with others (a deadlock, a lost serialization).
COLLISIONS = 5

IN_DOUBT = (
    "The connection was lost at the last moment and the database has not come back: whether this "
    "was done is not known. Send it again with the same `key`, which stores nothing twice."
)


class Database:
    """The units of work of one process on one database."""

    def __init__(self, url: str, settings: Settings, server: Server | None = None) -> None:
        self.url = url
        self.server = server  # the embedded one: started again by whoever notices that it is gone
        self.pulse = Pulse()
        self.patience = settings.statement_timeout  # seconds for a unit that asks for no other
        self._search_path = "recall, pg_temp"
        self._connections = Connections(url, settings.pool_size)
        self._slots: list[int] = []  # a heap of those that are free: the lowest goes first
        self._new_slots = count(1)
        self._away_since: float | None = None
        self._given_up: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect once, so that a wrong URL or password is said at start and not at first use.

        Raises Misconfigured when the database does not answer.
        """
        try:
            async with await psycopg.AsyncConnection.connect(self.url, **HOW) as connection:
                vector = await fetch_value(connection, query("vector_schema"))
        except psycopg.OperationalError as error:
            raise Misconfigured(f"The database does not answer: {error}".strip()) from error
        if vector is not None:
            self._search_path = functions.read_functions(vector).path

    async def close(self) -> None:
        """Close every connection; a unit that was given up is not waited for long."""
        await self._connections.close()
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=1.0)

    async def as_caller(
        self,
        caller: Caller,
        work: Callable[[Connection], Awaitable[T]],
        *,
        needs: Right = "write",
        within: float | None = None,
        rings: bool = False,
    ) -> T:
        """Run `work` as one pipelined transaction of `caller` and return what it returned.

        It takes effect once, or, when this raises, not at all; only of a COMMIT whose answer was
        lost, on a server that then stays away, the sentence says that it is not known. `work` may
        be called several times. `within` are the seconds it may take in all,
        RECALL_STATEMENT_TIMEOUT by default. `rings` says that it makes jobs: workers elsewhere
        hear of it with the commit.

        Raises Forbidden when the caller lacks the right that it `needs`, Unavailable when the
        server stays away or does not answer in time, Overloaded when too many units wait, Invalid
        when the server refuses a value, Broken when it lacks what recall needs.
        """
        caller.need(needs)
        return await self._write(Unit(work, caller, self._until(within), writes=True, rings=rings))

    async def as_owner(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        within: float | None = None,
        rings: bool = False,
    ) -> T:
        """Run `work` like `as_caller`, past every policy: for all tenants.

        Raises what `as_caller` raises, but for Forbidden.
        """
        return await self._write(Unit(work, OWNER, self._until(within), writes=True, rings=rings))

    async def read(
        self,
        who: Caller | Owner,
        work: Callable[[Connection], Awaitable[T]],
        *,
        within: float | None = None,
    ) -> T:
        """Run `work`, which cannot change anything, without BEGIN and COMMIT.

        All messages of a pipeline up to its Sync are one implicit transaction, and `set_config(…,
        true)` holds as long. The two statements would be half of what a unit costs beside its
        work, 0.3 ms.

        Raises what `as_caller` raises, and Broken when `work` tries to write.
        """
        if isinstance(who, Caller):
            who.need("read")
        return await self._repeat(Unit(work, who, self._until(within), writes=False))

    async def _write(self, unit: Unit[T]) -> T:
        unit.slot = heappop(self._slots) if self._slots else next(self._new_slots)
        try:
            return await self._repeat(unit)
        finally:
            # Where a server may not have noticed yet that a unit ended, its slot is locked there.
            if not unit.lost:
                heappush(self._slots, unit.slot)

    def _until(self, within: float | None) -> float:
        now = time.monotonic()
        long_away = self._away_since is not None and now - self._away_since > RESTART
        return now + (PATIENCE if long_away else within or self.patience)

    async def _repeat(self, unit: Unit[T]) -> T:
        """Run the unit until it is done, until its deadline, or until something else is wrong."""
        collisions = 0
        for attempt in count(1):
            try:
                result = await self._bounded(unit)
            except psycopg.Error as error:
                pause = random.uniform(0, min(0.05 * 2**attempt, 1.0)) if attempt > 1 else 0.0
                again = fault_of(error) is Fault.NOW and pause < unit.left()
                if connection_lost(error):
                    unit.lost = True
                    unit.in_doubt |= unit.ending
                    await self._lost()
                else:
                    collisions += 1
                if not again or collisions == COLLISIONS:
                    raise self._explained(unit, error) from error
                await asyncio.sleep(pause)
            else:
                self._away_since = None
                self.pulse.answered.set()
                self.pulse.rang_at = unit.rang_at or self.pulse.rang_at
                return result
        raise AssertionError("unreachable")

    async def _lost(self) -> None:
        self._away_since = self._away_since or time.monotonic()
        await self._connections.drain()
        if self.server and not keeper.alive(self.server):
            await asyncio.to_thread(keeper.revive, self.server)

    def _explained(self, unit: Unit[T], error: psycopg.Error) -> RecallError:
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction) and not unit.writes:
            return Broken("What only reads tried to write; nothing was changed.")
        explained = Unavailable(IN_DOUBT) if unit.in_doubt else translated(error)
        if isinstance(explained, Unavailable):
            explained.again = self._again()
        return explained

    def _again(self) -> float:
        """Return the seconds to ask again in, 1 to 30: as many as the server has been away."""
        away = time.monotonic() - self._away_since if self._away_since is not None else 0.0
        return min(max(away, 1.0), 30.0)

    async def _bounded(self, unit: Unit[T]) -> T:
        """Make one attempt; when its time is over, or its caller cancels it, end it at once."""
        unit.ending = False
        attempt = asyncio.create_task(self._attempt(unit))
        try:
            await asyncio.wait({attempt}, timeout=max(unit.left() + GRACE, 0.0))
        except asyncio.CancelledError:
            self._give_up(attempt, unit)
            raise
        if attempt.done():
            return attempt.result()
        self._give_up(attempt, unit)
        await self._lost()
        raise Unavailable(
            IN_DOUBT
            if unit.ending or unit.in_doubt
            else "The database did not answer in time. Nothing was changed; try again.",
            self._again(),
        )

    def _give_up(self, attempt: asyncio.Task[T], unit: Unit[T]) -> None:
        """End an attempt without waiting for the network; its transaction is rolled back."""
        unit.lost = True
        if unit.connection is None:
            attempt.cancel()
        else:
            cut(unit.connection)
        self._given_up.add(attempt)
        attempt.add_done_callback(self._gone)

    def _gone(self, attempt: asyncio.Task[Any]) -> None:
        self._given_up.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # retrieved, or asyncio would log it: no caller is left

    async def _attempt(self, unit: Unit[T]) -> T:
        async with self._connections.one() as connection:
            return await unit.attempt(connection, self._search_path, self.pulse)
