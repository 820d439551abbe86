"""Years of history in one command: streamed, counted, and resumable at any point.

Rows are read in a thread while the batch before them is stored. A batch, its jobs and the
position behind it are one transaction; a row that cannot be stored is skipped with its reason. A
memory of this source whose row says something else now is changed, and indexed again.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from recall.base.queries import query
from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.database.units import INDEXING, WHOLE
from recall.memory.memories import BACKFILL, store_messages, store_notes
from recall.sources.source import Found, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.sources.source import Source

    Row = Found | Skipped
    Memory = Message | Note

T = TypeVar("T")

BATCH = 2_000  # items in one transaction
LARGEST = 4_000_000  # characters in one transaction, but for what the last item is beyond
MANY = 20_000  # memories stored at once, that the planner should know of
AHEAD = 4  # batches read while one is stored: pages come in lumps

#: Why a row older than what was asked for is skipped.
TOO_OLD = "before --since"
#: Reasons that speak of a damaged row. Others leave out on purpose what is no memory.
BAD = frozenset(
    {"bad value", "gone", "line too long", "no key", "not JSON", "not a session"}
    | {"not an object", "unknown type", "unreadable"}
)


@dataclass
class Tally:
    """What became of the rows read so far: read = stored + changed + known + skipped.

    A row that was too long for one memory is one row; what became of its first piece counts.
    """

    stored: int = 0
    changed: int = 0
    known: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    #: Memories stored or changed, the pieces of long rows one by one.
    memories: int = 0

    @property
    def read(self) -> int:
        """Rows read."""
        return self.stored + self.changed + self.known + sum(self.skipped.values())

    @property
    def listed(self) -> int:
        """Skipped rows that are reported one by one: all but those that are merely too old."""
        return sum(count for reason, count in self.skipped.items() if reason != TOO_OLD)

    def with_batch(self, batch: Sequence[Row], stored: set[str], changed: set[str]) -> Tally:
        """Return the tally with a batch more, of which these keys were stored or changed."""
        tally = Tally(**asdict(self))
        tally.memories += len(stored) + len(changed)
        told = set[str]()  # a key told twice in a batch is the same memory: stored once
        for item in batch:
            if isinstance(item, Skipped):
                tally.skipped[item.reason] = tally.skipped.get(item.reason, 0) + 1
            elif item.row:
                key = item.memory.key or ""
                if key in stored and key not in told:
                    tally.stored += 1
                elif key in changed and key not in told:
                    tally.changed += 1
                else:
                    tally.known += 1
                told.add(key)
        return tally


@dataclass(frozen=True)
class Wanted:
    """What of a source is wanted, and how."""

    user: str | None = None  # given to memories that name no user
    since: datetime | None = None  # older rows are skipped
    limit: int | None = None  # rows to read at most
    strict: bool = False  # a bad row stops the reading instead of being skipped

    def key(self) -> dict[str, Any]:
        """Return what an interrupted run must have been asked, to be gone on with."""
        since = self.since.isoformat() if self.since else None
        return {"user": self.user, "since": since, "limit": self.limit}

    def of(self, rows: Iterator[Row], read: int) -> Iterator[Row]:
        """Yield what is wanted of `rows`, of which `read` were read before."""
        for item in rows:
            if isinstance(item, Skipped) or item.row:
                if self.limit is not None and read >= self.limit:
                    return
                read += 1
            if self.strict and isinstance(item, Skipped) and item.reason in BAD:
                detail = f" ({item.detail})" if item.detail else ""
                raise SourceUnreadable(f"A row is bad: {item.where}: {item.reason}{detail}.")
            if isinstance(item, Skipped):
                yield item
            elif self._too_old(item.memory):
                if item.row:
                    yield Skipped(TOO_OLD, item.memory.key or "", item.position)
            else:
                yield owned(item, self.user)

    def _too_old(self, memory: Memory) -> bool:
        at = memory.created_at
        return self.since is not None and at is not None and at < self.since


def owned(item: Found, user: str | None) -> Found:
    """Return `item` as `user`'s, unless it names a user itself."""
    if user is None or item.memory.user_id is not None:
        return item
    return Found(item.memory.model_copy(update={"user_id": user}), item.position, item.row)


class Reader:
    """Takes rows in a thread of its own, some batches ahead of whoever stores them.

    One thread: a connection of SQLite does not change threads.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._thread = ThreadPoolExecutor(1, "recall-source")
        self._ahead: deque[Future[list[Row]]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for taking in self._ahead:
            taking.cancel()
        if hasattr(self._rows, "close"):
            self._thread.submit(self._rows.close)
        self._thread.shutdown(wait=False)

    async def take(self) -> list[Row]:
        """Return the next batch; empty at the end."""
        while len(self._ahead) < AHEAD:
            self._ahead.append(self._thread.submit(self._batch))
        return await asyncio.wrap_future(self._ahead.popleft())

    def _batch(self) -> list[Row]:
        batch: list[Row] = []
        room = LARGEST
        for item in islice(self._rows, BATCH):
            batch.append(item)
            if isinstance(item, Found):
                room -= len(item.memory.content)
                if room < 0:
                    break
        return batch


async def backfill(
    database: Database,
    caller: Caller,
    source: Source,
    report: Callable[[Tally], None] = lambda tally: None,
    on_skip: Callable[[Skipped], None] = lambda skipped: None,
    wanted: Wanted | None = None,
) -> Tally:
    """Store everything that `source` holds and return what became of its rows.

    Goes on behind the last committed batch of an interrupted run; a finished one starts over and
    finds everything known. `report` is called after every batch; `on_skip` before the commit that
    counts the skipped row.
    """
    wanted = wanted or Wanted()
    place = await entered(database, caller, source)
    tally = resumed_tally(place, wanted)
    position = place.kept["after"] if tally.read else None
    rows = wanted.of(source.read(position), tally.read)
    async with Reader(rows) as reader:
        while batch := await reader.take():
            for item in batch:
                if isinstance(item, Skipped) and item.reason != TOO_OLD:
                    on_skip(item)
            tally = await _store(database, place, batch, tally, wanted)
            report(tally)
            position = batch[-1].position
    if tally.memories > MANY:
        await _analyze(database)
    # A reading that was cut short has no end to go on from.
    await advance(database, place, None if wanted.limit is not None else {"end": position})
    return tally


class Place(NamedTuple):
    """A source in the database: whose, its id, and what is kept of its reading."""

    caller: Caller
    id: int
    kept: dict[str, Any]


async def entered(database: Database, caller: Caller, source: Source) -> Place:
    """Return the place of `source`, which is made when it is new."""

    async def work(connection: Connection) -> Place:
        name = f"{source.name}:{source.origin}"
        row = await (await connection.execute(query("ensure_source"), [name])).fetchone()
        assert row is not None
        return Place(caller, row[0], row[1] or {})

    return await database.as_caller(caller, work)


def resumed_tally(place: Place, wanted: Wanted) -> Tally:
    """Return how far an interrupted run of the same wish came; an empty tally without one."""
    kept = place.kept
    if "after" in kept and kept.get("asked") == wanted.key():
        return as_kept(Tally, kept["tally"])
    return Tally()


def as_kept(kind: type[T], values: dict[str, Any]) -> T:
    """Return a record as it was kept; what a newer version kept beside is read past."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in known})


async def advance(database: Database, place: Place, kept: dict[str, Any] | None) -> None:
    """Keep how far the reading is."""

    async def work(connection: Connection) -> None:
        await keep(connection, place, kept)

    await database.as_caller(place.caller, work)


async def keep(connection: Connection, place: Place, kept: dict[str, Any] | None) -> None:
    """Keep how far the reading is, inside the caller's unit of work."""
    text = None if kept is None else json.dumps(kept)
    await connection.execute(query("advance_source"), [text, place.id])


async def _store(
    database: Database, place: Place, batch: Sequence[Row], before: Tally, wanted: Wanted
) -> Tally:
    """Store a batch with the position behind it in one transaction; return the new tally."""

    async def work(connection: Connection) -> Tally:
        memories = [item.memory for item in batch if isinstance(item, Found)]
        stored, changed = await write(connection, place.id, memories, BACKFILL)
        tally = before.with_batch(batch, stored, changed)
        kept = {"after": batch[-1].position, "tally": asdict(tally), "asked": wanted.key()}
        await keep(connection, place, kept)
        return tally

    return await database.as_caller(place.caller, work, within=INDEXING, rings=True)


async def _analyze(database: Database) -> None:
    """Tell the planner now what autovacuum would in a minute: these tables are not empty any more.

    Or each batch would be indexed by sorting the whole queue and hashing all memories.
    """

    async def work(connection: Connection) -> None:
        await connection.execute(query("analyze_stored"))

    await database.as_owner(work, within=WHOLE)


async def write(
    connection: Connection, source: int, memories: Iterable[Memory], lane: int
) -> tuple[set[str], set[str]]:
    """Store what is new and change what reads otherwise; return the keys of both.

    Of a key that is told twice the last telling counts, as it would in two batches.
    """
    last = {memory.key: memory for memory in memories}.values()
    stored: set[str] = set()
    changed: set[str] = set()
    messages = [memory for memory in last if isinstance(memory, Message)]
    notes = [memory for memory in last if isinstance(memory, Note)]
    if messages:
        done = await store_messages(connection, messages, lane, source)
        stored |= {m.key or "" for m, is_new in zip(messages, done.new, strict=True) if is_new}
        others = [m for m, differs in zip(messages, done.differs, strict=True) if differs]
        changed |= await _change(connection, source, others, lane, "message")
    if notes:
        done = await store_notes(connection, notes, lane, source)
        stored |= {n.key or "" for n, is_new in zip(notes, done.new, strict=True) if is_new}
        told = [n for n, differs in zip(notes, done.differs, strict=True) if differs]
        changed |= await _change(connection, source, told, lane, "note")
    return stored, changed


async def _change(
    connection: Connection, source: int, memories: Sequence[Memory], lane: int, kind: str
) -> set[str]:
    if not memories:
        return set()
    values = {
        "keys": [m.key for m in memories],
        "contents": [m.content for m in memories],
        "titles": [getattr(m, "title", None) for m in memories],
        "categories": [getattr(m, "category", None) for m in memories],
        "roles": [getattr(m, "role", None) for m in memories],
        "authors": [getattr(m, "author", None) for m in memories],
        "metadata": [json.dumps(m.metadata) for m in memories],
        "source": source,
        "kind": kind,
        "lane": lane,
    }
    cursor = await connection.execute(query("change_memories"), values)
    return {row[0] for row in await cursor.fetchall()}
