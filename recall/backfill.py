"""Years of history in one command: streamed, counted, and resumable at any point.

Rows are read in a thread while the batch before them is stored. A batch, its jobs and the
position behind it are one transaction; a row that cannot be stored is skipped with its reason.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from recall.memories import BACKFILL, store_messages, store_notes
from recall.models import Message, Note
from recall.queries import query
from recall.sources import Found, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recall.database import Connection, Database
    from recall.sources import Position, Source

BATCH = 2_000


@dataclass
class Tally:
    """What became of the rows read so far: read = stored + known + skipped."""

    stored: int = 0
    known: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Rows read."""
        return self.stored + self.known + sum(self.skipped.values())

    def skip(self, reason: str) -> None:
        """Count a row that is no memory."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


async def backfill(
    database: Database,
    tenant: int,
    source: Source,
    report: Callable[[Tally], None] = lambda tally: None,
    on_skip: Callable[[Skipped], None] = lambda skipped: None,
) -> Tally:
    """Store everything that `source` holds and return what became of its rows.

    Goes on behind the last committed batch of an interrupted run; a finished one starts over and
    finds everything known. `report` is called after every batch.
    """
    id, kept = await _enter(database, tenant, f"{source.name}:{source.origin}")
    tally = Tally(**kept["tally"]) if kept else Tally()
    rows = source.read(kept["after"] if kept else None)
    batch = await asyncio.to_thread(_take, rows)
    while batch:
        ahead = asyncio.create_task(asyncio.to_thread(_take, rows))
        try:
            tally = await _store(database, tenant, id, batch, tally)
        finally:
            following = await ahead
        for item in batch:
            if isinstance(item, Skipped):
                on_skip(item)
        report(tally)
        batch = following
    await _advance(database, tenant, id, None)
    return tally


def _take(rows: Iterator[Found | Skipped]) -> list[Found | Skipped]:
    return list(islice(rows, BATCH))


async def _enter(database: Database, tenant: int, name: str) -> tuple[int, Any]:
    async def work(connection: Connection) -> tuple[int, Any]:
        row = await (await connection.execute(query("ensure_source"), [name])).fetchone()
        assert row is not None
        return row[0], row[1]

    return await database.run(work, tenant)


async def _advance(database: Database, tenant: int, id: int, position: Position) -> None:
    async def work(connection: Connection) -> None:
        await _write_position(connection, id, position)

    await database.run(work, tenant)


async def _write_position(connection: Connection, id: int, position: Position) -> None:
    text = None if position is None else json.dumps(position)
    await connection.execute(query("advance_source"), [text, id])


async def _store(
    database: Database, tenant: int, id: int, batch: list[Found | Skipped], before: Tally
) -> Tally:
    """Store a batch with the position behind it in one transaction; return the new tally."""
    found = [item.memory for item in batch if isinstance(item, Found)]
    messages = [memory for memory in found if isinstance(memory, Message)]
    notes = [memory for memory in found if isinstance(memory, Note)]

    async def work(connection: Connection) -> Tally:
        tally = Tally(before.stored, before.known, dict(before.skipped))
        if messages:
            stored = await store_messages(connection, messages, BACKFILL, id)
            tally.stored += stored.accepted
            tally.known += stored.duplicates
        if notes:
            stored = await store_notes(connection, notes, BACKFILL, id)
            tally.stored += stored.accepted
            tally.known += stored.duplicates
        for item in batch:
            if isinstance(item, Skipped):
                tally.skip(item.reason)
        position = {"after": batch[-1].position, "tally": vars(tally)}
        await _write_position(connection, id, position)
        return tally

    return await database.run(work, tenant)
