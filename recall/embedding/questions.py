"""Questions embedded together, and remembered.

Questions that arrive while a batch is being embedded form the next batch. A question that finds
none under way goes at once: none waits for others to come.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from recall.embedding.embedder import Embedder, Vectors

Vector = NDArray[np.float32]

MOST_QUESTIONS = 64  # of a batch: its first question waits until the last is embedded
LAST_ANSWERS = 0.3  # seconds that closing waits for questions under way
REMEMBERED = 1024  # vectors, of the questions asked last


class Questions:
    """A model's questions, on a thread that its maker ends."""

    def __init__(
        self, embedder: Embedder, threads: ThreadPoolExecutor, remembered: int = REMEMBERED
    ) -> None:
        self.embedder = embedder
        self._threads = threads
        self._remembered = remembered
        self._answers: OrderedDict[str, Vector] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Vector]] = {}
        self._waiting: list[str] = []
        self._run: asyncio.Task[None] | None = None
        self._closed = False

    async def embed(self, text: str) -> Vector:
        """Return a question's unit vector [dimension], read-only.

        Raises what the model raised; giving up on one question leaves the others alone.
        """
        if self._closed:
            raise RuntimeError("the model is closed")
        text.encode()  # raises for a lone surrogate, which would fail the whole batch
        if text in self._answers:
            self._answers.move_to_end(text)
            return self._answers[text]
        if text not in self._asked:
            self._asked[text] = asyncio.get_running_loop().create_future()
            self._waiting.append(text)
            if self._run is None:
                self._run = asyncio.create_task(self._run_batches())
        # Shielded: a caller that gives up must not cancel others who ask the same.
        return await asyncio.shield(self._asked[text])

    async def aclose(self) -> None:
        """Take no more questions, and wait a moment for the answers to those already asked."""
        self._closed = True
        if self._run is not None:
            await asyncio.wait([self._run], timeout=LAST_ANSWERS)

    async def _run_batches(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                texts = self._waiting[:MOST_QUESTIONS]
                self._waiting = self._waiting[MOST_QUESTIONS:]
                batch = loop.run_in_executor(self._threads, self.embedder.embed_queries, texts)
                await asyncio.wait([batch])
                self._settle(texts, batch)
        finally:
            self._run = None

    def _settle(self, texts: list[str], batch: asyncio.Future[Vectors]) -> None:
        """Give every waiter of a batch its vector, or the error that ended the batch."""
        error = batch.exception()
        for number, text in enumerate(texts):
            future = self._asked.pop(text)
            if error is not None:
                future.set_exception(error)
                future.exception()  # retrieved, or asyncio would log it when no caller is left
                continue
            vector = batch.result()[number].copy()  # a view would keep the whole batch in memory
            vector.flags.writeable = False  # all who ask the same share it
            self._answers[text] = vector
            future.set_result(vector)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
