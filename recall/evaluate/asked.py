"""Ask every question of a set, through the path that answers /recall."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recall.contract.limits import LARGEST_BATCH, LARGEST_LIMIT
from recall.contract.values import Question
from recall.evaluate.measures import interval, recall_at, reciprocal_rank
from recall.memory import keys
from recall.memory.memories import save_messages, save_notes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from recall.contract.values import Mode
    from recall.database.caller import Caller
    from recall.evaluate.sets import EvaluationSet
    from recall.retrieval.search import Searcher
    from recall.runtime.service import Service

    #: (caller, question) to (keys, best first; milliseconds).
    Ranking = Callable[[Caller, str], Awaitable[tuple[list[str], float]]]

DEPTHS = (5, 10, 25, 50)


@dataclass(frozen=True)
class Outcome:
    """One question's scores in one mode; `recall` by depth, latency in milliseconds."""

    category: str
    recall: dict[int, float]
    reciprocal_rank: float
    took_ms: float


@dataclass(frozen=True)
class Summary:
    """Means over questions, R@k with 95 % bootstrap intervals, and median latency in ms."""

    questions: int
    recall: dict[int, float]
    interval: dict[int, tuple[float, float]]
    mrr: float
    p50_ms: float
    p95_ms: float
    categories: dict[str, dict[int, float]] = field(default_factory=dict)


async def load_conversations(service: Service, chosen: EvaluationSet) -> dict[str, Caller]:
    """Store and index each conversation as a tenant of its own; return the callers by name."""
    callers = {}
    for conversation in chosen.conversations:
        caller = await keys.caller_of(service.database, f"eval/{conversation}")
        callers[conversation] = caller
        messages = chosen.messages.get(conversation, [])
        for begin in range(0, len(messages), LARGEST_BATCH):
            await save_messages(service.database, caller, messages[begin : begin + LARGEST_BATCH])
        notes = chosen.notes.get(conversation, [])
        for begin in range(0, len(notes), LARGEST_BATCH):
            await save_notes(service.database, caller, notes[begin : begin + LARGEST_BATCH])
    await service.worker.drain()
    return callers


def in_mode(searcher: Searcher, mode: Mode) -> Ranking:
    """Return the ranking that /recall gives in `mode`."""

    async def rank(caller: Caller, text: str) -> tuple[list[str], float]:
        question = Question(query=text, mode=mode, limit=LARGEST_LIMIT)
        answer = await searcher.recall(caller, question)
        return [hit.key for hit in answer.results if hit.key], answer.took_ms["total"]

    return rank


def by_reciprocal_rank(first: Ranking, second: Ranking) -> Ranking:
    """Return two rankings fused by rank, 1 / (60 + place) added up (Cormack et al. 2009).

    Not what recall does; here to compare with.
    """

    async def rank(caller: Caller, text: str) -> tuple[list[str], float]:
        scores: dict[str, float] = {}
        took = 0.0
        for leg in (first, second):
            keys_of_leg, milliseconds = await leg(caller, text)
            took += milliseconds
            for place, key in enumerate(keys_of_leg, 1):
                scores[key] = scores.get(key, 0.0) + 1 / (60 + place)
        return sorted(scores, key=lambda key: (-scores[key], key)), took

    return rank


async def ask_set(
    chosen: EvaluationSet,
    callers: dict[str, Caller],
    rank: Ranking,
    advance: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Ask every question of the set, each within its own conversation."""
    outcomes = []
    for asked in chosen.questions:
        ranked, took = await rank(callers[asked.conversation], asked.query)
        recall = {k: recall_at(ranked, asked.relevant, k) for k in DEPTHS}
        first = reciprocal_rank(ranked, asked.relevant)
        outcomes.append(Outcome(asked.category, recall, first, took))
        advance()
    return outcomes


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Return the means of `outcomes`, overall and by category."""
    times = sorted(outcome.took_ms for outcome in outcomes)
    by_depth = {k: [outcome.recall[k] for outcome in outcomes] for k in DEPTHS}
    categories = {}
    for category in sorted({outcome.category for outcome in outcomes} - {""}):
        of_category = [outcome for outcome in outcomes if outcome.category == category]
        categories[category] = {
            k: statistics.fmean(outcome.recall[k] for outcome in of_category) for k in DEPTHS
        }
    return Summary(
        len(outcomes),
        {k: statistics.fmean(values) for k, values in by_depth.items()},
        {k: interval(values) for k, values in by_depth.items()},
        statistics.fmean(outcome.reciprocal_rank for outcome in outcomes),
        statistics.median(times),
        times[min(len(times) - 1, int(len(times) * 0.95))],
        categories,
    )
