"""`recall bench`: load, ask, measure, in scratch databases that are removed afterwards."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from recall import __version__, keys
from recall.embedding.measure import measure
from recall.errors import Invalid
from recall.evaluate.bench.bare import connect
from recall.evaluate.bench.corpus import made_up, questions, read_corpus
from recall.evaluate.bench.figures import Embedding, Results, figure
from recall.evaluate.bench.growth import measure_point, measure_tenants
from recall.evaluate.bench.history import made_up_history
from recall.evaluate.bench.ingest import MOST_ROWS, measure_ingest
from recall.evaluate.bench.load import Loader
from recall.evaluate.bench.quality import measure_quality
from recall.evaluate.bench.questions import Asking
from recall.evaluate.bench.server import served
from recall.evaluate.scratch import scratch_database
from recall.models import Mode
from recall.service import DEFAULT_TENANT, open_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recall.evaluate.bench.corpus import Corpus
    from recall.evaluate.bench.figures import Asked, Point, Quality
    from recall.evaluate.bench.load import Loaded
    from recall.service import Service
    from recall.settings import Settings

    Say = Callable[[str], None]

LARGEST = 10_000_000
MOST_CLIENTS = 256
MOST_MADE_UP = 50_000  # lines; a larger history tells them again
MOST_EMBEDDED = 3_000  # texts of the comparison with the library
TENANT_MEMORIES = 1_000


@dataclass(frozen=True)
class Wanted:
    """What to measure."""

    corpus: Path | None
    memories: int
    clients: tuple[int, ...]
    questions: int
    growth: tuple[int, ...] = ()
    tenants: int = 0
    keep: bool = False

    def check(self) -> None:
        """Raise Invalid naming what is out of bounds."""
        bounds = {
            "memories": ((self.memories,), 100, LARGEST),
            "questions": ((self.questions,), 1, 100_000),
            "clients": (self.clients or (0,), 1, MOST_CLIENTS),
            "growth": (self.growth, 100, LARGEST),
            "tenants": ((self.tenants,), 0, 100_000),
        }
        for name, (values, least, most) in bounds.items():
            for value in values:
                if not least <= value <= most:
                    raise Invalid(f"{name} must lie between {least} and {most:,}, not {value:,}.")


@dataclass(frozen=True)
class Measured:
    """What was measured in the database that grows."""

    machine: dict[str, Any]
    embedding: Embedding
    loaded: Loaded
    asked: list[Asked]
    quality: Quality
    growth: list[Point]
    notes: list[str]


async def run(settings: Settings, wanted: Wanted, say: Say) -> Results:
    """Measure what is `wanted`; `say` is told what is going on."""
    wanted.check()
    say("reading the corpus")
    corpus = _corpus(wanted)
    with scratch_database(settings, wanted.keep) as scratch:
        async with open_service(scratch) as service:
            found = await _Run(service, corpus, wanted, say).measure()
            if wanted.keep:
                found.notes.append(f"kept: {_database(service)}")
    say("storing, beside a bare COPY")
    with scratch_database(settings) as scratch:
        async with open_service(scratch) as service:
            messages = corpus.messages(0, min(wanted.memories, MOST_ROWS))
            ingest = await measure_ingest(service, messages, found.loaded)
    tenants = None
    if wanted.tenants:
        each = min(TENANT_MEMORIES, wanted.memories)
        say(f"a tenant of {each:,} memories beside {wanted.tenants - 1:,} others")
        tenants = await measure_tenants(settings, corpus, wanted.tenants, each, wanted.questions)
    return Results(
        found.machine,
        found.embedding,
        ingest,
        found.asked,
        found.quality,
        found.growth,
        tenants,
        found.notes,
    )


class _Run:
    """One database that grows, and what is measured on the way."""

    def __init__(self, service: Service, corpus: Corpus, wanted: Wanted, say: Say) -> None:
        self._service = service
        self._corpus = corpus
        self._wanted = wanted
        self._say = say
        self._fresh = questions(corpus)
        self._notes: list[str] = []

    async def measure(self) -> Measured:
        wanted = self._wanted
        self._say("embedding, beside SentenceTransformer.encode")
        embedding = self._embedding()
        tenant = await keys.tenant_id(self._service.database, DEFAULT_TENANT)
        sizes = sorted({*wanted.growth, wanted.memories})
        loader = Loader(self._service, self._corpus, max(*sizes, wanted.tenants * TENANT_MEMORIES))
        asked, quality, points, of_size = [], None, [], None
        for size in sizes:
            self._say(f"storing and indexing up to {size:,} memories")
            loaded = await loader.grow(tenant, size)
            asking = Asking(self._service, tenant, self._fresh)
            self._say(f"asking {size:,} memories")
            points.append(await measure_point(asking, wanted.questions, size, loaded))
            if size == wanted.memories:
                of_size = loaded
                asked = await self._ask(tenant)
                quality = points[-1].quality
        assert of_size is not None and quality is not None
        return Measured(
            self._machine(), embedding, of_size, asked, quality, points, self._notes
        )
