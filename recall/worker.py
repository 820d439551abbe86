"""The worker: claim, cut, embed, write. Any number of them, anywhere.

A batch is embedded off the event loop; no transaction is open meanwhile. What fails is put back
with its error, alone, so that one poisonous memory does not take its neighbours along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import groupby
from typing import TYPE_CHECKING

from recall import queue
from recall.errors import Unavailable
from recall.index import chunk_jobs
from recall.models import BACKFILL, LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from recall.database import Database
    from recall.embedding import QueryBatcher
    from recall.models import Chunk, Job, Profile
    from recall.settings import Settings

log = logging.getLogger("recall.worker")

#: Idle waits double from the first to the last: past Neon's suspend window, so that an idle
#: service lets the database sleep. Whoever stores a memory in this process nudges.
FIRST_WAIT = 1.0
LAST_WAIT = 15 * 60.0
#: While one loop writes, the other embeds. A third takes live memories alone, which wait for no
#: batch of a backfill.
LOOPS = 2
#: What was appended is folded after so many memories, and when the queue runs empty.
COMPACT_EVERY = 20_000
#: Characters embedded between two looks at the clock.
LONGEST_PART = 100_000


class Worker:
    """Indexes queued memories until told to stop."""

    def __init__(
        self, database: Database, batcher: QueryBatcher, profile: Profile, settings: Settings
    ) -> None:
        self._database = database
        self._batcher = batcher
        self._profile = profile
        self._batch = settings.batch
        self._lease = settings.lease
        self._nudged = asyncio.Event()
        self._stopping = False
        self._since_compaction = 0

    def nudge(self) -> None:
        """Say that there is something to do."""
        self._nudged.set()

    def stop(self) -> None:
        """Finish the batch in hand and return from `run`."""
        self._stopping = True
        self._nudged.set()

    async def run(self) -> None:
        """Index until stopped; survives a database that goes away and comes back."""
        await asyncio.gather(self._loop(LIVE), *(self._loop(BACKFILL) for _ in range(LOOPS)))

    async def drain(self, told: Callable[[int], None] = lambda done: None) -> int:
        """Index everything that is due now; return how many memories that was, telling each step's.

        Raises what a step raised.
        """

        async def until_empty() -> int:
            total = 0
            while done := await self.step():
                told(done)
                total += done
            return total

        total = sum(await asyncio.gather(*(until_empty() for _ in range(LOOPS))))
        await self._compact(1)
        return total

    async def _loop(self, lane: int) -> None:
        wait = FIRST_WAIT
        due = None
        while not self._stopping:
            self._nudged.clear()
            try:
                if await self.step(lane):
                    wait = FIRST_WAIT
                    continue
                due = await queue.next_due(self._database)
                if due is None:
                    await self._compact(1)
            except Unavailable as error:
                log.warning("%s Trying again in %.0f s; nothing is lost.", error, wait)
            try:
                # A job that failed is due again before a long idle wait ends.
                pause = wait if due is None else min(max(due, FIRST_WAIT), wait)
                await asyncio.wait_for(self._nudged.wait(), pause)
                wait = FIRST_WAIT
            except TimeoutError:
                wait = min(wait * 2, LAST_WAIT)

    async def step(self, lane: int = BACKFILL) -> int:
        """Index one batch of jobs of up to `lane` and return how many memories it held."""
        jobs = await queue.claim(self._database, self._batch, self._lease, lane)
        halfway = time.monotonic() + self._lease / 2
        done = 0
        for part in _parts(jobs):
            if done and time.monotonic() > halfway:
                # Long memories: what is left could outlive the lease, and be done twice for ever.
                await queue.release(self._database, jobs[done:])
                break
            await self._index(part)
            done += len(part)
        if done:
            await self._compact(COMPACT_EVERY)
        return done

    async def _index(self, jobs: Sequence[Job]) -> None:
        try:
            chunks, vectors = await self._embed(jobs)
            ordered = sorted(jobs, key=lambda job: job.tenant_id)
            for _, of_tenant in groupby(ordered, key=lambda job: job.tenant_id):
                done = await queue.finish(
                    self._database, self._profile, list(of_tenant), chunks, vectors
                )
                self._since_compaction += done
        except asyncio.CancelledError:
            await queue.release(self._database, jobs)
            raise
        except Unavailable:
            raise  # the lease runs out and the batch is done again
        except Exception as error:  # the one job boundary: whatever a memory causes, it is kept
            log.exception("Indexing %d memories failed", len(jobs))
            if len(jobs) == 1:
                await queue.fail(self._database, jobs, f"{type(error).__name__}: {error}")
                return
            for job in jobs:
                await self._index([job])

    async def _embed(
        self, jobs: Sequence[Job]
    ) -> tuple[dict[int, list[Chunk]], dict[int, np.ndarray]]:
        chunks = await asyncio.to_thread(chunk_jobs, jobs, self._batcher.embedder)
        texts = [chunk.embedded for of_job in chunks.values() for chunk in of_job]
        matrix = await self._batcher.embed_documents(texts)
        vectors = {}
        begin = 0
        for memory, of_job in chunks.items():
            vectors[memory] = matrix[begin : begin + len(of_job)]
            begin += len(of_job)
        return chunks, vectors

    async def _compact(self, threshold: int) -> None:
        if self._since_compaction >= threshold:
            self._since_compaction = 0
            await queue.compact(self._database)


def _parts(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Cut a batch into runs of one lane and at most LONGEST_PART characters, or longer memories."""
    part: list[Job] = []
    size = 0
    for job in jobs:
        if part and (job.lane != part[0].lane or size + len(job.content) > LONGEST_PART):
            yield part
            part, size = [], 0
        part.append(job)
        size += len(job.content)
    if part:
        yield part
