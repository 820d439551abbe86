"""`recall bench`: load, ask, measure, in scratch databases that are removed afterwards."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from recall import __version__
from recall.bench.bench_server import served
from recall.bench.corpus import made_up, questions, read_corpus
from recall.bench.figures import Embedding, Results, figure
from recall.bench.floors import plain_connection
from recall.bench.growth import measure_point, measure_tenants
from recall.bench.ingest import MOST_ROWS, measure_ingest
from recall.bench.load import Loader, embedded_texts
from recall.bench.made_up_history import made_up_history
from recall.bench.quality import measure_quality
from recall.bench.questioning import Asking
from recall.contract.errors import Invalid
from recall.contract.values import Mode
from recall.embedding.cores import usable_cores
from recall.embedding.measure import compare_with_library
from recall.evaluate.scratch import scratch_database
from recall.memory import keys
from recall.runtime.parts import LOAD
from recall.runtime.service import DEFAULT_TENANT, open_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recall.base.settings import Settings
    from recall.bench.corpus import Corpus
    from recall.bench.figures import Asked, Point, Quality
    from recall.bench.load import Loaded
    from recall.database.caller import Caller
    from recall.runtime.service import Service

    Say = Callable[[str], None]

LARGEST = 10_000_000
MOST_CLIENTS = 256
MOST_MADE_UP = 50_000  # lines; a larger history repeats them
MOST_EMBEDDED = 3_000  # texts of the comparison with the library
TENANT_MEMORIES = 1_000
PARTS = (0.001, 0.01, 0.1)  # scopes, in parts of the history
SERVER = """
select current_setting('server_version'), extversion, current_setting('shared_buffers')
from pg_extension where extname = 'vector'
"""


@dataclass(frozen=True)
class Plan:
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
    scopes: list[Quality]
    growth: list[Point]
    notes: list[str]


async def run_benchmark(settings: Settings, plan: Plan, say: Say) -> Results:
    """Return what `plan` asks for, measured; `say` is called with what goes on."""
    plan.check()
    say("reading the corpus")
    corpus = _corpus(plan)
    with scratch_database(settings, plan.keep) as scratch:
        async with open_service(scratch, LOAD) as service:
            measured = await _Run(service, corpus, plan, say).measure()
            if plan.keep:
                measured.notes.append(f"kept: {_name_of_database(scratch)}")
    say("storing, beside a bare COPY")
    with scratch_database(settings) as scratch:
        async with open_service(scratch, LOAD) as service:
            messages = corpus.messages(0, min(plan.memories, MOST_ROWS))
            ingest = await measure_ingest(service, messages, measured.loaded)
    tenants = None
    if plan.tenants:
        each = min(TENANT_MEMORIES, plan.memories)
        say(f"a tenant of {each:,} memories beside {plan.tenants - 1:,} others")
        tenants = await measure_tenants(settings, corpus, plan.tenants, each, plan.questions)
    return Results(
        measured.machine,
        measured.embedding,
        ingest,
        measured.asked,
        measured.quality,
        measured.scopes,
        measured.growth,
        tenants,
        measured.notes,
    )


class _Run:
    """One database that grows, and what is measured on the way."""

    def __init__(self, service: Service, corpus: Corpus, plan: Plan, say: Say) -> None:
        self._service = service
        self._corpus = corpus
        self._plan = plan
        self._say = say
        self._fresh = questions(corpus)
        self._notes: list[str] = []

    async def measure(self) -> Measured:
        """Grow from size to size; at the wanted one, ask in every way."""
        self._say("embedding, beside SentenceTransformer.encode")
        embedding = self._embedding()
        caller = await keys.caller_of(self._service.database, DEFAULT_TENANT)
        sizes = sorted({*self._plan.growth, self._plan.memories})
        loader = Loader(self._service, self._corpus, sizes[-1])
        asking = Asking(self._service, caller, self._fresh)
        steps: list[Loaded] = []
        points: list[Point] = []
        asked: list[Asked] = []
        scopes: list[Quality] = []
        for size in sizes:
            self._say(f"storing and indexing up to {size:,} memories")
            steps.append(await loader.grow(caller, size))
            self._say(f"asking {size:,} memories")
            points.append(await measure_point(asking, self._plan.questions, size, steps[-1]))
            if size == self._plan.memories:
                asked = await self._ask(caller)
                for part in PARTS:
                    self._say(f"asking {100 * part:g} % of them")
                    scopes.append(
                        await measure_quality(
                            self._service, caller, self._fresh, self._plan.questions, part
                        )
                    )
        # The rate of indexing is taken from a step whose lines were all embedded, none moved.
        whole = [step for step in steps if step.anew == step.rows] or steps[:1]
        quality = points[sizes.index(self._plan.memories)].quality
        return Measured(
            self._machine(), embedding, whole[-1], asked, quality, scopes, points, self._notes
        )

    async def _ask(self, caller: Caller) -> list[Asked]:
        clients = self._plan.clients
        async with served(self._service.settings, max(clients)) as http:
            if http is None:
                self._notes.append("HTTP was not measured: pip install 'recall[notebook]'.")
            asking = Asking(self._service, caller, self._fresh, http)
            asked: list[Asked] = []
            for mode in get_args(Mode):
                for at_once in clients:
                    self._say(f"asking in mode {mode}, {at_once} at once")
                    asked += await asking.measure(mode, at_once, self._plan.questions)
        return asked

    def _embedding(self) -> Embedding:
        embedder = self._service.model.embedder
        size = min(MOST_EMBEDDED, max(50, self._plan.memories // 4))
        texts = embedded_texts(embedder, self._corpus.messages(0, size))
        compared = compare_with_library(embedder, texts)
        against = "SentenceTransformer.encode, float32"
        return Embedding(
            compared["engine"],
            compared["texts"],
            figure(
                compared["texts_per_second"],
                compared["library_texts_per_second"],
                "texts/s",
                against,
            ),
            figure(compared["query_ms"], compared["library_query_ms"], "ms", against),
            round(compared["mean_cosine"], 4),
            round(compared["least_cosine"], 4),
            compared["padding"],
        )

    def _machine(self) -> dict[str, Any]:
        with plain_connection(self._service) as connection:
            ((version, vector, buffers),) = connection.execute(SERVER).fetchall()
        return {
            "recall": __version__,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": usable_cores(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            "postgres": version,
            "pgvector": vector,
            "shared_buffers": buffers,
            "model": self._service.profile.model,
            "corpus": self._corpus.name,
            "lines": len(self._corpus.lines),
            "memories": self._plan.memories,
        }


def _corpus(plan: Plan) -> Corpus:
    if plan.corpus:
        return read_corpus(plan.corpus)
    size = max(plan.memories, *plan.growth, plan.tenants * TENANT_MEMORIES)
    # One line in twenty is held out.
    return made_up(made_up_history(min(size, MOST_MADE_UP) * 20 // 19 + 20))


def _name_of_database(settings: Settings) -> str:
    return urlsplit(settings.direct_url).path.lstrip("/")
