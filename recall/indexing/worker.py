"""The worker: claim, read, cut, embed, write. Any number of them, anywhere.

A batch is embedded off the event loop; no transaction is open meanwhile, and a heartbeat holds the
claims for as long as it takes. Memories at fault (`recall/indexing/blame.py`) are put back with
their error, and the others are indexed. Where the system is at fault, nothing is booked on any
memory, and the worker says so and tries again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from recall.base.supervisor import Duty
from recall.contract.errors import RecallError
from recall.indexing import queue
from recall.indexing.blame import (
    Halving,
    Unembeddable,
    as_recall_error,
    described,
    memories_at_fault,
)
from recall.indexing.holding import Holding
from recall.indexing.recipe import chunk_jobs
from recall.memory.memories import BACKFILL, LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recall.base.settings import Settings
    from recall.base.supervisor import Supervisor
    from recall.database.units import Database
    from recall.embedding import Documents
    from recall.indexing.jobs import Chunk, Claim, Job
    from recall.indexing.profiles import Profile

log = logging.getLogger("recall.worker")

T = TypeVar("T")

BACKFILL_LOOPS = 2  # overlap embedding and writing; one more loop takes the lane LIVE only
#: Seconds before a loop that met a fault of the system tries again, and the longest such pause.
FIRST_PAUSE, LAST_PAUSE = 1.0, 5.0
#: Memories after which word counts are folded; they are too when the queue runs empty.
COMPACT_EVERY = 20_000
#: Bytes of text read, embedded and written together, and characters embedded in one call: between
#: two of either a worker can stop.
LONGEST_RUN = 100_000


class Indexed(NamedTuple):
    """What one step did: memories indexed, memories that failed, and the fault that stopped it."""

    done: int = 0
    failed: int = 0
    fault: RecallError | None = None


class Worker:
    """Indexes queued memories until told to stop."""

    def __init__(
        self, database: Database, documents: Documents, profile: Profile, settings: Settings
    ) -> None:
        self._database = database
        self._documents = documents
        self._profile = profile
        self._batch = settings.batch
        self._holding = Holding(database, settings.lease)
        self._wakes: set[asyncio.Event] = set()  # of each loop
        self._stopping = False
        self._since_compaction = 0

    def nudge(self) -> None:
        """Wake every loop: jobs may be due."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """Let every loop finish its run, give its other claims back, and return."""
        self._stopping = True
        self._holding.stop()
        self.nudge()

    def start(self, supervisor: Supervisor) -> None:
        """Index beside everything else until stopped."""
        for lane in (LIVE, *[BACKFILL] * BACKFILL_LOOPS):
            supervisor.start("Indexing", partial(self._loop, lane), needed=True, stop=self.stop)
        supervisor.start("The heartbeat of claims", self._holding.beat, needed=True)

    async def drain(self, report: Callable[[int], None] = lambda done: None) -> int:
        """Index everything that is due now; return how many memories were, telling each step's.

        Raises what keeps it from indexing.
        """

        async def until_empty() -> int:
            total = 0
            while (indexed := await self.step()) != Indexed():
                if indexed.fault:
                    raise indexed.fault
                report(indexed.done)
                total += indexed.done
            return total

        beating = asyncio.create_task(self._holding.beat(Duty("", needed=True)))
        try:
            loops = [asyncio.create_task(until_empty()) for _ in range(BACKFILL_LOOPS)]
            total = sum(await _together(loops))
        finally:
            beating.cancel()
        await self._compact(1)
        return total

    async def _loop(self, lane: int, duty: Duty) -> None:
        wake = asyncio.Event()
        self._wakes.add(wake)
        pause = FIRST_PAUSE
        try:
            while not self._stopping:
                wake.clear()
                duty.works()
                try:
                    due = await self._all_due(lane, duty)
                except RecallError as error:
                    duty.fails(error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LAST_PAUSE)
                    continue
                duty.rests()
                pause = FIRST_PAUSE
                with suppress(TimeoutError):  # idle, it sends nothing until a job is due, or a ring
                    await asyncio.wait_for(wake.wait(), due)
        finally:
            self._wakes.discard(wake)

    async def _all_due(self, lane: int, duty: Duty) -> float | None:
        """Index all jobs that are due; return the seconds until the next is, None if none waits."""
        while not self._stopping and (indexed := await self.step(lane)) != Indexed():
            if indexed.fault:
                raise indexed.fault
            duty.works()
        due = await queue.next_due(self._database, lane)
        if due is None:
            await self._compact(1)
        return due

    async def step(self, lane: int = BACKFILL) -> Indexed:
        """Claim a batch of one lane up to `lane`, index it, and return what became of it.

        Raises Unavailable when the database is away; claims that were not done are given back.
        """
        claims = await queue.claim_jobs(self._database, self._batch, self._holding.lease, lane)
        self._holding.take(claims)
        total = Indexed()
        try:
            for run in _runs(claims, lambda claim: claim.bytes):
                if self._stopping or total.fault:
                    break
                done, failed, fault = await self._index_run(run, total)
                total = Indexed(total.done + done, total.failed + failed, fault)
        finally:
            await self._holding.give_back(claims)
        if total.done:
            await self._compact(COMPACT_EVERY)
        return total

    async def _index_run(self, claims: Sequence[Claim], before: Indexed) -> Indexed:
        """Index a run of claims; book failures on memories only where these are at fault."""
        halving = Halving(self._index, proven=before.done > 0)
        await halving.index(claims)
        errors = list(halving.failures.values())
        if errors and not (halving.proven or await memories_at_fault(errors, self._embed)):
            return Indexed(fault=as_recall_error(errors[0]))
        said = {claim: described(error) for claim, error in halving.failures.items()}
        for claim, sentence in said.items():
            log.warning("Memory %d cannot be indexed: %s", claim.memory_id, sentence)
        if said:
            await queue.fail_jobs(self._database, said)
            self._holding.drop([*said])
        return Indexed(halving.done, len(said))

    async def _index(self, claims: Sequence[Claim]) -> None:
        jobs = await queue.read_jobs(self._database, claims)
        try:
            chunks, vectors = await self._embed(jobs)
        except RecallError:
            raise
        except Exception as error:
            raise Unembeddable(described(error)) from error
        ordered = sorted(jobs, key=lambda job: job.tenant_id)
        for _, of_tenant in groupby(ordered, key=lambda job: job.tenant_id):
            done = await queue.finish_jobs(
                self._database, self._profile, list(of_tenant), chunks, vectors
            )
            self._since_compaction += done
        self._holding.drop(claims)

    async def _embed(
        self, jobs: Sequence[Job]
    ) -> tuple[dict[int, list[Chunk]], dict[int, np.ndarray]]:
        chunks = await asyncio.to_thread(chunk_jobs, jobs, self._documents.embedder)
        texts = [chunk.embedded for of_job in chunks.values() for chunk in of_job]
        runs = [await self._documents.embed(run) for run in _runs(texts, len)]
        matrix = np.concatenate(runs) if runs else np.empty((0, 0), np.float32)
        vectors = {}
        begin = 0
        for memory, of_job in chunks.items():
            vectors[memory] = matrix[begin : begin + len(of_job)]
            begin += len(of_job)
        return chunks, vectors

    async def _compact(self, threshold: int) -> None:
        if self._since_compaction >= threshold:
            self._since_compaction = 0
            await queue.fold_counts(self._database)


async def _together(tasks: Sequence[asyncio.Task[int]]) -> list[int]:
    """Return what all tasks return; when one fails, end the others and raise its error."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _runs(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut items into runs that take at most LONGEST_RUN together, or of one larger item."""
    run: list[T] = []
    taken = 0
    for item in items:
        if run and taken + size(item) > LONGEST_RUN:
            yield run
            run, taken = [], 0
        run.append(item)
        taken += size(item)
    if run:
        yield run
