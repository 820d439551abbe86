"""What of a memory goes into the index."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from recall.indexing.cutting import Span
from recall.indexing.jobs import Job
from recall.indexing.recipe import chunk_jobs
from recall.memory.memories import LIVE

if TYPE_CHECKING:
    from recall.embedding import Embedder


def job(content: str, memory_id: int = 1) -> Job:
    return Job(
        memory_id=memory_id,
        tenant_id=1,
        token=1,
        lane=LIVE,
        language="english",
        kind="message",
        content=content,
        title=None,
        role="user",
        author="Ada",
        user_id=None,
        session_id=1,
        created_at=datetime(2025, 3, 1, tzinfo=UTC),
        indexed=False,
    )


@given(content=st.text(st.characters(max_codepoint=127), max_size=400))
def test_a_short_text_of_ascii_has_no_more_tokens_than_characters(
    content: str, embedder: Embedder
) -> None:
    (offsets,) = embedder.token_offsets([content])
    assert len(offsets) <= len(content)


def test_short_and_long_texts_are_cut_side_by_side(embedder: Embedder) -> None:
    long, wide = "All is well. " * 60, "\N{GREEK SMALL LETTER ALPHA}" * 150
    made = chunk_jobs([job("short", 1), job(long, 2), job(wide, 3), job("", 4)], embedder)
    assert list(made) == [1, 2, 3, 4]
    spans = {
        id: [Span(chunk.starts, chunk.ends) for chunk in chunks] for id, chunks in made.items()
    }
    assert spans[1] == [Span(0, 5)]
    assert spans[4] == [Span(0, 0)]
    assert len(spans[2]) > 1
    assert spans[2][-1].end == len(long)
    assert made[1][0].embedded == "Ada: short"
