"""Years of history in one command: streamed, counted, and resumable at any point.

Rows are read in a thread while the batch before them is stored. A batch, its jobs and the
position behind it are one transaction; a row that cannot be stored is skipped with its reason. A
memory of this source whose row says something else now is changed, and indexed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from recall.base.queries import query
from recall.contract.errors import SourceUnreadable
from recall.database.units import INDEXING, WHOLE
from recall.memory.memories import BACKFILL
from recall.sources.reason import Reason
from recall.sources.source import Found, Skipped
from recall.sync.ahead import ReadAhead
from recall.sync.entry import Progress, entry_of, keep_progress
from recall.sync.store import owned, write_memories
from recall.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from recall.contract.values import Message, Note
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.sources.source import Position, Source
    from recall.sync.entry import Entry

UNSTATED = 20_000  # memories stored at once, of which the planner's statistics should know


@dataclass(frozen=True)
class Terms:
    """What of a source is asked for, and how."""

    user: str | None = None  # given to memories that name no user
    since: datetime | None = None  # older rows are skipped
    limit: int | None = None  # rows to read at most
    strict: bool = False  # a damaged row stops the reading instead of being skipped

    def asked(self) -> dict[str, Any]:
        """Return what an interrupted run must have been asked, to be gone on with, as JSON."""
        since = self.since.isoformat() if self.since else None
        return {"user": self.user, "since": since, "limit": self.limit}

    def of(self, rows: Iterator[Found | Skipped], read: int) -> Iterator[Found | Skipped]:
        """Yield what is asked for of `rows`, of which `read` were read before.

        Raises SourceUnreadable for a damaged row when `strict`.
        """
        for item in rows:
            if isinstance(item, Skipped) or item.row:
                if self.limit is not None and read >= self.limit:
                    return
                read += 1
            if isinstance(item, Skipped):
                if self.strict and item.reason.damaged:
                    detail = f" ({item.detail})" if item.detail else ""
                    raise SourceUnreadable(f"A row is bad: {item.where}: {item.reason}{detail}.")
                yield item
            elif not self._too_old(item.memory):
                yield item
            elif item.row:
                yield Skipped(Reason.TOO_OLD, item.memory.key or "", item.position)

    def _too_old(self, memory: Message | Note) -> bool:
        at = memory.created_at
        return self.since is not None and at is not None and at < self.since


async def backfill(
    database: Database, caller: Caller, source: Source, terms: Terms | None = None
) -> Tally:
    """Store everything that is asked for of `source` and return what became of its rows.

    Raises what `Backfill.run` raises.
    """
    return await (await Backfill.begin(database, caller, source, terms or Terms())).run()


class Backfill:
    """One run over a source: behind the last committed batch of one that was interrupted.

    A run that came to its end is not gone on with: the next starts over, and finds what is known.
    """

    def __init__(self, database: Database, source: Source, terms: Terms, entry: Entry) -> None:
        self._database = database
        self._source = source
        self._terms = terms
        self._entry = entry
        self._position: Position | None = None
        #: What became of the rows read so far, those of the interrupted run included.
        self.tally = Tally()
        progress = entry.progress
        if progress and progress.tally and progress.asked == terms.asked():
            self.tally = progress.tally
            self._position = progress.position if self.tally.read else None

    @classmethod
    async def begin(cls, database: Database, caller: Caller, source: Source, terms: Terms) -> Self:
        """Return a run that has read nothing yet."""
        return cls(database, source, terms, await entry_of(database, caller, source))

    async def run(
        self,
        report: Callable[[Tally], None] = lambda tally: None,
        on_skip: Callable[[Skipped], None] = lambda skipped: None,
    ) -> Tally:
        """Store all that is left and return what became of all rows.

        `report` is called after every batch; `on_skip` before the commit that counts the skipped
        row. Raises SourceUnreadable when the source cannot be read, or has a damaged row and the
        terms are strict.
        """
        rows = self._terms.of(self._source.read(self._position), self.tally.read)
        async with ReadAhead(rows) as ahead:
            while batch := await ahead.take():
                for item in batch:
                    if isinstance(item, Skipped) and item.reason is not Reason.TOO_OLD:
                        on_skip(item)
                self.tally = await self._store(batch)
                self._position = batch[-1].position
                report(self.tally)
        if self.tally.memories > UNSTATED:
            await _analyze(self._database)
        await self._end()
        return self.tally

    async def _store(self, batch: Sequence[Found | Skipped]) -> Tally:
        """Store a batch with the position behind it in one transaction; return the new tally."""

        async def work(connection: Connection) -> Tally:
            read = [item.memory for item in batch if isinstance(item, Found)]
            memories = owned(read, self._terms.user)
            written = await write_memories(connection, self._entry.id, memories, BACKFILL)
            tally = self.tally.with_batch(batch, written)
            progress = Progress(batch[-1].position, tally, self._terms.asked())
            await keep_progress(connection, self._entry, progress)
            return tally

        return await self._database.as_caller(self._entry.caller, work, within=INDEXING, rings=True)

    async def _end(self) -> None:
        # A reading that its limit cut short did not reach the end, so none is kept.
        end = None if self._terms.limit is not None else Progress(self._position)

        async def work(connection: Connection) -> None:
            await keep_progress(connection, self._entry, end)

        await self._database.as_caller(self._entry.caller, work)


async def _analyze(database: Database) -> None:
    """Analyze the tables now, as autovacuum would within a minute.

    By statistics of empty tables the planner has each batch of the worker sort the whole queue and
    hash all memories.
    """

    async def work(connection: Connection) -> None:
        await connection.execute(query("analyze_stored"))

    await database.as_owner(work, within=WHOLE)
