"""A question, answered: embed, one statement for the evidence, fuse, expand, pack."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector
from psycopg.rows import dict_row

from recall.fuse import Evidence, fuse
from recall.models import Answer, Hit, Neighbors, Scope, Turn
from recall.queries import query
from recall.vectors import load_arrays
from recall.words import question_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import numpy as np

    from recall.database import Connection, Database
    from recall.fuse import Ranked
    from recall.models import Profile, Question

    Embed = Callable[[str], Awaitable[np.ndarray]]

#: Candidates of each leg, and turns on each side of one that count as its context.
POOL = 100
AROUND = 4


class Searcher:
    """Answers questions on one database with one profile's model."""

    def __init__(self, database: Database, profile: Profile, embed: Embed) -> None:
        self._database = database
        self._profile = profile
        self._embed = embed

    async def recall(self, tenant: int, question: Question) -> Answer:
        """Return what `tenant` remembers about the question, best first."""
        begun = time.perf_counter()
        meaning = None if question.mode == "keyword" else await self._embed(question.query)
        embedded = time.perf_counter()

        async def work(connection: Connection) -> tuple[int, list[Hit]]:
            evidence = await _evidence(connection, self._profile, question, meaning)
            ranked = fuse(evidence, question.mode, AROUND)[: question.limit]
            return evidence.pending, await _expand(connection, question, ranked)

        pending, hits = await self._database.run(work, tenant)
        ended = time.perf_counter()
        took = {"embed": embedded - begun, "search": ended - embedded, "total": ended - begun}
        return Answer(
            tuple(hits),
            {leg: round(seconds * 1000, 3) for leg, seconds in took.items()},
            self._profile.model,
            pending,
        )


async def _evidence(
    connection: Connection, profile: Profile, question: Question, meaning: np.ndarray | None
) -> Evidence:
    words = question_words(question.query)
    cursor = connection.cursor(binary=True)
    load_arrays(cursor)
    await cursor.execute(
        query("evidence"),
        {
            "profile": profile.id,
            "meaning": None if meaning is None else HalfVector(meaning).to_text(),
            "tokens": [] if question.mode == "semantic" else list(words.tokens),
            "phrases": [" ".join(phrase) for phrase in words.phrases],
            # Asked for words alone, a phrase is a demand; in a question it is a hint.
            "strict": question.mode == "keyword",
            "excluded": [" ".join(phrase) for phrase in words.excluded],
            "scope": _scope(question),
            "pool": POOL,
            "around": AROUND,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return Evidence(*row)


def _scope(question: Question) -> str:
    given = question.model_dump(mode="json", include=set(Scope.model_fields), exclude_none=True)
    return json.dumps(given)


async def _expand(
    connection: Connection, question: Question, ranked: Sequence[Ranked]
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
    return [_hit(rows[r.memory_id], r, question) for r in ranked if r.memory_id in rows]


def _hit(row: dict[str, Any], ranked: Ranked, question: Question) -> Hit:
    before, after = _turns(row.pop("before")), _turns(row.pop("after"))
    return Hit(
        **row,
        score=ranked.score,
        neighbors=Neighbors(before, after) if question.neighbors else None,
        explain=ranked.parts if question.explain else None,
    )


def _turns(rows: list[dict[str, Any]] | None) -> tuple[Turn, ...]:
    return tuple(
        Turn(**row | {"created_at": datetime.fromisoformat(row["created_at"])})
        for row in rows or ()
    )
