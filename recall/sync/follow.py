"""Following a history that goes on elsewhere: what is new, what was edited, what is gone.

The source is asked every POLL seconds while something new came within the last ACTIVE seconds;
then the waits double, to FILE_WAIT seconds for a file, whose time of change costs nothing to look
at, and to 15 minutes (`longest_wait`) for a server: past the five minutes after which Neon
suspends. recall's own database is touched only when there is something to store, and to look for
deletions when the source changed.

New rows. Reading goes on from `rewind(position)`, a minute or a thousand rows back, because a row
may be committed behind a later one; what was read before and says the same is passed over by its
hash. Edits and deletions leave no trace in most sources, so that the whole source is read again
(a pass) when it changed, and at most a twentieth of the time: SETTLE seconds apart for a file,
PASS for a server, 20 times as long as the last pass took if that is more. New rows are looked for
meanwhile. A row that says something else is changed and indexed again; a memory of this source
whose key a whole pass did not meet is erased, if a second reading does not meet it either.

Nothing is erased when reading failed, before a whole pass since then met something, or for a
source that is a copy. An export is of one day and often of a part; a JSONL file is rotated and cut
by whoever writes it; a browser's list of OpenAI conversations keeps the newest fifty, and the API
answers alike for a conversation that was deleted and for one of another key's project. What is
missing from these was not taken back: it is forgotten by asking recall for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recall.base.queries import query
from recall.base.supervisor import Duty
from recall.contract.errors import RecallError
from recall.database.units import INDEXING
from recall.memory.forget import Selection, forget
from recall.memory.memories import BACKFILL, LIVE
from recall.sources.source import Found
from recall.sync.backfill import BATCH, Place, Reader, entered, keep, owned, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.sources.source import Position, Skipped, Source
    from recall.sync.register import Followed

log = logging.getLogger("recall.follow")

POLL = 0.5  # seconds between two looks while rows keep coming
ACTIVE = 60.0  # seconds after the last news for which that goes on
FILE_WAIT = 2.0  # seconds: the longest wait between two looks at a file
FAILING_WAIT = 30.0  # seconds: the longest wait while a source is away
SETTLE, PASS = 2.0, 60.0  # seconds between two passes over a file, a server
SHARE = 20  # a pass may take a twentieth of the time
REMEMBERED = 50_000  # keys read lately
PAGE = 10_000  # keys of memories looked at together

#: Copies of a history: what is not in them was not taken back.
COPIES = frozenset({"chatgpt", "claude", "jsonl", "openai"})


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


class Follower:
    """Follows one source for one tenant until told to stop."""

    def __init__(
        self,
        database: Database,
        caller: Caller,
        followed: Followed,
        on_news: Callable[[News], None] = lambda news: None,
    ) -> None:
        self._database = database
        self._caller = caller
        self._followed = followed
        self._on_news = on_news
        self._woken = asyncio.Event()
        self._stopping = False
        self._failing = False
        self._source: Source | None = None
        self._place: Place | None = None
        self._position: Position | None = None
        self._mark: str | None = None  # the fingerprint that was read last
        self._lately = Lately(REMEMBERED)
        self._known = np.empty(0, np.int64)  # hashes of all that the last pass read
        self._touched: set[int] = set()  # hashes of keys written since then
        self._trusted = False  # a whole pass met something, and nothing failed since
        self._unread = True  # something changed since the last pass
        self._next_pass = 0.0

    def stop(self) -> None:
        """Return from `run` after what is being stored."""
        self._stopping = True
        self._woken.set()

    def nudge(self) -> None:
        """Say that the source has something new: look at once."""
        self._woken.set()

    async def run(self, duty: Duty | None = None) -> None:
        """Follow until stopped; survives a source, or a database, that goes and comes back.

        `duty` is told how it stands.
        """
        duty = duty or Duty("Following", needed=False)
        wait, last_news = POLL, time.monotonic()
        while not self._stopping:
            self._woken.clear()
            try:
                duty.works()
                news = await self.look()
                duty.rests()
            except Exception as error:  # the one boundary: whatever a source does, follow it on
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
        """Look once: what is new, and by a whole pass, when one is due, what is not any more."""
        source, place = await self._opened()
        news = await self._look_for_new(source, place)
        late = time.monotonic() - self._next_pass
        if self._unread and late >= 0 and (not news or late > PASS):
            news += await self._pass_beside_new(source, place)
        return news

    async def _look_for_new(self, source: Source, place: Place) -> News:
        mark = await asyncio.to_thread(source.fingerprint)
        if mark is not None and mark == self._mark:
            return News()
        self._unread = True
        news = await self._read_new(source, place)
        # A commit in the same tick of the clock leaves the same mark: news are looked at twice.
        self._mark = None if news else mark
        return news

    async def _pass_beside_new(self, source: Source, place: Place) -> News:
        """Make a pass; whatever it takes, what is new meanwhile does not wait for its end."""
        passing = asyncio.create_task(self._pass(source, place))
        news = News()
        try:
            while not (await asyncio.wait([passing], timeout=POLL))[0]:
                if self._stopping:
                    return news
                news += await self._look_for_new(source, place)
        finally:
            if not passing.done():
                passing.cancel()
                await asyncio.wait([passing])
        return news + passing.result()

    async def _opened(self) -> tuple[Source, Place]:
        if self._source is None:
            self._source = await asyncio.to_thread(self._followed.open)
        if self._place is None:
            self._place = await entered(self._database, self._caller, self._source)
            kept = self._place.kept
            self._position = kept.get("end", kept.get("after"))
        return self._source, self._place

    def _is_file(self) -> bool:
        return self._source is not None and "://" not in self._source.origin

    def _longest_wait(self) -> float:
        longest = self._followed.longest_wait
        return min(FILE_WAIT, longest) if self._is_file() else longest

    def _fail(self, error: Exception) -> None:
        if not (self._failing or isinstance(error, RecallError | OSError)):
            log.exception("Following %s failed; trying again", self._source)
        self._failing, self._trusted = True, False
        self._mark, self._unread, self._next_pass = None, True, 0.0
        self._place = None  # it may have been erased, with its tenant or by itself
        self._known = np.empty(0, np.int64)  # a pass may have been cut short

    def _recovered(self) -> bool:
        if not self._failing:
            return False
        self._failing = False
        return True

    async def _read_new(self, source: Source, place: Place) -> News:
        """Read from a little before the position on, and store what was not read before."""
        start = None if self._position is None else source.rewind(self._position)
        news = News()
        async with Reader(source.read(start)) as reader:
            while batch := await reader.take():
                told = [each for each in _told(batch) if self._lately.get(each.key) != each.says]
                # A few rows are a conversation of this moment, a full batch is history.
                lane = LIVE if len(batch) < BATCH else BACKFILL
                news += await self._write(place, told, lane, batch[-1].position)
                self._touched.update(each.key for each in told)
                self._position = batch[-1].position
        return news

    async def _write(
        self, place: Place, told: Sequence[Told], lane: int, position: Position
    ) -> News:
        """Store memories with a position behind them in one transaction."""
        if not told:
            return News()
        memories = [owned(each.found, self._followed.user).memory for each in told]

        async def work(connection: Connection) -> News:
            stored, changed = await write(connection, place.id, memories, lane)
            if stored or changed:
                await keep(connection, place, {"end": position})
            return News(len(stored), len(changed))

        news = await self._database.as_caller(place.caller, work, within=INDEXING, rings=True)
        for each in told:
            self._lately.put(each.key, each.says)
        if news:
            self._on_news(news)
        return news

    async def _pass(self, source: Source, place: Place) -> News:
        """Read the whole source: change what says something else, erase what is gone."""
        began = time.monotonic()
        trusted, start = self._trusted, self._position
        # What is written from here on is looked at again by the next pass: this one may be read
        # from a page that is older.
        touched, self._touched, self._unread = self._touched, set(), not trusted
        newest = await self._newest(place)
        says, keys = array("q"), array("q")
        news = News()
        last: Position | None = None
        async with Reader(source.read()) as reader:
            while batch := await reader.take():
                told = list(_told(batch))
                says.extend(each.says for each in told)
                keys.extend(each.key for each in told)
                last = batch[-1].position
                known = _among(self._known, [each.says for each in told])
                fresh = [
                    each
                    for each, is_known in zip(told, known, strict=True)
                    if each.key in touched or not is_known
                ]
                news += await self._write(place, fresh, BACKFILL, last)
        if trusted and source.name not in COPIES:
            news += await self._forget(source, place, newest, _ordered(keys))
        self._trusted = trusted or bool(keys)
        self._known = _ordered(says)
        if self._position is start:
            self._position = last
        now = time.monotonic()
        self._next_pass = now + max(SETTLE if self._is_file() else PASS, SHARE * (now - began))
        return news

    async def _forget(self, source: Source, place: Place, newest: int, there: np.ndarray) -> News:
        """Erase the source's memories that are gone from it."""
        gone = await self._gone(source, place, newest, there)
        for start in range(0, len(gone), BATCH):
            part = Selection(source=place.id, ids=gone[start : start + BATCH])
            await forget(self._database, place.caller, part, within=INDEXING)
        news = News(erased=len(gone))
        if news:
            self._on_news(news)
        return news

    async def _newest(self, place: Place) -> int:
        async def work(connection: Connection) -> int:
            row = await (await connection.execute(query("newest_memory"), [place.id])).fetchone()
            return int(row[0]) if row else 0

        return await self._database.read(place.caller, work)

    async def _gone(
        self, source: Source, place: Place, newest: int, there: np.ndarray
    ) -> list[int]:
        """Return the source's memories whose keys are not `there`, nor in a second reading."""
        missing: dict[str, int] = {}
        after = 0
        while page := await self._memories(place, after, newest):
            found = _among(there, [hash(key) for _, key in page])
            missing |= {
                key: id for (id, key), is_there in zip(page, found, strict=True) if not is_there
            }
            after = page[-1][0]
        if missing:
            for key in await asyncio.to_thread(_met, source, missing.keys()):
                del missing[key]
        return [*missing.values()]

    async def _memories(self, place: Place, after: int, newest: int) -> list[tuple[int, str]]:
        values = {"source": place.id, "after": after, "newest": newest, "limit": PAGE}

        async def work(connection: Connection) -> list[tuple[int, str]]:
            rows = await (await connection.execute(query("memories_of_source"), values)).fetchall()
            return [(row[0], row[1]) for row in rows]

        return await self._database.read(place.caller, work)


class Told(NamedTuple):
    """A memory that was read, with hashes of its key and of all that it says."""

    found: Found
    key: int
    says: int


class Lately:
    """What the newest so many keys said."""

    def __init__(self, size: int) -> None:
        self._says: dict[int, int] = {}
        self._size = size

    def get(self, key: int) -> int | None:
        """Return what `key` said last."""
        return self._says.get(key)

    def put(self, key: int, says: int) -> None:
        """Remember it, and forget the oldest key beyond the size."""
        self._says.pop(key, None)
        self._says[key] = says
        if len(self._says) > self._size:
            del self._says[next(iter(self._says))]


def _told(batch: Sequence[Found | Skipped]) -> Iterator[Told]:
    """Yield the memories of a batch. When something was said may be a guess, and is left out."""
    for item in batch:
        if isinstance(item, Found):
            says = hash(item.memory.model_dump_json(exclude={"created_at"}))
            yield Told(item, hash(item.memory.key), says)


def _met(source: Source, keys: AbstractSet[str]) -> set[str]:
    return {key for key in source.ids() if key in keys}


def _ordered(values: array[int]) -> np.ndarray:
    return np.unique(np.frombuffer(values, np.int64))


def _among(ordered: np.ndarray, values: Sequence[int]) -> list[bool]:
    """Return of each value whether it is in `ordered`."""
    if not len(ordered):
        return [False] * len(values)
    asked = np.array(values, np.int64)
    places = np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)
    found: list[bool] = (ordered[places] == asked).tolist()
    return found
