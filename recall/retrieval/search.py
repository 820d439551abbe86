"""A question, answered: embed, one statement for the evidence, fuse, hits, rerank, pack."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from recall.contract.errors import Invalid
from recall.contract.values import Answer
from recall.retrieval.evidence import checked_words, gather, looked_for
from recall.retrieval.fuse import by_session, fuse, score_parts, score_rows
from recall.retrieval.hits import ask_for_rows, build_hits, whole_text
from recall.retrieval.pack import pack

if TYPE_CHECKING:
    from typing import Any

    from recall.contract.values import Hit, Question
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.embedding import Questions
    from recall.indexing.profiles import Profile
    from recall.retrieval.evidence import Evidence
    from recall.retrieval.fuse import Ranked, Scores
    from recall.retrieval.hits import Rows
    from recall.retrieval.rerank import Reranker

#: Turns on each side of a candidate that count as its context.
AROUND = 4
#: Seconds that a question may take in the database, less than a write: its caller waits for it.
QUESTION_SECONDS = 10
#: Postgres counts time from here.
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Recalled(NamedTuple):
    """What a question's unit of work brought: the best memories, best first, and their rows."""

    evidence: Evidence
    scores: Scores
    ranked: list[Ranked]
    rows: Rows


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
        """Return what `caller` remembers about the question, best first.

        Raises Invalid when it asks to rerank and there is no model for that, or quotes or excludes
        too much; Unavailable, Overloaded or Broken as Database.read does.
        """
        begun = time.perf_counter()
        wanted = await self.prepare(question)
        embedded = time.perf_counter()
        recalled = await self._find(caller, question, wanted)
        hits = await build_hits(
            recalled.rows, question, recalled.ranked, _explained(question, recalled)
        )
        hits = await self._rerank(question, hits)
        hits, left_out = await self._pack(question, hits[: question.limit])
        took = _milliseconds(begun, embedded, time.perf_counter())
        model, pending = self._profile.model, recalled.evidence.pending
        return Answer(tuple(hits), took, model, pending, left_out)

    async def prepare(self, question: Question) -> dict[str, Any]:
        """Return the parameters of the statement `gather` for the question, its vector embedded.

        Raises Invalid as `recall` does.
        """
        if question.rerank is not None and self._reranker is None:
            raise Invalid("rerank needs a model: set RECALL_RERANKER and start again.", "rerank")
        words = checked_words(question.query)
        meaning = (
            None if question.mode == "keyword" else await self._questions.embed(question.query)
        )
        return looked_for(question, words, meaning, self._profile.id, self._around)

    async def _find(self, caller: Caller, question: Question, wanted: dict[str, Any]) -> Recalled:
        """Return the evidence, the best memories by it, and the cursor that holds their rows.

        Scores are computed between two statements of one unit, with its connection held: another
        unit for the second would cost a round trip more, several times what the arithmetic takes.
        """

        async def work(connection: Connection) -> Recalled:
            evidence = await gather(connection, wanted)
            scores = score_rows(evidence, self._around)
            ranked = fuse(evidence, scores, question.mode, _fade(question))
            if question.group_by == "session":
                ranked = by_session(ranked, evidence)
            best = list(islice(ranked, max(question.limit, question.rerank or 0)))
            return Recalled(evidence, scores, best, await ask_for_rows(connection, question, best))

        within = min(QUESTION_SECONDS, self._database.patience)
        return await self._database.read(caller, work, within=within)

    async def _rerank(self, question: Question, hits: list[Hit]) -> list[Hit]:
        """Put the first `rerank` hits into the cross-encoder's order; the others stay behind."""
        if question.rerank is None or self._reranker is None:
            return hits
        first = hits[: question.rerank]
        order = await self._reranker.order(question.query, [hit.content for hit in first])
        return [first[place] for place in order] + hits[len(first) :]

    async def _pack(
        self, question: Question, hits: list[Hit]
    ) -> tuple[list[Hit], tuple[int, ...] | None]:
        """Keep the hits that fit into `max_tokens` of the model's, neighbours included."""
        if question.max_tokens is None:
            return hits, None
        texts = [whole_text(hit) for hit in hits]
        offsets = await asyncio.to_thread(self._questions.embedder.token_offsets, texts)
        kept = pack([len(of_text) for of_text in offsets], question.max_tokens)
        left_out = tuple(hit.id for place, hit in enumerate(hits) if place not in set(kept))
        return [hits[place] for place in kept], left_out


def _explained(question: Question, recalled: Recalled) -> list[dict[str, Any]] | None:
    if not question.explain:
        return None
    return [score_parts(recalled.evidence, recalled.scores, each) for each in recalled.ranked]


def _fade(question: Question) -> tuple[float, float] | None:
    """Return the half-life in days and the present in the evidence's microseconds."""
    if question.recency_half_life is None:
        return None
    now = (datetime.now(UTC) - POSTGRES_EPOCH).total_seconds() * 1e6
    return question.recency_half_life, now


def _milliseconds(begun: float, embedded: float, ended: float) -> dict[str, float]:
    took = {"embed": embedded - begun, "search": ended - embedded, "total": ended - begun}
    return {leg: round(1000 * seconds, 3) for leg, seconds in took.items()}
