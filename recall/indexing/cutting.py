"""Cut a long text into chunks that a model can read whole, without losing a character of it."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The space behind a sentence (Latin), the point behind one (CJK), the break behind a line.
_BOUNDARY = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|(?<=[\u3002\uff01\uff1f])|\n+\s*")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters [start, end) of a text."""

    start: int
    end: int


def split(text: str, offsets: Sequence[tuple[int, int]], limit: int, overlap: int) -> list[Span]:
    """Return spans of at most `limit` tokens that together cover `text`, cut between sentences.

    `offsets` are the model's tokens as (start, end) characters. A span begins with up to `overlap`
    tokens of whole sentences of the one before, so that what a sentence refers to stays near it. A
    sentence longer than `limit` is cut between tokens. The spans' starts and ends both increase.
    """
    if limit < 1 or not 0 <= overlap < limit:
        raise ValueError("limit must be positive and overlap smaller than it")
    if len(offsets) <= limit:
        return [Span(0, len(text))]
    starts = [start for start, _ in offsets]
    # Tokens at which a span may begin: the first of each sentence.
    boundaries = {bisect_left(starts, match.end()) for match in _BOUNDARY.finditer(text)}
    firsts = sorted(boundaries - {0, len(starts)})
    spans: list[Span] = []
    begin = 0
    while True:
        last = begin + limit
        if last >= len(starts):
            spans.append(Span(_edge(text, starts, begin), len(text)))
            return spans
        cut = _latest(firsts, begin + overlap + 1, last) or last
        spans.append(Span(_edge(text, starts, begin), _edge(text, starts, cut)))
        begin = _earliest(firsts, max(begin + 1, cut - overlap), cut) or cut


def _edge(text: str, starts: Sequence[int], token: int) -> int:
    """Return the character where `token` begins; text before the first token belongs to it."""
    return 0 if token == 0 else starts[token]


def _latest(firsts: Sequence[int], low: int, high: int) -> int | None:
    place = bisect_right(firsts, high) - 1
    return firsts[place] if place >= 0 and firsts[place] >= low else None


def _earliest(firsts: Sequence[int], low: int, high: int) -> int | None:
    place = bisect_left(firsts, low)
    return firsts[place] if place < len(firsts) and firsts[place] < high else None
