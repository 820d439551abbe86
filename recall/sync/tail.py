"""The end of a source: what is new there, read from a little before the position on.

A row may be committed behind a later one, so that reading goes on from `rewind(position)`, a
minute or a thousand rows back; what was read before and says the same is passed over by its hash.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from recall.memory.memories import BACKFILL, LIVE
from recall.sync import ahead
from recall.sync.hashes import hashed
from recall.sync.intake import News

if TYPE_CHECKING:
    from recall.sources.source import Source
    from recall.sync.entry import Entry
    from recall.sync.intake import Intake


class Look(NamedTuple):
    """What one look at the end brought, and the hashes of the keys that were written."""

    news: News
    keys: set[int]


class Tail:
    """The end of one source, as long as nothing fails."""

    def __init__(self, intake: Intake, source: Source, entry: Entry) -> None:
        self._intake = intake
        self._source = source
        self._entry = entry
        self._mark: str | None = None  # the fingerprint that was read last
        #: Behind what was read.
        self.position = entry.progress.position if entry.progress else None

    async def look(self) -> Look | None:
        """Store what is new; return None when the source's fingerprint says that nothing is.

        Raises SourceUnreadable when the source cannot be read.
        """
        mark = await asyncio.to_thread(self._source.fingerprint)
        if mark is not None and mark == self._mark:
            return None
        look = await self._read()
        # A commit in the same tick of the file's clock leaves the same mark, so behind news the
        # source is read once more.
        self._mark = None if look.news else mark
        return look

    async def _read(self) -> Look:
        recent, news, keys = self._intake.recent, News(), set[int]()
        start = None if self.position is None else self._source.rewind(self.position)
        async with ahead.ReadAhead(self._source.read(start)) as rows:
            while batch := await rows.take():
                new = [each for each in hashed(batch) if recent.get(each.key) != each.content]
                # A full batch is history that is caught up with, fewer rows are a conversation now.
                lane = LIVE if len(batch) < ahead.BATCH_ITEMS else BACKFILL
                position = batch[-1].position
                news += await self._intake.store(self._entry, new, lane, position)
                keys.update(each.key for each in new)
                self.position = position
        return Look(news, keys)
