"""A first large load: the HNSW index is built behind the rows, not with them.

Building a graph over a million vectors at once costs about a fifth of inserting them one by one.
So a load into an empty index drops HNSW and builds it at the end, concurrently: live messages
are stored and indexed meanwhile, and questions are answered by an exact scan. The process that does
so holds an advisory lock on the direct URL. A missing index whose lock no process holds is that of
an interrupted load: the next load builds it, the next worker that starts, or `recall doctor --fix`.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from recall.base.queries import query
from recall.database.caller import OWNER
from recall.database.fetching import fetch_all, fetch_value
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


@dataclass(frozen=True, slots=True)
class _Index:
    """A profile's index: `active` is the profile, `usable` the index."""

    profile: int
    dimension: int
    active: bool
    usable: bool

    @property
    def name(self) -> sql.Identifier:
        return sql.Identifier("recall", f"embedding_{self.profile}_hnsw")


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


async def build_missing(settings: Settings, say: Callable[[str], None]) -> int:
    """Build every HNSW index that is missing, unless a load is under way; return how many."""
    async with _builder(settings) as connection:
        return await _build_missing(connection, say) if connection else 0


async def missing_graphs(database: Database) -> int:
    """Return how many profiles have no HNSW index that may be used."""

    async def work(connection: Connection) -> int:
        return int(await fetch_value(connection, query("missing_hnsw")))

    return await database.read(OWNER, work)


async def examine_graph(database: Database, settings: Settings, fix: bool) -> Finding:
    """Return how many HNSW indexes are missing, and with `fix` build them."""
    missing = await missing_graphs(database)
    repaired = bool(fix and missing and await build_missing(settings, log.info) >= missing)
    return Finding(COUNTS, missing, repaired)


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
            vector = await fetch_value(connection, query("vector_schema"))
            path = functions.read_functions(vector or "public").path
            await connection.execute(query("build_path"), [path])
            if not await fetch_value(connection, query("lock_build")):
                yield None
                return
            yield connection
            if not connection.closed:
                await connection.execute(query("unlock_build"))


async def _took_away(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Drop the active profile's index if nothing is in it and much will be."""
    for index in await _indexes(connection):
        if not (index.active and index.usable):
            continue
        empty = await fetch_value(connection, query("nothing_embedded"), [index.profile])
        if empty and await fetch_value(connection, query("jobs_waiting")) > LARGE:
            await connection.execute(sql.SQL("drop index {}").format(index.name))
            return True
    return False


async def _build_missing(
    connection: psycopg.AsyncConnection[Any], say: Callable[[str], None]
) -> int:
    lacking = [index for index in await _indexes(connection) if not index.usable]
    for index in lacking:
        vectors = await fetch_value(connection, query("embedded_vectors"), [index.profile])
        say(f"Building the HNSW index over {vectors:,} vectors")
        began = time.monotonic()
        values = {"dimension": index.dimension, "profile": index.profile}
        await connection.execute(query("memory_for_build"), values)
        try:
            await _build(connection, index)
        except psycopg.errors.DiskFull:
            # Builders share memory in /dev/shm, which containers keep small.
            await connection.execute(query("one_builder"))
            await _build(connection, index)
        say(f"Built in {time.monotonic() - began:.0f} s")
    return len(lacking)


async def _build(connection: psycopg.AsyncConnection[Any], index: _Index) -> None:
    """Build one index; what an interrupted build left under its name goes first."""
    await connection.execute(sql.SQL("drop index concurrently if exists {}").format(index.name))
    statement = await fetch_value(connection, query("hnsw_index"), [index.profile, index.dimension])
    await connection.execute(sql.SQL("create index concurrently ") + sql.SQL(statement))


async def _indexes(connection: psycopg.AsyncConnection[Any]) -> list[_Index]:
    return await fetch_all(connection, _Index, query("hnsw_indexes"))
