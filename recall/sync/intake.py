"""What a follower stores: the memories that it read, with the position behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.database.units import INDEXING
from recall.sync.entry import Entry, Progress, entry_of, keep_progress
from recall.sync.hashes import Recent
from recall.sync.store import owned, write_memories

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.sources.source import Position, Source
    from recall.sync.hashes import Hashed

RECENT_KEYS = 50_000  # read and stored last, of which is known what they said


@dataclass(frozen=True)
class News:
    """What one look at a source brought, in memories."""

    stored: int = 0
    changed: int = 0
    erased: int = 0

    def __bool__(self) -> bool:
        return bool(self.stored or self.changed or self.erased)

    def __add__(self, other: News) -> News:
        return News(
            self.stored + other.stored, self.changed + other.changed, self.erased + other.erased
        )


class Intake:
    """Stores for one caller what is read of a source, and says what was news."""

    def __init__(
        self,
        database: Database,
        caller: Caller,
        user: str | None,
        on_news: Callable[[News], None],
    ) -> None:
        self.database = database
        self.recent = Recent(RECENT_KEYS)
        self._caller = caller
        self._user = user
        self._on_news = on_news

    async def entry_of(self, source: Source) -> Entry:
        """Return the entry of `source`, which is made when it is new."""
        return await entry_of(self.database, self._caller, source)

    async def store(
        self, entry: Entry, read: Sequence[Hashed], lane: int, position: Position
    ) -> News:
        """Store memories with the position behind them in one transaction; return what was news."""
        if not read:
            return News()
        memories = owned([each.found.memory for each in read], self._user)

        async def work(connection: Connection) -> News:
            written = await write_memories(connection, entry.id, memories, lane)
            news = News(len(written.stored), len(written.changed))
            if news:
                await keep_progress(connection, entry, Progress(position))
            return news

        news = await self.database.as_caller(entry.caller, work, within=INDEXING, rings=True)
        for each in read:
            self.recent.put(each.key, each.content)
        self.tell(news)
        return news

    def tell(self, news: News) -> None:
        """Say what was news, if anything was."""
        if news:
            self._on_news(news)
