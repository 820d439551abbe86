"""One pool of connections, and one way to use it: a unit of work.

A unit is one transaction under the role that row-level security binds, with its tenant set in
the same transaction (`set_config(…, true)`: right behind a transaction pooler too). A unit may
run again when the server went away, so it must be idempotent; every unit of recall is.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from recall import functions
from recall.errors import Misconfigured, Overloaded, Unavailable
from recall.queries import query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from recall.settings import Settings

    Connection = AsyncConnection[tuple[Any, ...]]

T = TypeVar("T")

#: admin_shutdown, crash_shutdown, cannot_connect_now: what a suspended or restarted server says.
RESTARTING = frozenset({"57P01", "57P02", "57P03"})
#: serialization_failure and deadlock_detected: the transaction is gone, the connection is fine.
COLLIDED = frozenset({"40001", "40P01"})
ATTEMPTS = 4

#: For a unit that serves every tenant (the queue): the owner's role, no tenant.
NO_TENANT = None


def connection_lost(error: psycopg.Error) -> bool:
    """Return whether the same unit may be tried again on a fresh connection.

    By type and SQLSTATE, never by text: messages differ by TLS, version and system.
    """
    if not isinstance(error, psycopg.OperationalError) or isinstance(error, PoolTimeout):
        return False
    state = error.sqlstate
    return state is None or state.startswith("08") or state in RESTARTING


class Database:
    """The pool, and `run`: a unit of work with its tenant, retried when the server went away."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self._timeout_ms = round(settings.statement_timeout * 1000)
        self._search_path = "recall, pg_temp"
        self._pool = AsyncConnectionPool(
            url,
            # No `check` and no idle connections kept: Neon suspends what is idle, and a pool of
            # dead connections is found dead one by one. A lost one drains them all at once.
            min_size=0,
            max_size=settings.pool_size,
            max_idle=60,
            max_waiting=settings.pool_size * 32,
            timeout=15,
            open=False,
            kwargs={
                "autocommit": True,
                # Poolers in transaction mode hand the next statement to another server.
                "prepare_threshold": None,
                "connect_timeout": 15,
                "application_name": "recall",
            },
        )

    async def open(self) -> None:
        """Connect once, so that a wrong URL or password is said at start and not at first use."""
        await self._pool.open()
        try:
            async with await AsyncConnection.connect(
                self.url, autocommit=True, connect_timeout=15
            ) as connection:
                row = await (await connection.execute(query("vector_schema"))).fetchone()
        except psycopg.OperationalError as error:
            await self._pool.close()
            raise Misconfigured(f"The database does not answer: {error}".strip()) from error
        if row is not None:
            self._search_path = functions.read(row[0]).path

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        tenant: int | None,
    ) -> T:
        """Run `work` as one pipelined transaction of `tenant` and return what it returns.

        In a pipeline the settings and the statement travel together: one flight, not three.
        `tenant` None runs as the owner, which only the queue and administration may.
        Raises Unavailable when the server stays away, Overloaded when too many units wait.
        """
        return await self._attempt(work, tenant, pipelined=True, transaction=True)

    async def read(
        self,
        work: Callable[[Connection], Awaitable[T]],
        tenant: int | None,
    ) -> T:
        """Run `work`, which changes nothing, like `run`, without BEGIN and COMMIT.

        Up to its Sync a pipeline is one transaction as it is, and the settings hold as long; the
        two statements would be half of what a unit costs beside its work, 0.3 ms.
        """
        return await self._attempt(work, tenant, pipelined=True, transaction=False)

    async def copy(
        self,
        work: Callable[[Connection], Awaitable[T]],
        tenant: int | None,
    ) -> T:
        """Run `work` like `run`, outside a pipeline: COPY cannot travel in one."""
        return await self._attempt(work, tenant, pipelined=False, transaction=True)

    async def _attempt(
        self,
        work: Callable[[Connection], Awaitable[T]],
        tenant: int | None,
        *,
        pipelined: bool,
        transaction: bool,
    ) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with (
                    self._pool.connection() as connection,
                    connection.pipeline() if pipelined else nullcontext(),
                    connection.transaction() if transaction else nullcontext(),
                ):
                    await self._enter(connection, tenant)
                    return await work(connection)
            except TooManyRequests as error:
                raise Overloaded("Too many requests wait for the database; try again.") from error
            except PoolTimeout as error:
                raise Unavailable(f"The database gave no connection: {error}.") from error
            except psycopg.OperationalError as error:
                lost = connection_lost(error)
                if attempt == ATTEMPTS or not (lost or error.sqlstate in COLLIDED):
                    raise Unavailable(f"The database could not answer: {error}") from error
                if lost:
                    await self._pool.drain()
                if attempt > 1:  # first retry at once, then with growing, jittered pauses
                    await asyncio.sleep(random.uniform(0, 0.2 * 2**attempt))
        raise AssertionError("unreachable")

    async def _enter(self, connection: Connection, tenant: int | None) -> None:
        await connection.execute(
            query("enter_unit") if tenant is not None else query("enter_owner_unit"),
            {
                "tenant": "" if tenant is None else str(tenant),
                "search_path": self._search_path,
                "timeout": f"{self._timeout_ms}ms",
            },
        )
