"""Following a history that goes on elsewhere: what is new, what was edited, what is gone.

The source is asked every POLL seconds while something new came within the last ACTIVE seconds;
then the waits double, to FILE_WAIT seconds for a file, whose time of change costs nothing to look
at, and to 15 minutes (`longest_wait`) for a server: past the five minutes after which Neon
suspends. recall's own database is touched only when there is something to store, and to look for
deletions when the source changed.

`tail` reads what is new. When the source changed, `sweep` makes a pass over all of it, at most a
twentieth of the time: SETTLE seconds apart for a file, PASS for a server, 20 times as long as the
last pass took if that is more. New rows are looked for meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from recall.base.supervisor import Duty
from recall.contract.errors import RecallError
from recall.sync.intake import Intake, News
from recall.sync.sweep import Sweep, is_file
from recall.sync.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.sources.source import Source
    from recall.sync.followed import Followed

log = logging.getLogger("recall.follow")

POLL = 0.5  # seconds between two looks while rows keep coming
ACTIVE = 60.0  # seconds after the last news for which that goes on
FILE_WAIT = 2.0  # seconds: the longest wait between two looks at a file
FAILING_WAIT = 30.0  # seconds: the longest wait while a source is away


class Readers(NamedTuple):
    """What reads one source until something fails; the next look begins with new ones."""

    tail: Tail
    sweep: Sweep

    async def new(self) -> News:
        """Look for what is new."""
        look = await self.tail.look()
        if look is None:
            return News()
        self.sweep.touch(look.keys)
        return look.news

    async def whole(self) -> News:
        """Make a pass over the whole source."""
        start = self.tail.position
        news, position = await self.sweep.run()
        if self.tail.position is start:
            self.tail.position = position
        return news


class Follower:
    """Follows one source for one caller until told to stop."""

    def __init__(
        self,
        database: Database,
        caller: Caller,
        followed: Followed,
        on_news: Callable[[News], None] = lambda news: None,
    ) -> None:
        self._followed = followed
        self._intake = Intake(database, caller, followed.user, on_news)
        self._woken = asyncio.Event()
        self._stopping = False
        self._failing = False
        self._source: Source | None = None
        self._readers: Readers | None = None

    def stop(self) -> None:
        """Return from `run` after what is being stored."""
        self._stopping = True
        self._woken.set()

    def nudge(self) -> None:
        """Say that the source has something new: look at once."""
        self._woken.set()

    async def run(self, duty: Duty | None = None) -> None:
        """Follow until stopped; survives a source, or a database, that goes and comes back.

        `duty` is told how the following goes.
        """
        duty = duty or Duty("Following", needed=False)
        wait, last_news = POLL, time.monotonic()
        while not self._stopping:
            self._woken.clear()
            try:
                duty.works()
                news = await self.look()
                duty.rests()
            except Exception as error:  # whatever a source raises, following it goes on
                duty.fails(error)
                self._fail(error)
                wait = min(wait * 2, self._longest_wait(), FAILING_WAIT)
            else:
                if self._recovered() or news:
                    wait, last_news = POLL, time.monotonic()
                elif time.monotonic() - last_news > ACTIVE:
                    wait = min(wait * 2, self._longest_wait())
            try:
                await asyncio.wait_for(self._woken.wait(), wait)
                wait = POLL
            except TimeoutError:
                continue

    async def look(self) -> News:
        """Look once: what is new, and by a whole pass, when one is due, what is not any more.

        Raises SourceUnreadable when the source cannot be read.
        """
        readers = await self._opened()
        news = await readers.new()
        if readers.sweep.due(bool(news)):
            news += await self._pass_beside_new(readers)
        return news

    async def _pass_beside_new(self, readers: Readers) -> News:
        """Make a pass; whatever it takes, what is new meanwhile does not wait for its end."""
        passing = asyncio.create_task(readers.whole())
        news = News()
        try:
            while not (await asyncio.wait([passing], timeout=POLL))[0]:
                if self._stopping:
                    return news
                news += await readers.new()
        finally:
            passing.cancel()
            # Gathered, so that the pass's own failure beside another one counts as retrieved.
            await asyncio.gather(passing, return_exceptions=True)
        return news + passing.result()

    async def _opened(self) -> Readers:
        if self._source is None:
            self._source = await asyncio.to_thread(self._followed.open)
        if self._readers is None:
            entry = await self._intake.entry_of(self._source)
            tail = Tail(self._intake, self._source, entry)
            self._readers = Readers(tail, Sweep(self._intake, self._source, entry))
        return self._readers

    def _longest_wait(self) -> float:
        longest = self._followed.longest_wait
        of_file = self._source is not None and is_file(self._source)
        return min(FILE_WAIT, longest) if of_file else longest

    def _fail(self, error: Exception) -> None:
        """Begin anew: the source's entry may be gone, and a pass may have been cut short."""
        if not (self._failing or isinstance(error, RecallError | OSError)):
            log.exception("Following %s failed; trying again", self._source)
        self._failing, self._readers = True, None

    def _recovered(self) -> bool:
        recovered, self._failing = self._failing, False
        return recovered
