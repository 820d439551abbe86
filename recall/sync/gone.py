"""Memories of a source that are gone from it: found by their keys, and erased."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.database.fetching import Row, fetch_all, fetch_value
from recall.database.units import INDEXING
from recall.memory.forget import Selection, forget
from recall.sync.ahead import BATCH_ITEMS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from recall.database.units import Connection, Database
    from recall.sources.source import Source
    from recall.sync.entry import Entry
    from recall.sync.hashes import Hashes

KEYS_PAGE = 10_000  # memories whose keys are compared at once


async def newest_memory(database: Database, entry: Entry) -> int:
    """Return the largest id of the source's memories; 0 when it has none."""

    async def work(connection: Connection) -> int:
        return int(await fetch_value(connection, query("newest_memory"), [entry.id]))

    return await database.read(entry.caller, work)


async def gone(
    database: Database, entry: Entry, source: Source, newest: int, there: Hashes
) -> list[int]:
    """Return the source's memories up to `newest` that are gone from it.

    Their keys' hashes are not `there`, and a second reading does not meet their keys. Raises
    SourceUnreadable when that reading fails.
    """
    missing: dict[str, int] = {}
    after = 0
    while page := await _memories(database, entry, after, newest):
        held = there.holds([hash(key) for _, key in page])
        missing |= {key: id for (id, key), is_held in zip(page, held, strict=True) if not is_held}
        after = page[-1][0]
    if missing:
        for key in await asyncio.to_thread(_met, source, missing.keys()):
            del missing[key]
    return [*missing.values()]


async def _memories(
    database: Database, entry: Entry, after: int, newest: int
) -> list[tuple[int, str]]:
    values = {"source": entry.id, "after": after, "newest": newest, "limit": KEYS_PAGE}

    async def work(connection: Connection) -> list[tuple[int, str]]:
        rows = await fetch_all(connection, Row, query("memories_of_source"), values)
        return [(row["id"], row["key"]) for row in rows]

    return await database.read(entry.caller, work)


def _met(source: Source, keys: AbstractSet[str]) -> set[str]:
    return {key for key in source.ids() if key in keys}


async def erase(database: Database, entry: Entry, ids: Sequence[int]) -> int:
    """Erase memories of the source, some thousand in a unit; return how many were still there.

    Raises Forbidden when its caller may not erase.
    """
    erased = 0
    for start in range(0, len(ids), BATCH_ITEMS):
        part = Selection(source=entry.id, ids=ids[start : start + BATCH_ITEMS])
        erased += (await forget(database, entry.caller, part, within=INDEXING)).memories
    return erased
