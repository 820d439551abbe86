"""What a question costs: the whole way, over HTTP, and its floors, in turns on the same questions.

One client asks each side ten questions in turn. Many clients ask in three turns, at least sixty
questions each, because at the end of a turn clients wait for its last question. The floor of a
question is its own SQL (for the evidence, for the hits) plus its own embedding, by as many clients,
nothing in between; the floor of the SQL is a bare HNSW search.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING

from recall.bench.figures import Asked, Timings, figure
from recall.bench.floors import (
    connect_for_hnsw,
    nearest,
    plain_connection,
    statements_of,
    time_statements,
)
from recall.contract.errors import RecallError
from recall.contract.values import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    import psycopg

    from recall.bench.floors import Statement
    from recall.contract.values import Mode
    from recall.database.caller import Caller
    from recall.embedding import Embedder
    from recall.runtime.service import Service

    Ask = Callable[[str], Awaitable[object]]

TURN = 10  # questions of one client in a row
TURNS = 3  # of many clients
LEAST = 60  # questions of each of many
WARMING = 20  # questions a client before its time is taken: a fresh connection maps its memory
LONGEST_TURN = 60.0  # seconds, behind which a client asks no more in this turn
FLOOR = "its SQL alone + its embedding alone"
HNSW = "bare HNSW, nearest 50"


class Asking:
    """Asks fresh questions of one tenant, by every path."""

    def __init__(
        self, service: Service, caller: Caller, fresh: Iterator[str], http: Ask | None = None
    ) -> None:
        self.service = service
        self.caller = caller
        self.fresh = fresh
        self._http = http

    async def measure(self, mode: Mode, clients: int, questions: int) -> list[Asked]:
        """Return a row for each path that questions in `mode` can take."""
        least = 1 if clients == 1 else LEAST * clients
        texts = list(islice(self.fresh, max(questions, least)))
        statements = await statements_of(self.service, self.caller, texts, mode)
        bare = [(walk,) for walk in nearest(self.service, texts)]
        paths: dict[str, Ask] = {"in process": self._in_process(mode)}
        if self._http and mode == "hybrid":
            paths["HTTP"] = self._http
        sides = dict.fromkeys((*paths, "sql", "embed", "hnsw"), Timings())
        with ExitStack() as stack:
            plain = [
                stack.enter_context(plain_connection(self.service, self.caller))
                for _ in range(clients)
            ]
            walks = [stack.enter_context(connect_for_hnsw(self.service)) for _ in range(clients)]
            await asyncio.to_thread(_warm, plain, statements, walks, bare)
            for ask in paths.values():
                await ask_all(ask, list(islice(self.fresh, WARMING * clients)), clients)
            for begin, end in _turns(len(texts), clients):
                for path, ask in paths.items():
                    sides[path] += await ask_all(ask, texts[begin:end], clients)
                sides["sql"] += await asyncio.to_thread(
                    time_statements, plain, statements[begin:end]
                )
                sides["hnsw"] += await asyncio.to_thread(time_statements, walks, bare[begin:end])
                if mode != "keyword":
                    sides["embed"] += _embed(self.service.model.embedder, texts[begin:end], clients)
        return [_asked(path, mode, clients, sides) for path in paths]

    def _in_process(self, mode: Mode) -> Ask:
        searcher, caller = self.service.searcher, self.caller

        async def ask(text: str) -> object:
            return await searcher.recall(caller, Question(query=text, mode=mode))

        return ask


async def ask_all(ask: Ask, texts: Sequence[str], clients: int) -> Timings:
    """Return the waits of all questions; a client asks its next when it has an answer."""
    left = iter(texts)
    waits: list[float] = []
    errors = 0
    began = time.perf_counter()

    async def client() -> None:
        nonlocal errors
        for text in left:
            begun = time.perf_counter()
            if begun > began + LONGEST_TURN:
                return
            try:
                await ask(text)
            except RecallError:
                errors += 1
            else:
                waits.append(time.perf_counter() - begun)

    await asyncio.gather(*(client() for _ in range(clients)))
    return Timings(tuple(waits), time.perf_counter() - began, errors)


def _turns(questions: int, clients: int) -> Iterator[tuple[int, int]]:
    size = TURN if clients == 1 else -(-questions // TURNS)
    return ((begin, min(begin + size, questions)) for begin in range(0, questions, size))


def _warm(
    plain: Sequence[psycopg.Connection[object]],
    statements: Sequence[Sequence[Statement]],
    walks: Sequence[psycopg.Connection[object]],
    bare: Sequence[Sequence[Statement]],
) -> None:
    """Let every connection plan its statements once, as those of a running service have."""
    for connection, walk in zip(plain, walks, strict=True):
        time_statements([connection], statements[:WARMING])
        time_statements([walk], bare[:WARMING])


def _embed(embedder: Embedder, texts: Sequence[str], clients: int) -> Timings:
    """Embed as many questions together as clients ask at once."""
    waits: list[float] = []
    began = time.perf_counter()
    for begin in range(0, len(texts), clients):
        together = texts[begin : begin + clients]
        begun = time.perf_counter()
        embedder.embed_queries(together)
        waits += [time.perf_counter() - begun] * len(together)
    return Timings(tuple(waits), time.perf_counter() - began)


def _asked(path: str, mode: Mode, clients: int, sides: dict[str, Timings]) -> Asked:
    whole, sql, embed, hnsw = (sides[side] for side in (path, "sql", "embed", "hnsw"))
    p50, p95, p99 = (
        figure(whole.ms(share), sql.ms(share) + embed.ms(share), "ms", FLOOR)
        for share in (0.50, 0.95, 0.99)
    )
    bare_wall = sql.wall + embed.wall
    return Asked(
        path,
        mode,
        clients,
        len(whole.seconds),
        whole.errors,
        p50,
        p95,
        p99,
        figure(whole.rate, len(sql.seconds) / bare_wall, "questions/s", FLOOR),
        figure(sql.ms(0.50), hnsw.ms(0.50), "ms", HNSW),
        round(embed.ms(0.50), 4),
    )
