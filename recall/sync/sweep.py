"""Passes over a whole source: edits and deletions leave no trace in most, so that all is read.

A row that says something else is changed and indexed again; a memory of the source whose key a
whole pass did not meet is erased, if a second reading does not meet it either. Nothing is erased
when reading failed, before a whole pass since then met something, or for a system that does not
declare that it `erases`: what is missing from a copy was not taken back.
"""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING

from recall.memory.memories import BACKFILL
from recall.sync.ahead import ReadAhead
from recall.sync.gone import erase, gone, newest_memory
from recall.sync.hashes import Hashes, hashed
from recall.sync.intake import News

if TYPE_CHECKING:
    from recall.sources.source import Position, Source
    from recall.sync.entry import Entry
    from recall.sync.intake import Intake

SETTLE, PASS = 2.0, 60.0  # seconds between two passes over a file, over a server
PASS_SHARE = 20  # a pass may take a twentieth of the time


def is_file(source: Source) -> bool:
    """Return whether `source` is a file, whose time of change costs nothing to look at."""
    return "://" not in source.origin


class Sweep:
    """The passes over one source, as long as nothing fails."""

    def __init__(self, intake: Intake, source: Source, entry: Entry) -> None:
        self._intake = intake
        self._source = source
        self._entry = entry
        self._known = Hashes()  # of the contents that the last pass read
        self._touched: set[int] = set()  # hashes of keys written since the last pass began
        self._trusted = False  # a whole pass met something
        self._changed = True  # something was read since the last pass began
        self._next = 0.0  # when the next pass may begin, on the monotonic clock

    def touch(self, keys: set[int]) -> None:
        """Say that the source changed, and that these keys were written."""
        self._changed = True
        self._touched |= keys

    def due(self, news: bool) -> bool:
        """Return whether a pass should begin; while there is `news` it may be a while late."""
        late = time.monotonic() - self._next
        return self._changed and late >= 0 and (not news or late > PASS)

    async def run(self) -> tuple[News, Position | None]:
        """Make a pass; return what was news and the position behind all that was read.

        Raises SourceUnreadable when the source cannot be read.
        """
        began, trusted = time.monotonic(), self._trusted
        # The next pass compares again what is written from here on: this one may read pages of
        # the source that are older.
        touched, self._touched, self._changed = self._touched, set(), not trusted
        newest = await newest_memory(self._intake.database, self._entry)
        contents, keys = array("q"), array("q")
        news, position = News(), None
        async with ReadAhead(self._source.read()) as ahead:
            while batch := await ahead.take():
                read = list(hashed(batch))
                contents.extend(each.content for each in read)
                keys.extend(each.key for each in read)
                position = batch[-1].position
                known = self._known.holds([each.content for each in read])
                fresh = [
                    each
                    for each, is_known in zip(read, known, strict=True)
                    if each.key in touched or not is_known
                ]
                news += await self._intake.store(self._entry, fresh, BACKFILL, position)
        if trusted and self._source.system.erases:
            news += await self._erase(newest, Hashes(keys))
        self._trusted = trusted or bool(keys)
        self._known = Hashes(contents)
        now = time.monotonic()
        pause = SETTLE if is_file(self._source) else PASS
        self._next = now + max(pause, PASS_SHARE * (now - began))
        return news, position

    async def _erase(self, newest: int, there: Hashes) -> News:
        """Erase the source's memories that are gone from it."""
        ids = await gone(self._intake.database, self._entry, self._source, newest, there)
        news = News(erased=await erase(self._intake.database, self._entry, ids))
        self._intake.tell(news)
        return news
