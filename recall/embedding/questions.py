"""Questions embedded together, and remembered.

Questions that arrive while one is being embedded form the next batch; the first goes at once, so
nobody waits for company.
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

MOST_QUESTIONS = 64  # a batch; more would make the first of them wait for the last
LAST_ANSWERS = 0.3  # seconds
REMEMBERED = 1024  # answers


class Questions:
    """A model's questions, on a thread that whoever made it ends."""

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
        text.encode()  # a lone surrogate is the error of who sent it, not of the whole batch
        if text in self._answers:
            self._answers.move_to_end(text)
            return self._answers[text]
        if text not in self._asked:
            self._asked[text] = asyncio.get_running_loop().create_future()
            self._waiting.append(text)
            if self._run is None:
                self._run = asyncio.create_task(self._run_batches())
        # Shielded: whoever else waits for the same words still wants the answer.
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
                future.exception()  # nobody may be left to hear it
                continue
            vector = batch.result()[number].copy()  # a view would keep the whole batch in memory
            vector.flags.writeable = False  # shared by everybody who asks the same
            self._answers[text] = vector
            future.set_result(vector)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
