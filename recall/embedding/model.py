"""One model behind an event loop: questions first and together, documents in between.

Where the engine bears several calls at once, questions have a thread of their own and the kernel
shares the cores among all threads: a question takes 7.2 ms while a backfill has two cores, 3.3 ms
without. Elsewhere everything shares one thread.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from recall.embedding.documents import Documents
from recall.embedding.questions import LAST_ANSWERS, REMEMBERED, Questions

if TYPE_CHECKING:
    from recall.embedding.embedder import Embedder


class Model:
    """An embedder's questions and documents, for one event loop; `aclose()` it when done."""

    def __init__(self, embedder: Embedder, remembered: int = REMEMBERED) -> None:
        first = few = many = ThreadPoolExecutor(1, "recall-questions")
        if embedder.concurrent:
            few = ThreadPoolExecutor(1, "recall-few-documents")
            many = ThreadPoolExecutor(1, "recall-documents")
        self.embedder = embedder
        self.questions = Questions(embedder, first, remembered)
        self.documents = Documents(embedder, few, many)
        self._threads = {first, few, many}

    async def aclose(self) -> None:
        """Answer the questions already asked, then end the threads.

        A call that runs cannot be stopped; it is waited for LAST_ANSWERS seconds.
        """
        await self.questions.aclose()
        for each in self._threads:
            each.shutdown(wait=False, cancel_futures=True)
        ends = [asyncio.create_task(asyncio.to_thread(each.shutdown)) for each in self._threads]
        await asyncio.wait(ends, timeout=LAST_ANSWERS)
