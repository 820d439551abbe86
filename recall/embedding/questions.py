"""The model behind an event loop: questions first and together, documents in between.

Questions that arrive while one is being embedded form the next batch; the first goes at once, so
nobody waits for company. An engine that bears several calls at once gets a thread for questions,
one for a few documents and one for many, and the kernel shares the cores among them: a question
takes 7.2 ms while a backfill has two cores, 3.3 ms without. With the other engines all share one
thread, and documents go in short slices: a question waits for the slice in hand at most, 38 ms in
the median.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recall.embedding.embedder import Embedder, Vectors

Vector = NDArray[np.float32]

MOST_QUESTIONS = 64  # a batch; more would make the first of them wait for the last
FEW_CHARACTERS = 8_000  # of live messages, say: they do not queue behind a backfill's
SLICE_SECONDS = 0.05
SLICE_CHARACTERS = 8_000  # of the first slice; the following ones are sized by its time
LAST_ANSWERS = 0.3  # seconds
CHARACTERS_ALWAYS = 8  # what the special tokens of even an empty text cost


class QueryBatcher:
    """Embed questions and documents for one event loop; `aclose()` it when done."""

    def __init__(self, embedder: Embedder, remembered: int = 1024) -> None:
        self.embedder = embedder
        self._remembered = remembered
        self._answers: OrderedDict[str, Vector] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Vector]] = {}
        self._waiting: list[str] = []
        self._run: asyncio.Task[None] | None = None
        self._closed = False
        self._questions = self._few = self._many = ThreadPoolExecutor(1, "recall-questions")
        if embedder.concurrent:
            self._few = ThreadPoolExecutor(1, "recall-few-documents")
            self._many = ThreadPoolExecutor(1, "recall-documents")
        self._slice = float(SLICE_CHARACTERS)

    async def embed(self, text: str) -> Vector:
        """Return a question's unit vector [dimension], read-only.

        Raises what the model raised; giving up on one question leaves the others alone.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        text.encode()  # a lone surrogate is the error of who sent it, not of the whole batch
        if text in self._answers:
            self._answers.move_to_end(text)
            return self._answers[text]
        if text not in self._asked:
            self._asked[text] = asyncio.get_running_loop().create_future()
            self._waiting.append(text)
            if self._run is None:
                self._run = asyncio.create_task(self._run_questions())
        # Shielded: whoever else waits for the same words still wants the answer.
        return await asyncio.shield(self._asked[text])

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] in order; questions pass meanwhile."""
        if not self.embedder.concurrent:
            return await self._in_slices(texts)
        few = sum(map(len, texts)) <= FEW_CHARACTERS
        threads = self._few if few else self._many
        return await self._in(threads, self.embedder.embed_documents, texts)

    async def aclose(self) -> None:
        """Answer the questions already asked, then end the threads.

        A call that runs cannot be stopped; beyond a moment nobody waits for it.
        """
        self._closed = True
        if self._run is not None:
            await asyncio.wait([self._run], timeout=LAST_ANSWERS)
        pools = {self._questions, self._few, self._many}
        for threads in pools:
            threads.shutdown(wait=False, cancel_futures=True)
        ends = [asyncio.create_task(asyncio.to_thread(threads.shutdown)) for threads in pools]
        await asyncio.wait(ends, timeout=LAST_ANSWERS)

    async def _in_slices(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.embedder.dimension), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        first = 0
        while first < len(order):
            chosen = self._next_slice(texts, order, first)
            begun = time.perf_counter()
            vectors[chosen] = await self._in(
                self._questions, self.embedder.embed_documents, [texts[i] for i in chosen]
            )
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
        """Move the slice towards the time that it should take, at most twofold at once."""
        self._slice *= min(2.0, max(0.5, SLICE_SECONDS / max(seconds, 1e-6)))
        self._slice = min(max(self._slice, 500.0), 2_000_000.0)

    async def _run_questions(self) -> None:
        try:
            while self._waiting:
                texts, self._waiting = (
                    self._waiting[:MOST_QUESTIONS],
                    self._waiting[MOST_QUESTIONS:],
                )
                job = self._in(self._questions, self.embedder.embed_queries, texts)
                await asyncio.wait([job])
                self._settle(texts, job)
        finally:
            self._run = None

    def _settle(self, texts: list[str], job: asyncio.Future[Any]) -> None:
        """Give every waiter of a batch its vector, or the error that ended the batch."""
        error = job.exception()
        for number, text in enumerate(texts):
            future = self._asked.pop(text)
            if error is not None:
                future.set_exception(error)
                future.exception()  # nobody may be left to hear it
                continue
            vector = job.result()[number].copy()  # a view would keep the whole batch in memory
            vector.flags.writeable = False  # shared by everybody who asks the same
            self._answers[text] = vector
            future.set_result(vector)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)

    def _in(
        self,
        threads: ThreadPoolExecutor,
        call: Callable[[Sequence[str]], Vectors],
        texts: Sequence[str],
    ) -> asyncio.Future[Vectors]:
        return asyncio.get_running_loop().run_in_executor(threads, call, texts)
