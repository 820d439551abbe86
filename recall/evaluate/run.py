"""Ask every question of a set in every mode, through the path that answers /recall."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recall import keys
from recall.evaluate.metrics import interval, recall_at, reciprocal_rank
from recall.memories import save_messages, save_notes
from recall.models import LARGEST_BATCH, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recall.evaluate.sets import EvaluationSet
    from recall.models import Mode
    from recall.service import Service

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


async def load(service: Service, chosen: EvaluationSet) -> dict[str, int]:
    """Store and index each conversation as a tenant of its own; return the tenants by name."""
    tenants = {}
    for conversation in chosen.conversations:
        tenant = await keys.tenant_id(service.database, f"eval/{conversation}")
        tenants[conversation] = tenant
        messages = chosen.messages.get(conversation, [])
        for begin in range(0, len(messages), LARGEST_BATCH):
            await save_messages(service.database, tenant, messages[begin : begin + LARGEST_BATCH])
        notes = chosen.notes.get(conversation, [])
        for begin in range(0, len(notes), LARGEST_BATCH):
            await save_notes(service.database, tenant, notes[begin : begin + LARGEST_BATCH])
    await service.worker.drain()
    return tenants


async def ask(
    service: Service,
    chosen: EvaluationSet,
    tenants: dict[str, int],
    mode: Mode,
    advance: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Ask every question in `mode` within its own conversation."""
    outcomes = []
    for asked in chosen.questions:
        question = Question(query=asked.query, mode=mode, limit=max(DEPTHS))
        answer = await service.searcher.recall(tenants[asked.conversation], question)
        ranked = [hit.key for hit in answer.results if hit.key]
        found = {k: recall_at(ranked, asked.evidence, k) for k in DEPTHS}
        first = reciprocal_rank(ranked, asked.evidence)
        outcomes.append(Outcome(asked.category, found, first, answer.took_ms["total"]))
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
