"""Fit hits into what a caller has room for: whole memories, in order of worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def pack(sizes: Sequence[int], budget: int) -> list[int]:
    """Return the places of the items to keep so that their sizes add up to at most `budget`.

    Items come in order of worth. One that does not fit is left out whole, and a smaller one behind
    it may still fit: a cut memory could say the opposite of itself.
    """
    kept = []
    for place, size in enumerate(sizes):
        if size <= budget:
            kept.append(place)
            budget -= size
    return kept
