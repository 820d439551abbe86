"""Fusion: the formulas of recall/retrieval/fuse.py, against a slow reference of the same form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import evidence

from recall.retrieval import fuse
from recall.retrieval.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recall.contract.values import Mode
    from recall.retrieval.fuse import Ranked

MODES: tuple[Mode, ...] = ("hybrid", "semantic", "keyword")
AROUND = 3
modes = st.sampled_from(MODES)


def chosen(found: Evidence, rows: list[int] | np.ndarray) -> Evidence:
    """Return the evidence with its rows in the order of `rows`."""
    columns = (
        *("chunk_ids", "memory_ids", "pieces", "threads", "times", "lengths", "digests"),
        *("joined", "in_scope", "similarities", "body", "head"),
    )
    return replace(found, **{name: getattr(found, name)[rows] for name in columns})


def reference(found: Evidence, mode: Mode, around: int) -> list[tuple[int, float]]:
    """Return (memory, score), best first, one row and one word at a time."""
    rows = range(len(found.chunk_ids))
    neighbours: dict[int, list[tuple[int, float]]] = {row: [] for row in rows}
    for thread in set(found.threads.tolist()):
        turns = sorted(
            (row for row in rows if found.threads[row] == thread),
            key=lambda r: (found.times[r], found.memory_ids[r], found.pieces[r]),
        )
        for early in range(len(turns)):
            for late in range(early + 1, min(early + around, len(turns) - 1) + 1):
                if not all(found.joined[turns[n]] for n in range(early + 1, late + 1)):
                    break
                between = sum(float(found.lengths[turns[n]]) for n in range(early + 1, late))
                distance = (
                    found.lengths[turns[early]] / 2 + between + found.lengths[turns[late]] / 2
                )
                weight = math.exp(-distance / fuse.TAU)
                neighbours[turns[late]].append((turns[early], weight))
                neighbours[turns[early]].append((turns[late], fuse.AFTER * weight))

    window = {
        row: found.lengths[row] + sum(w * found.lengths[other] for other, w in neighbours[row])
        for row in rows
    }
    mean = sum(window.values()) / len(window) if window else 0.0

    def idf(chunks: float) -> float:
        return math.log(1 + max(found.corpus_chunks - chunks + 0.5, 0) / (chunks + 0.5))

    whole = sum(idf(n) for n in found.word_chunks) + found.absent * idf(0)

    def words(row: int) -> float:
        total = 0.0
        for word, chunks in enumerate(found.word_chunks):
            tf = float(found.body[row, word] + found.head[row, word])
            tf += sum(w * float(found.body[other, word]) for other, w in neighbours[row])
            saturation = fuse.K1 * (1 - fuse.B + fuse.B * window[row] / max(mean, 1e-9))
            total += idf(chunks) * tf / (tf + saturation)
        return total / whole if len(found.word_chunks) else 0.0

    def mass(row: int) -> float:
        return min(float(found.lengths[row]), fuse.MASS_CAP) + fuse.MASS_FLOOR

    def meaning(row: int) -> float:
        shares = [(row, 1.0)] + [(o, fuse.SMOOTHING * w) for o, w in neighbours[row]]
        top = sum(share * mass(other) * float(found.similarities[other]) for other, share in shares)
        return top / sum(share * mass(other) for other, share in shares)

    def score(row: int) -> float:
        if mode == "semantic":
            return meaning(row)
        if mode == "keyword":
            return words(row)
        return (words(row) + fuse.MEANING * meaning(row)) / (1 + fuse.MEANING)

    best: dict[int, tuple[float, float]] = {}
    for row in rows:
        own = any(found.body[row] + found.head[row] > 0)
        if found.in_scope[row] and (own or mode != "keyword"):
            memory = int(found.memory_ids[row])
            before = best.get(memory, (-math.inf, 0.0))
            best[memory] = max(before, (score(row), float(found.times[row])))
    order = sorted(best, key=lambda m: (-round(best[m][0], 9), -best[m][1], -m))
    return [(memory, best[memory][0]) for memory in order]


def ranked_by(
    found: Evidence, mode: Mode, around: int = AROUND, fade: tuple[float, float] | None = None
) -> Iterator[Ranked]:
    return fuse.fuse(found, fuse.score_rows(found, around), mode, fade)


def ranking(ranked: Iterable[Ranked]) -> list[tuple[int, float]]:
    return [(r.memory_id, round(r.score, 9)) for r in ranked]


@given(evidence(), modes)
def test_scores_are_those_of_the_formulas(found: Evidence, mode: Mode) -> None:
    expected = dict(reference(found, mode, AROUND))
    ranked = list(ranked_by(found, mode))
    assert {r.memory_id: r.score for r in ranked} == pytest.approx(expected, abs=1e-6)


@given(evidence(), modes)
def test_the_best_come_first_and_ties_go_to_the_newer_then_the_higher_id(
    found: Evidence, mode: Mode
) -> None:
    ranked = list(ranked_by(found, mode))
    keys = [(-r.score, -int(found.times[r.row]), -r.memory_id) for r in ranked]
    assert keys == sorted(keys)


@given(evidence(), modes, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(found: Evidence, mode: Mode, random: object) -> None:
    rows = list(range(len(found.chunk_ids)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    again = list(ranked_by(chosen(found, rows), mode))
    once = list(ranked_by(found, mode))
    assert {r.memory_id: r.score for r in again} == pytest.approx(
        {r.memory_id: r.score for r in once}
    )
    # Sums in another order may differ in the last bit, and then a tie is no tie.
    if len({round(r.score, 9) for r in once}) == len(once):
        assert [r.memory_id for r in again] == [r.memory_id for r in once]


@given(evidence(), modes)
def test_the_parts_of_a_score_add_up_to_it(found: Evidence, mode: Mode) -> None:
    for ranked in ranked_by(found, mode):
        assert ranked.words + ranked.meaning == pytest.approx(ranked.score)


@given(evidence(), modes)
def test_every_memory_in_scope_is_ranked_once_and_no_other(found: Evidence, mode: Mode) -> None:
    ranked = [r.memory_id for r in ranked_by(found, mode)]
    in_scope = set(found.memory_ids[found.in_scope].tolist())
    assert len(ranked) == len(set(ranked))
    assert set(ranked) <= in_scope
    if mode != "keyword":
        assert set(ranked) == in_scope


@given(evidence(), modes)
def test_an_explanation_adds_up_to_the_score(found: Evidence, mode: Mode) -> None:
    ranked = list(ranked_by(found, mode))
    scores = fuse.score_rows(found, AROUND)
    for hit in ranked:
        parts = fuse.score_parts(found, scores, hit)
        assert parts["words"] + parts["meaning"] == pytest.approx(hit.score)
        assert sum(parts["by_word"].values()) == pytest.approx(parts["words"])


@given(evidence(), modes, st.floats(0.01, 1000))
def test_age_halves_a_score(found: Evidence, mode: Mode, half_life: float) -> None:
    now = 4e6
    plain = {r.memory_id: r for r in ranked_by(found, mode)}
    for hit in ranked_by(found, mode, fade=(half_life, now)):
        days = (now - float(found.times[hit.row])) / 86_400e6
        if hit.row == plain[hit.memory_id].row:
            expected = plain[hit.memory_id].score * 0.5 ** (days / half_life)
            assert hit.score == pytest.approx(expected)


@given(evidence(), modes)
def test_a_session_stands_for_its_best_turn(found: Evidence, mode: Mode) -> None:
    ranked = list(ranked_by(found, mode))
    sessions = list(fuse.by_session(ranked, found))
    threads = [int(found.threads[hit.row]) for hit in sessions]
    assert threads == list(dict.fromkeys(int(found.threads[hit.row]) for hit in ranked))
    assert [hit for hit in ranked if hit in sessions] == sessions


def test_twins_fold_into_the_best_of_them() -> None:
    apart = np.zeros(4, np.bool_)
    found = turns(0.2, 0.8, 0.5, 0.1, digests=np.array([1, 2, 1, 1]), joined=apart)
    ranked = list(ranked_by(found, "semantic"))
    assert [(hit.memory_id, hit.count) for hit in ranked] == [(2, 1), (3, 3)]


@given(evidence())
def test_words_are_a_share_between_nothing_and_all(found: Evidence) -> None:
    for ranked in ranked_by(found, "keyword"):
        assert 0 < ranked.score <= 1


@given(evidence())
def test_in_keyword_mode_a_hit_holds_a_word_itself(found: Evidence) -> None:
    for ranked in ranked_by(found, "keyword"):
        assert (found.body[ranked.row] + found.head[ranked.row]).any()


@given(evidence())
def test_what_each_word_adds_adds_up_to_words(found: Evidence) -> None:
    scores = fuse.score_rows(found, AROUND)
    assert np.allclose(scores.by_word.sum(axis=1), scores.words)


def turns(*similarities: float, **more: object) -> Evidence:
    """Return one thread of turns of ten words without words of the question."""
    n = len(similarities)
    plain = Evidence(
        words=[],
        word_chunks=np.zeros(0, np.int64),
        absent=0,
        corpus_chunks=n,
        corpus_length=10 * n,
        exact=True,
        chunk_ids=np.arange(1, n + 1),
        memory_ids=np.arange(1, n + 1),
        pieces=np.zeros(n, np.int32),
        threads=np.ones(n, np.int64),
        times=np.arange(n),
        lengths=np.full(n, 10),
        digests=np.arange(n),  # nobody's twin
        joined=np.arange(n) > 0,
        in_scope=np.ones(n, np.bool_),
        similarities=np.array(similarities, np.float32),
        body=np.zeros((n, 0), np.float32),
        head=np.zeros((n, 0), np.float32),
        pending=0,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def test_no_evidence_is_no_hit() -> None:
    for mode in MODES:
        assert list(ranked_by(turns(), mode)) == []


def test_a_neighbour_lends_its_meaning() -> None:
    alone, beside = turns(0.5, 0.9, joined=np.array([False, False])), turns(0.5, 0.9)
    assert fuse.score_rows(alone, AROUND).meaning[0] == pytest.approx(0.5)
    assert 0.5 < fuse.score_rows(beside, AROUND).meaning[0] < 0.9


def test_what_led_to_a_turn_counts_more_than_what_follows() -> None:
    led = fuse.score_rows(turns(0.9, 0.1), AROUND).meaning[1]
    followed = fuse.score_rows(turns(0.1, 0.9), AROUND).meaning[0]
    assert led > followed > 0.1


def test_a_long_message_between_keeps_turns_apart() -> None:
    near = fuse.score_rows(turns(0.1, 0.5, 0.9), AROUND).meaning[0]
    far = fuse.score_rows(turns(0.1, 0.5, 0.9, lengths=np.array([10, 500, 10])), AROUND)
    assert near > far.meaning[0] == pytest.approx(0.1, abs=1e-3)


def test_context_reaches_no_further_than_asked() -> None:
    found = turns(0.1, 0.1, 0.9)
    assert fuse.score_rows(found, 1).meaning[0] == pytest.approx(0.1)
    assert fuse.score_rows(found, 2).meaning[0] > 0.1


def test_a_row_out_of_scope_is_context_but_no_hit() -> None:
    found = turns(0.5, 0.9, in_scope=np.array([True, False]))
    (hit,) = ranked_by(found, "semantic")
    assert hit.memory_id == 1
    assert hit.score > 0.5


def test_a_memory_scores_by_its_best_chunk() -> None:
    found = turns(0.2, 0.8, 0.4, memory_ids=np.array([7, 7, 8]), joined=np.zeros(3, np.bool_))
    ids, scores = zip(*ranking(ranked_by(found, "semantic")), strict=True)
    assert ids == (7, 8)
    assert scores == pytest.approx((0.8, 0.4))


def test_a_question_that_the_corpus_does_not_know_loses_its_share() -> None:
    word = {
        "words": ["w"],
        "word_chunks": np.array([1]),
        "body": np.array([[0.61], [0.0]], np.float32),
        "head": np.zeros((2, 1), np.float32),
        "corpus_chunks": 100,
    }
    (known,) = ranked_by(turns(0, 0, **word), "keyword", around=0)
    (half,) = ranked_by(turns(0, 0, absent=1, **word), "keyword", around=0)
    assert half.score < 0.6 * known.score
