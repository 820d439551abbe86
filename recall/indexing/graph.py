"""A first large load: the HNSW index is built behind the rows, not with them.

Building a graph over a million vectors at once costs about a fifth of inserting them one by one.
So a load into an empty index takes HNSW away and builds it at the end, concurrently: live messages
are stored and indexed meanwhile, and questions are answered by an exact scan. Whoever does this
holds an advisory lock on the direct URL; a missing index whose lock nobody holds was interrupted,
and is built by the next load, the next worker that starts, or `recall doctor --fix`.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from recall.base.queries import query
from recall.database.caller import OWNER
from recall.embedded import keeper
from recall.indexing.doctor import Finding
from recall.schema import functions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from recall.base.settings import Settings
    from recall.database.units import Connection, Database

log = logging.getLogger("recall.build")

#: Memories to be indexed from which on building at the end pays.
LARGE = 20_000
COUNTS = "missing HNSW indexes"


@asynccontextmanager
async def deferred(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Index inside the block without HNSW when that pays; build what is missing behind it."""
    async with _builder(settings) as connection:
        if connection is None:
            yield
            return
        if await _took_away(connection):
            say("A first large load: the HNSW index is built behind the rows.")
        yield
        await _build_missing(connection, say)


async def repair(settings: Settings, say: Callable[[str], None]) -> int:
    """Build every HNSW index that is missing, unless a load is under way; return how many."""
    async with _builder(settings) as connection:
        return await _build_missing(connection, say) if connection else 0


async def missing(database: Database) -> int:
    """Return how many profiles have no HNSW index that may be used."""

    async def work(connection: Connection) -> int:
        row = await (await connection.execute(query("missing_hnsw"))).fetchone()
        return int(row[0]) if row else 0

    return await database.read(OWNER, work)


async def examine(database: Database, settings: Settings, fix: bool) -> Finding:
    """Return how many HNSW indexes are missing, and with `fix` build them."""
    found = await missing(database)
    repaired = bool(fix and found and await repair(settings, log.info) >= found)
    return Finding(COUNTS, found, repaired)


@contextmanager
def _direct(settings: Settings) -> Iterator[str]:
    if not settings.embedded:
        yield settings.direct_url
        return
    use = keeper.start(settings.home)
    try:
        yield use.server.url()
    finally:
        use.release()


@asynccontextmanager
async def _builder(settings: Settings) -> AsyncIterator[psycopg.AsyncConnection[Any] | None]:
    """Yield a direct connection that holds the lock; None when another process does."""
    with _direct(settings) as url:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=15, application_name="recall"
        ) as connection:
            lies = await (await connection.execute(query("vector_schema"))).fetchone()
            path = functions.read(lies[0] if lies else "public").path
            await connection.execute(query("build_path"), [path])
            row = await (await connection.execute(query("lock_build"))).fetchone()
            if not (row and row[0]):
                yield None
                return
            yield connection
            if not connection.closed:
                await connection.execute(query("unlock_build"))


async def _took_away(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Drop the active profile's index if nothing is in it and much will be."""
    for profile, _, active, usable in await _indexes(connection):
        if not (active and usable):
            continue
        empty = await (await connection.execute(query("nothing_embedded"), [profile])).fetchone()
        waiting = await (await connection.execute(query("jobs_waiting"))).fetchone()
        if empty and empty[0] and waiting and waiting[0] > LARGE:
            await connection.execute(sql.SQL("drop index {}").format(_name(profile)))
            return True
    return False


async def _build_missing(
    connection: psycopg.AsyncConnection[Any], say: Callable[[str], None]
) -> int:
    lacking = [row for row in await _indexes(connection) if not row[3]]
    for profile, dimension, _, _ in lacking:
        counted = await (await connection.execute(query("embedded_vectors"), [profile])).fetchone()
        say(f"Building the HNSW index over {counted[0] if counted else 0:,} vectors")
        began = time.monotonic()
        await connection.execute(
            query("memory_for_build"), {"dimension": dimension, "profile": profile}
        )
        try:
            await _build(connection, profile, dimension)
        except psycopg.errors.DiskFull:
            # Builders share memory in /dev/shm, which containers keep small.
            await connection.execute(query("one_builder"))
            await _build(connection, profile, dimension)
        say(f"Built in {time.monotonic() - began:.0f} s")
    return len(lacking)


async def _build(connection: psycopg.AsyncConnection[Any], profile: int, dimension: int) -> None:
    """Build one index; what an interrupted build left under its name goes first."""
    await connection.execute(sql.SQL("drop index concurrently if exists {}").format(_name(profile)))
    row = await (await connection.execute(query("hnsw_index"), [profile, dimension])).fetchone()
    assert row is not None
    await connection.execute(sql.SQL("create index concurrently ") + sql.SQL(row[0]))


def _name(profile: int) -> sql.Identifier:
    return sql.Identifier("recall", f"embedding_{profile}_hnsw")


async def _indexes(
    connection: psycopg.AsyncConnection[Any],
) -> list[tuple[int, int, bool, bool]]:
    return await (await connection.execute(query("hnsw_indexes"))).fetchall()
