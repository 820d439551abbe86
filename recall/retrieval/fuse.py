"""From evidence to an order: two scores added, each with its turn's neighbours as context.

    words   = Σ_t idf_t · tf_t / (tf_t + K)  ÷  Σ_t idf_t      over the question's words t
              K = K1 · (1 - B + B · words around ÷ their mean)
    meaning = Σ_j mass_j · w_j · cos_j  ÷  Σ_j mass_j · w_j    over the turn and its neighbours j
    score   = (words + MEANING · meaning) / (1 + MEANING)

`words` is BM25 (Robertson and Zaragoza 2009, eq. 3.15) divided by the most that the question could
reach: the share of its information that the turn and its surroundings hold. That share says by
itself how much words know of a question, so the two add without being scaled to a best candidate,
and no score depends on how many hits were asked for.

Context. A neighbour's words and cosine count by w = exp(-distance / TAU), the distance between the
middles of two turns being counted in words, as a word counts near its place in a positional
language model (Lv and Zhai 2009): among short turns a question's words are found next door,
beside a long message nothing is added. What follows a turn counts less than what led to it. `mass`
lets a short turn's cosine weigh less than a long one's.

`tf` is ts_rank of one lexeme, a saturating frequency (0.608, 0.760, 0.827 for one to three
occurrences). Constants were chosen on three development sets together; `recall eval` and
`notebooks/quality.ipynb` measure them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recall.contract.values import Mode
    from recall.retrieval.evidence import Evidence

    Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Weight of meaning against words, for the spread of MiniLM's cosines (standard deviation 0.11);
#: weight_of_meaning() of sql/functions/weights.sql, where candidates are looked around by it.
MEANING = 0.7
#: Saturation and length normalisation of BM25, on ts_rank's scale. weight_of_length() of the same
#: file is not B: it divides the first score of one chunk, outside the saturation.
K1, B = 0.7, 0.75
#: Words of distance over which a neighbour's weight falls by e; weight of a turn that follows.
TAU, AFTER = 30.0, 0.7
#: Weight of a neighbour's cosine against the turn's own; a cosine's mass is its chunk's length in
#: words, at most MASS_CAP, plus MASS_FLOOR.
SMOOTHING, MASS_CAP, MASS_FLOOR = 0.6, 30.0, 5.0


class Ranked(NamedTuple):
    """A memory with its score and the parts that add up to it; `row` is its best chunk's.

    `count` memories, itself included, have its very text.
    """

    memory_id: int
    row: int
    score: float
    words: float
    meaning: float
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody asks for


@dataclass(frozen=True)
class Scores:
    """Each row's scores, [rows], and what each word adds to `words`, [rows, words]."""

    words: Floats
    meaning: Floats
    by_word: Floats


def idf(chunks: np.ndarray | int, corpus: int) -> Floats:
    """Return BM25's inverse document frequency, ln(1 + (N - n + ½) / (n + ½)), never below 0."""
    return np.log1p(np.maximum(corpus - np.asarray(chunks) + 0.5, 0.0) / (np.asarray(chunks) + 0.5))


def middles(lengths: Floats) -> Floats:
    """Return where each turn's middle lies, counted in words from the first turn's beginning."""
    return np.cumsum(lengths) - lengths / 2


def score_rows(evidence: Evidence, around: int) -> Scores:
    """Return every row's words and meaning scores."""
    if not len(evidence.chunk_ids):
        return Scores(np.zeros(0), np.zeros(0), np.zeros((0, len(evidence.words))))
    # In the order of their turns, a row's neighbour at some distance is a shift away.
    order = np.lexsort((evidence.pieces, evidence.memory_ids, evidence.times, evidence.threads))
    body, similarities = evidence.body[order], evidence.similarities[order]
    lengths = evidence.lengths[order].astype(float)
    mass = np.minimum(lengths, MASS_CAP) + MASS_FLOOR
    held = np.column_stack((body + evidence.head[order], lengths, mass * similarities, mass))
    shared = np.column_stack((body, lengths, SMOOTHING * mass * similarities, SMOOTHING * mass))
    # Rows of one unbroken run of turns share a number.
    runs = np.cumsum(~evidence.joined[order])
    centres = middles(lengths)
    for step in range(1, around + 1):
        early, late = slice(None, -step), slice(step, None)
        near = np.exp((centres[early] - centres[late]) / TAU) * (runs[early] == runs[late])
        held[late] += near[:, None] * shared[early]
        held[early] += AFTER * near[:, None] * shared[late]
    by_word, window, top, bottom = held[:, :-3], held[:, -3], held[:, -2], held[:, -1]
    if evidence.words:
        saturation = K1 * (1 - B + B * window / max(float(window.mean()), 1e-9))
        worth = idf(evidence.word_chunks, evidence.corpus_chunks)
        whole = worth.sum() + evidence.absent * idf(0, evidence.corpus_chunks)
        by_word = worth / whole * by_word / (by_word + saturation[:, None])
    back = np.argsort(order)
    return Scores(by_word.sum(axis=1)[back], (top / bottom)[back], by_word[back])


def faded(scores: Floats, times: np.ndarray, half_life: float, now: float) -> Floats:
    """Return scores halved for every `half_life` days of age; times in microseconds like `now`."""
    days = np.maximum(now - times, 0) / 86_400e6
    with np.errstate(over="ignore"):  # days / a tiny half-life is infinite, and exp2(-inf) is 0
        return scores * np.exp2(-days / half_life)


def fuse(
    evidence: Evidence, scores: Scores, mode: Mode, fade: tuple[float, float] | None = None
) -> Iterator[Ranked]:
    """Yield the memories in scope, best first; ties go to the newer, then to the higher id.

    A memory scores by its best chunk, and identical texts of one author fold into their best. In
    keyword mode a memory must hold a word of the question itself. `fade` is what `faded` takes.
    """
    words, meaning = {
        "hybrid": (scores.words / (1 + MEANING), scores.meaning * MEANING / (1 + MEANING)),
        "semantic": (np.zeros_like(scores.words), scores.meaning),
        "keyword": (scores.words, np.zeros_like(scores.meaning)),
    }[mode]
    if fade is not None:
        words, meaning = (faded(part, evidence.times, *fade) for part in (words, meaning))
    keep = evidence.in_scope
    if mode == "keyword":
        keep = keep & (evidence.body + evidence.head > 0).any(axis=-1)
    rows = np.flatnonzero(keep)
    total, ids, digests = (words + meaning)[rows], evidence.memory_ids[rows], evidence.digests[rows]
    memories, texts = set(), set()
    for place in np.lexsort((-ids, -evidence.times[rows], -total)).tolist():
        memory, digest, row = int(ids[place]), int(digests[place]), int(rows[place])
        if memory not in memories and digest not in texts:
            memories.add(memory)
            texts.add(digest)
            twins = set(ids[digests == digest].tolist())
            parts = (float(total[place]), float(words[row]), float(meaning[row]))
            yield Ranked(memory, row, *parts, len(twins))


def by_session(ranked: Iterable[Ranked], evidence: Evidence) -> Iterator[Ranked]:
    """Yield each session's best turn: a session is worth what its best turn is, never a mean."""
    threads: set[int] = set()
    for turn in ranked:
        thread = int(evidence.threads[turn.row])
        if thread not in threads:
            threads.add(thread)
            yield turn


def score_parts(evidence: Evidence, scores: Scores, ranked: Ranked) -> dict[str, Any]:
    """Return the parts of a hit's score: `words` + `meaning` = score.

    `by_word` adds up to `words`. `similarity` is the chunk's own cosine, before its neighbours'.
    """
    parts = scores.by_word[ranked.row]
    whole = float(parts.sum())
    # The mode and age weigh all words of a hit alike.
    weight = ranked.words / whole if whole > 0 else 0.0
    by_word: dict[str, float] = {}
    for word, part in zip(evidence.words, parts * weight, strict=True):
        if part > 0:  # a phrase may be asked twice
            by_word[word] = by_word.get(word, 0.0) + float(part)
    return {
        "words": ranked.words,
        "meaning": ranked.meaning,
        "by_word": by_word,
        "similarity": float(evidence.similarities[ranked.row]),
        "exact": bool(evidence.exact),
    }
