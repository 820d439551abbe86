"""Bring a history in by the ways that a user's comes in: the backfill, and a worker."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

import numpy as np
from psycopg import sql

from recall.bench.corpus import ADDED
from recall.bench.floors import plain_connection
from recall.embedding import Model
from recall.indexing import graph
from recall.indexing.jobs import Job
from recall.indexing.recipe import chunk_jobs
from recall.indexing.worker import Worker
from recall.memory.memories import BACKFILL
from recall.sources.source import Found
from recall.sources.system import System
from recall.sync.backfill import backfill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recall.bench.corpus import Corpus
    from recall.contract.values import Message
    from recall.database.caller import Caller
    from recall.embedding import Embedder
    from recall.runtime.service import Service
    from recall.sources.source import Position, Source

#: Length of the vector that is added to a known one when its line is repeated: cosine 0.98.
MOVED = 0.2
FLOOR_TEXTS = 2_000
ROUNDS = 5
TABLES = """
select relname from pg_class where relkind = 'r' and relnamespace = 'recall'::regnamespace
"""


class InMemory:
    """Messages as a source: the backfill without reading and parsing."""

    system = System(name="bench", opens=f"{__name__}:InMemory")

    def __init__(self, origin: str, messages: Sequence[Message]) -> None:
        self.origin = origin
        self._messages = messages

    def count(self) -> int:
        """Return how many messages there are."""
        return len(self._messages)

    def read(self, after: Position | None = None) -> Iterator[Found]:
        """Yield every message behind `after`."""
        for place in range(after or 0, len(self._messages)):
            yield Found(self._messages[place], place + 1)

    def rewind(self, position: Position) -> Position | None:
        """Return the position: nothing is committed late."""
        return position

    def fingerprint(self) -> str | None:
        """Return nothing: what is read once needs no mark."""
        return None

    def ids(self) -> Iterator[str]:
        """Yield the keys."""
        return (message.key or "" for message in self._messages)


class Repeating:
    """An embedder that moves a known vector a little when its line is repeated.

    Embedding a million texts takes an hour on two cores, and an index needs no more than vectors
    of which no two are the same. A line's first occurrence is embedded.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[int, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors [n, dimension], computed or moved."""
        parts = [text.rpartition(ADDED) for text in texts]
        firsts = [
            before if added else text for text, (before, added, _) in zip(texts, parts, strict=True)
        ]
        # A first occurrence is embedded even when another line has the same text.
        new = [text for text, (_, added, _) in zip(texts, parts, strict=True) if not added]
        unknown = {first for first in firsts if hash(first) not in self._known}
        new += sorted(unknown.difference(new))
        if new:
            vectors = self._embedder.embed_documents(new)
            self._known.update(zip(map(hash, new), vectors.astype(np.float16), strict=True))
        made = np.stack([self._known[hash(first)] for first in firsts]).astype(np.float32)
        for row, (text, (_, added, _)) in enumerate(zip(texts, parts, strict=True)):
            if added:
                moved = np.random.default_rng(crc32(text.encode())).standard_normal(made.shape[1])
                made[row] += MOVED * moved / np.linalg.norm(moved)
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class Loaded:
    """How fast `rows` came in, the bare engine's rate beside, and how many were embedded anew.

    `build_seconds` is what HNSW took behind a large load; 0 when rows went into it one by one.
    """

    rows: int
    stored_per_second: float
    indexed_per_second: float
    bare_per_second: float
    anew: int
    build_seconds: float


class Loader:
    """Brings a corpus into a service's database, on and on, HNSW behind each large load."""

    def __init__(self, service: Service, corpus: Corpus, largest: int) -> None:
        self._service = service
        self._corpus = corpus
        self.size = 0
        self._repeating = Repeating(service.model.embedder) if largest > len(corpus.lines) else None

    async def grow(self, caller: Caller, size: int) -> Loaded:
        """Store and index messages until there are `size`, the bare engine's turns in between."""
        messages = self._corpus.messages(self.size, size)
        sample = messages[:: -(-len(messages) // FLOOR_TEXTS)]
        texts = embedded_texts(self._service.model.embedder, sample)
        large = len(messages) > graph.LARGE
        if large:
            take_away(self._service)
        stored = took = 0.0
        bare = [_seconds(self._service.model.embedder, texts)]
        each = -(-len(messages) // ROUNDS)
        for begin in range(0, len(messages), each):
            source = InMemory(f"{self.size + begin}", messages[begin : begin + each])
            stored += await store(self._service, caller, source)
            begun = time.perf_counter()
            await self.drain()
            took += time.perf_counter() - begun
            bare.append(_seconds(self._service.model.embedder, texts))
        begun = time.perf_counter()
        if large:
            await graph.build_missing(self._service.settings, lambda said: None)
        built = time.perf_counter() - begun
        settle(self._service)
        anew = max(0, min(size, len(self._corpus.lines)) - self.size)
        self.size = size
        # In memories a second, as the other rates: a long memory is several texts.
        engine = len(sample) * len(bare) / sum(bare)
        return Loaded(
            len(messages), len(messages) / stored, len(messages) / took, engine, anew, built
        )

    async def store(self, caller: Caller, begin: int, size: int) -> None:
        """Store `size` messages of the corpus, from `begin` on, as all that the caller has."""
        messages = self._corpus.messages(begin, begin + size)
        await store(self._service, caller, InMemory("tenant", messages))

    async def drain(self) -> None:
        """Index everything that is stored."""
        if self._repeating is None:
            await self._service.worker.drain()
            return
        service, repeating = self._service, cast("Embedder", self._repeating)
        async with aclosing(Model(repeating)) as model:
            worker = Worker(service.database, model.documents, service.profile, service.settings)
            await worker.drain()


async def store(service: Service, caller: Caller, source: Source) -> float:
    """Store and queue everything in `source`; return the seconds that it took."""
    begun = time.perf_counter()
    await backfill(service.database, caller, source)
    return time.perf_counter() - begun


def embedded_texts(embedder: Embedder, messages: Sequence[Message]) -> list[str]:
    """Return what the index embeds of the messages."""
    jobs = [
        Job(
            memory_id=place,
            tenant_id=0,
            token=0,
            lane=BACKFILL,
            language="english",
            kind="message",
            content=message.content,
            title=None,
            role=message.role,
            author=message.author,
            user_id=message.user_id,
            session_id=None,
            created_at=message.created_at or datetime.now(UTC),
            indexed=False,
        )
        for place, message in enumerate(messages)
    ]
    return [c.embedded for of_job in chunk_jobs(jobs, embedder).values() for c in of_job]


def take_away(service: Service) -> None:
    """Drop the HNSW index, as a load into an empty one does."""
    index = sql.Identifier("recall", f"embedding_{service.profile.id}_hnsw")
    with plain_connection(service) as connection:
        connection.execute(sql.SQL("drop index {}").format(index))


def settle(service: Service) -> None:
    """Do at once what autovacuum does within minutes, so that no measurement meets it."""
    with plain_connection(service) as connection:
        for (table,) in connection.execute(TABLES).fetchall():
            statement = sql.SQL("vacuum analyze {}").format(sql.Identifier("recall", table))
            connection.execute(statement)


def _seconds(embedder: Embedder, texts: Sequence[str]) -> float:
    begun = time.perf_counter()
    embedder.embed_documents(texts)
    return time.perf_counter() - begun
