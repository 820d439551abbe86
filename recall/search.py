"""A question, answered: embed, one statement for the evidence, fuse, expand, pack."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector
from psycopg.rows import dict_row

from recall.fuse import Evidence, by_session, explain, fuse
from recall.models import Answer, Hit, Neighbors, Scope, Turn
from recall.pack import pack
from recall.queries import query
from recall.vectors import load_arrays
from recall.words import question_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from recall.database import Connection, Database
    from recall.embedding import QueryBatcher
    from recall.fuse import Ranked
    from recall.models import Profile, Question

#: Candidates of each leg, and turns on each side of one that count as its context.
POOL = 100
AROUND = 4
#: Postgres counts time from here.
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Searcher:
    """Answers questions on one database with one profile's model."""

    def __init__(
        self, database: Database, profile: Profile, batcher: QueryBatcher, around: int = AROUND
    ) -> None:
        self._around = around
        self._database = database
        self._profile = profile
        self._batcher = batcher

    async def recall(self, tenant: int, question: Question) -> Answer:
        """Return what `tenant` remembers about the question, best first."""
        begun = time.perf_counter()
        meaning = None if question.mode == "keyword" else await self._batcher.embed(question.query)
        embedded = time.perf_counter()

        async def work(connection: Connection) -> tuple[int, list[Hit]]:
            evidence = await self._evidence(connection, question, meaning)
            ranked = fuse(evidence, question.mode, self._around, _fade(question))
            if question.group_by == "session":
                ranked = by_session(ranked, evidence)
            ranked = ranked[: question.limit]
            explained = explain(evidence, ranked, self._around) if question.explain else None
            return evidence.pending, await _expand(connection, question, ranked, explained)

        pending, hits = await self._database.run(work, tenant)
        left_out = None
        if question.max_tokens is not None:
            hits, left_out = await self._pack(hits, question.max_tokens)
        ended = time.perf_counter()
        took = {"embed": embedded - begun, "search": ended - embedded, "total": ended - begun}
        return Answer(
            tuple(hits),
            {leg: round(seconds * 1000, 3) for leg, seconds in took.items()},
            self._profile.model,
            pending,
            left_out,
        )

    async def _evidence(
        self, connection: Connection, question: Question, meaning: np.ndarray | None
    ) -> Evidence:
        words = question_words(question.query)
        cursor = connection.cursor(binary=True)
        load_arrays(cursor)
        await cursor.execute(
            query("evidence"),
            {
                "profile": self._profile.id,
                "meaning": None if meaning is None else HalfVector(meaning).to_text(),
                "tokens": [] if question.mode == "semantic" else list(words.tokens),
                "phrases": [" ".join(phrase) for phrase in words.phrases],
                # Asked for words alone, a phrase is a demand; in a question it is a hint.
                "strict": question.mode == "keyword",
                "excluded": [" ".join(phrase) for phrase in words.excluded],
                "scope": _scope(question),
                "pool": POOL,
                "around": self._around,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return Evidence(*row)

    async def _pack(self, hits: list[Hit], budget: int) -> tuple[list[Hit], tuple[int, ...]]:
        """Keep the hits that fit into `budget` of the model's tokens, neighbours included."""
        texts = [" ".join((*_around(hit), hit.content)) for hit in hits]
        offsets = await asyncio.to_thread(self._batcher.embedder.token_offsets, texts)
        kept = pack([len(of_text) for of_text in offsets], budget)
        out = tuple(hit.id for place, hit in enumerate(hits) if place not in set(kept))
        return [hits[place] for place in kept], out


def _scope(question: Question) -> str:
    given = question.model_dump(mode="json", include=set(Scope.model_fields), exclude_none=True)
    return json.dumps(given)


async def _expand(
    connection: Connection,
    question: Question,
    ranked: Sequence[Ranked],
    explained: Sequence[dict[str, Any]] | None,
) -> list[Hit]:
    around = question.neighbors
    cursor = await connection.cursor(row_factory=dict_row).execute(
        query("expand"),
        {
            "ids": [found.memory_id for found in ranked],
            "before": around.before if around else 0,
            "after": around.after if around else 0,
        },
    )
    rows = {row["id"]: row for row in await cursor.fetchall()}
    hits = []
    for place, found in enumerate(ranked):
        row = rows.get(found.memory_id)
        if row is None:
            continue  # erased between the two statements
        before, after = _turns(row.pop("before")), _turns(row.pop("after"))
        hits.append(
            Hit(
                **row,
                score=found.score,
                count=found.count,
                neighbors=Neighbors(before, after) if around else None,
                explain=explained[place] if explained else None,
            )
        )
    return hits


def _around(hit: Hit) -> Iterator[str]:
    if hit.neighbors:
        yield from (turn.content for turn in (*hit.neighbors.before, *hit.neighbors.after))


def _fade(question: Question) -> tuple[float, float] | None:
    """Return the half-life in days and the present in the evidence's microseconds."""
    if question.recency_half_life is None:
        return None
    now = (datetime.now(UTC) - POSTGRES_EPOCH).total_seconds() * 1e6
    return question.recency_half_life, now


def _turns(rows: list[dict[str, Any]] | None) -> tuple[Turn, ...]:
    return tuple(
        Turn(**row | {"created_at": datetime.fromisoformat(row["created_at"])})
        for row in rows or ()
    )
