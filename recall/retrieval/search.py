"""A question, answered: embed, one statement for the evidence, fuse, expand, pack."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from pgvector import HalfVector
from psycopg.rows import dict_row

from recall.base.queries import query
from recall.contract.errors import Invalid
from recall.contract.limits import LARGEST_LIMIT, LONGEST_PHRASE, MOST_PHRASES
from recall.contract.values import Answer, Scope
from recall.database.vectors import speak_binary
from recall.indexing.words import question_words
from recall.retrieval.evidence import read_evidence
from recall.retrieval.fuse import by_session, explain, fuse
from recall.retrieval.hits import around, ask_for_rows, expand
from recall.retrieval.pack import pack

if TYPE_CHECKING:
    import numpy as np

    from recall.contract.values import Hit, Question
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.embedding import Questions
    from recall.indexing.profiles import Profile
    from recall.indexing.words import Words
    from recall.retrieval.evidence import Evidence
    from recall.retrieval.fuse import Ranked
    from recall.retrieval.hits import Rows
    from recall.retrieval.rerank import Reranker

#: Candidates of two legs each, or of one alone: enough for the largest limit, copies aside.
POOL = 100
POOL_ALONE = 150
#: Turns on each side of a candidate that count as its context.
AROUND = 4
#: Seconds a question may take in the database: who asks waits for it, who writes comes again.
QUESTION_SECONDS = 10
#: Postgres counts time from here.
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Searcher:
    """Answers questions on one database with one profile's model."""

    def __init__(
        self,
        database: Database,
        profile: Profile,
        questions: Questions,
        reranker: Reranker | None = None,
        around: int = AROUND,
    ) -> None:
        self._database = database
        self._profile = profile
        self._questions = questions
        self._reranker = reranker
        self._around = around

    async def recall(self, caller: Caller, question: Question) -> Answer:
        """Return what `caller` remembers about the question, best first."""
        if question.rerank is not None and self._reranker is None:
            raise Invalid("rerank needs a model: set RECALL_RERANKER and start again.", "rerank")
        begun = time.perf_counter()
        words = _words(question)
        meaning = (
            None if question.mode == "keyword" else await self._questions.embed(question.query)
        )
        embedded = time.perf_counter()

        async def work(connection: Connection) -> tuple[Evidence, list[Ranked], Rows]:
            evidence = await self._evidence(connection, question, words, meaning)
            ranked = fuse(evidence, question.mode, self._around, _fade(question))
            if question.group_by == "session":
                ranked = by_session(ranked, evidence)
            best = list(islice(ranked, max(question.limit, question.rerank or 0)))
            return evidence, best, await ask_for_rows(connection, question, best)

        within = min(QUESTION_SECONDS, self._database.patience)
        evidence, ranked, rows = await self._database.read(caller, work, within=within)
        explained = explain(evidence, ranked, self._around) if question.explain else None
        hits = await expand(rows, question, ranked, explained)
        if question.rerank is not None:
            hits = await self._rerank(question, hits)
        hits, left_out = hits[: question.limit], None
        if question.max_tokens is not None:
            hits, left_out = await self._pack(hits, question.max_tokens)
        ended = time.perf_counter()
        took = {"embed": embedded - begun, "search": ended - embedded, "total": ended - begun}
        return Answer(
            tuple(hits),
            {leg: round(seconds * 1000, 3) for leg, seconds in took.items()},
            self._profile.model,
            evidence.pending,
            left_out,
        )

    async def _evidence(
        self, connection: Connection, question: Question, words: Words, meaning: np.ndarray | None
    ) -> Evidence:
        cursor = connection.cursor(binary=True, row_factory=dict_row)
        speak_binary(cursor)
        await cursor.execute(
            query("evidence"),
            {
                "profile": self._profile.id,
                "meaning": None if meaning is None else HalfVector(meaning),
                "tokens": [] if question.mode == "semantic" else list(words.tokens),
                "phrases": [" ".join(phrase) for phrase in words.phrases],
                # Asked for words alone, a phrase is a demand; in a question it is a hint.
                "strict": question.mode == "keyword",
                "excluded": [" ".join(phrase) for phrase in words.excluded],
                "scope": _scope(question),
                "pool": POOL if question.mode == "hybrid" else POOL_ALONE,
                "texts": LARGEST_LIMIT,
                "around": self._around,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return read_evidence(row)

    async def _rerank(self, question: Question, hits: list[Hit]) -> list[Hit]:
        """Put the first `rerank` hits into the cross-encoder's order; the others stay behind."""
        assert self._reranker is not None
        first = hits[: question.rerank]
        order = await self._reranker.order(question.query, [hit.content for hit in first])
        return [first[place] for place in order] + hits[len(first) :]

    async def _pack(self, hits: list[Hit], budget: int) -> tuple[list[Hit], tuple[int, ...]]:
        """Keep the hits that fit into `budget` of the model's tokens, neighbours included."""
        texts = [" ".join((*around(hit), hit.content)) for hit in hits]
        offsets = await asyncio.to_thread(self._questions.embedder.token_offsets, texts)
        kept = pack([len(of_text) for of_text in offsets], budget)
        out = tuple(hit.id for place, hit in enumerate(hits) if place not in set(kept))
        return [hits[place] for place in kept], out


def _words(question: Question) -> Words:
    """Return the question's words; Invalid where there are more phrases than is worth looking."""
    words = question_words(question.query)
    for does, phrases in ("quote", words.phrases), ("exclude", words.excluded):
        if len(phrases) > MOST_PHRASES:
            raise Invalid(
                f"query must {does} at most {MOST_PHRASES} words or phrases, not {len(phrases)}.",
                "query",
            )
        if (longest := max(map(len, phrases), default=0)) > LONGEST_PHRASE:
            raise Invalid(
                f"query must {does} phrases of at most {LONGEST_PHRASE:,} words, not {longest:,}.",
                "query",
            )
    return words


def _scope(question: Question) -> str:
    given = question.model_dump(mode="json", include=set(Scope.model_fields), exclude_none=True)
    return json.dumps(given)


def _fade(question: Question) -> tuple[float, float] | None:
    """Return the half-life in days and the present in the evidence's microseconds."""
    if question.recency_half_life is None:
        return None
    now = (datetime.now(UTC) - POSTGRES_EPOCH).total_seconds() * 1e6
    return question.recency_half_life, now
