"""Chunking: nothing is lost, nothing is too long, cuts fall between sentences."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts

from recall.indexing.cutting import Span, split


def words(text: str) -> list[tuple[int, int]]:
    """Return offsets as a tokenizer gives them: words and marks, white space between."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


limits = st.integers(1, 40).flatmap(
    lambda limit: st.tuples(st.just(limit), st.integers(0, limit - 1))
)


@given(texts, limits)
def test_chunks_cover_every_character_in_order(text: str, limits: tuple[int, int]) -> None:
    spans = split(text, words(text), *limits)
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    for span, following in pairwise(spans):
        assert following.start <= span.end
        assert span.start < following.start
        assert span.end < following.end


@given(texts, limits)
def test_no_chunk_has_more_tokens_than_the_limit(text: str, limits: tuple[int, int]) -> None:
    offsets = words(text)
    for span in split(text, offsets, *limits):
        held = [start for start, _ in offsets if span.start <= start < span.end]
        assert len(held) <= limits[0]


@given(texts, limits)
def test_chunks_overlap_by_no_more_than_was_asked(text: str, limits: tuple[int, int]) -> None:
    offsets = words(text)
    spans = split(text, offsets, *limits)
    for span, following in pairwise(spans):
        shared = [start for start, _ in offsets if following.start <= start < span.end]
        assert len(shared) <= limits[1]


@given(texts, limits)
def test_the_same_text_is_cut_the_same_way(text: str, limits: tuple[int, int]) -> None:
    assert split(text, words(text), *limits) == split(text, words(text), *limits)


def test_a_text_that_fits_is_one_chunk_with_its_white_space() -> None:
    assert split("  one two \n", words("  one two \n"), 2, 0) == [Span(0, 11)]


def test_an_empty_text_is_one_empty_chunk() -> None:
    assert split("", [], 5, 0) == [Span(0, 0)]


def test_cuts_fall_between_sentences() -> None:
    text = "One two three. Four five six. Seven eight nine."
    spans = split(text, words(text), 9, 0)
    assert [text[s.start : s.end] for s in spans] == [
        "One two three. Four five six. ",
        "Seven eight nine.",
    ]


def test_a_chunk_begins_with_the_last_whole_sentence_of_the_one_before() -> None:
    text = "One two three. Four five. Six seven eight. Nine ten."
    spans = split(text, words(text), 8, 3)
    assert [text[s.start : s.end] for s in spans] == [
        "One two three. Four five. ",
        "Four five. Six seven eight. ",
        "Nine ten.",
    ]


def test_chinese_sentences_are_boundaries_too() -> None:
    text = "今天下雨。明天晴天。后天多云。"
    offsets = [(place, place + 1) for place in range(len(text))]
    spans = split(text, offsets, 6, 0)
    assert [text[s.start : s.end] for s in spans] == ["今天下雨。", "明天晴天。", "后天多云。"]


def test_a_sentence_longer_than_the_limit_is_cut_between_tokens() -> None:
    text = " ".join(f"w{n}" for n in range(25))
    spans = split(text, words(text), 10, 0)
    assert [text[s.start : s.end].split() for s in spans] == [
        text.split()[:10],
        text.split()[10:20],
        text.split()[20:],
    ]


@pytest.mark.parametrize(("limit", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_limits_that_cannot_work_are_refused(limit: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        split("a", [(0, 1)], limit, overlap)
