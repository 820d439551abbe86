"""The worker: claim, read, cut, embed, write. Any number of them, anywhere.

A batch is embedded off the event loop; no transaction is open meanwhile, and a heartbeat holds the
claims for as long as it takes. What fails is tried in halves until the memories at fault are
alone: they are put back with their error, the others are indexed. Where everything fails the
system is at fault, nothing is booked on any memory, and the worker says so and tries again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recall import queue
from recall.errors import Broken, RecallError
from recall.faults import Fault, fault_of
from recall.index import chunk_jobs
from recall.models import BACKFILL, LIVE, Job
from recall.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recall.database import Database
    from recall.embedding import QueryBatcher
    from recall.models import Chunk, Claim, Profile
    from recall.settings import Settings
    from recall.supervisor import Supervisor

log = logging.getLogger("recall.worker")

#: While one loop writes, the other embeds. A third takes live memories alone, which wait for no
#: batch of a backfill.
BACKFILL_LOOPS = 2
#: Seconds before a worker that could not work tries again, and the longest such pause.
FIRST_PAUSE, LAST_PAUSE = 1.0, 5.0
#: What was appended is folded after so many memories, and when the queue runs empty.
COMPACT_EVERY = 20_000
#: Bytes of text read, embedded and written together; characters embedded in one call, between
#: which a worker that is told to stop can leave.
LONGEST_PART = 100_000
#: Memories that must fail one by one, with none that is indexed, before the system is to blame.
WITNESSES = 3
#: Heartbeats in a lease.
BEATS = 3
#: Seconds for giving claims back when the process ends.
FAREWELL = 1.0
#: What is cut and embedded to learn whether anything can be.
PROBE = Job(
    memory_id=0,
    tenant_id=0,
    token=0,
    lane=LIVE,
    language="simple",
    kind="note",
    content="Is the engine at fault, or the memory?",
    title=None,
    role=None,
    author=None,
    user_id=None,
    session_id=None,
    created_at=datetime(2000, 1, 1, tzinfo=UTC),
    indexed=False,
)


class Unembeddable(Exception):
    """Cutting or embedding failed: by the texts, or by the engine."""


class Indexed(NamedTuple):
    """What one step did: memories indexed, memories that failed, and what stopped it."""

    done: int = 0
    failed: int = 0
    fault: RecallError | None = None


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
        self._wakes: set[asyncio.Event] = set()  # of each loop
        self._held: dict[int, Claim] = {}
        self._holding = asyncio.Event()
        self._stopping = False
        self._since_compaction = 0

    def nudge(self) -> None:
        """Say that there is something to do."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """Finish the part in hand, give the rest back, and return from every duty."""
        self._stopping = True
        self._holding.set()
        self.nudge()

    def start(self, supervisor: Supervisor) -> None:
        """Index beside everything else until stopped."""
        for lane in (LIVE, *[BACKFILL] * BACKFILL_LOOPS):
            supervisor.start("Indexing", partial(self._loop, lane), needed=True, stop=self.stop)
        supervisor.start("The heartbeat of claims", self._beat, needed=True)

    async def drain(self, told: Callable[[int], None] = lambda done: None) -> int:
        """Index everything that is due now; return how many memories were, telling each step's.

        Raises what keeps it from indexing.
        """

        async def until_empty() -> int:
            total = 0
            while (indexed := await self.step()) != Indexed():
                if indexed.fault:
                    raise indexed.fault
                told(indexed.done)
                total += indexed.done
            return total

        beating = asyncio.create_task(self._beat(Duty("", needed=True)))
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
                with suppress(TimeoutError):  # nothing is asked before something is due or rings
                    await asyncio.wait_for(wake.wait(), due)
        finally:
            self._wakes.discard(wake)

    async def _all_due(self, lane: int, duty: Duty) -> float | None:
        """Index what is due; return the seconds until more is, None if nothing waits."""
        while not self._stopping and (indexed := await self.step(lane)) != Indexed():
            if indexed.fault:
                raise indexed.fault
            duty.works()
        due = await queue.next_due(self._database, lane)
        if due is None:
            await self._compact(1)
        return due

    async def _beat(self, duty: Duty) -> None:
        """Hold what is claimed, for as long as it takes."""
        while not self._stopping:
            if not self._held:
                duty.rests()  # with nothing to hold, nothing is lost by not holding it
            await self._holding.wait()
            await asyncio.sleep(self._lease / BEATS)
            if not (asked := list(self._held.values())):
                continue
            try:
                held = await queue.renew(self._database, asked, self._lease)
            except RecallError as error:
                duty.fails(error)
            else:
                duty.rests()
                self._let_go([claim for claim in asked if claim.memory_id not in held])

    async def step(self, lane: int = BACKFILL) -> Indexed:
        """Claim a batch of one lane up to `lane`, index it, and say what became of it.

        Raises Unavailable when the database is away; what was not done is given back.
        """
        claims = await queue.claim(self._database, self._batch, self._lease, lane)
        self._held |= {claim.memory_id: claim for claim in claims}
        if claims:
            self._holding.set()
        total = Indexed()
        try:
            for part in _parts(claims):
                if self._stopping or total.fault:
                    break
                done, failed, fault = await self._index_part(part, total)
                total = Indexed(total.done + done, total.failed + failed, fault)
        finally:
            await self._give_back(claims)
        if total.done:
            await self._compact(COMPACT_EVERY)
        return total

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        left = [claim for claim in claims if self._held.get(claim.memory_id) is claim]
        self._let_go(left)
        if left:
            with suppress(RecallError):  # the lease runs out
                await queue.release(self._database, left, within=FAREWELL)

    def _let_go(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if self._held.get(claim.memory_id) is claim:
                del self._held[claim.memory_id]
        if not self._held and not self._stopping:
            self._holding.clear()

    async def _index_part(self, claims: Sequence[Claim], before: Indexed) -> Indexed:
        """Index claims that fit together; book failures where it is certain whose they are."""
        failures: dict[Claim, Exception] = {}
        done = await self._index_in_halves(claims, failures, proven=before.done > 0)
        if not failures:
            return Indexed(done)
        errors = list(failures.values())
        if not (done or before.done) and not await self._memories_at_fault(errors):
            return Indexed(fault=_as_recall_error(errors[0]))
        said = {claim: _said(error) for claim, error in failures.items()}
        for claim, sentence in said.items():
            log.warning("Memory %d cannot be indexed: %s", claim.memory_id, sentence)
        await queue.fail(self._database, said)
        self._let_go([*failures])
        return Indexed(done, len(failures))

    async def _index_in_halves(
        self, claims: Sequence[Claim], failures: dict[Claim, Exception], proven: bool
    ) -> int:
        """Index claims together, or else in halves; note who fails alone. Returns how many did not.

        Stops early when nothing is indexed and WITNESSES memories failed one by one.
        """
        try:
            await self._index(claims)
        except Exception as error:  # the one job boundary: whatever a memory causes, it is kept
            if fault_of(error) in {Fault.NOW, Fault.LATER}:
                raise
            if len(claims) == 1:
                failures[claims[0]] = error
                return 0
            middle = len(claims) // 2
            done = await self._index_in_halves(claims[:middle], failures, proven)
            if not (done or proven) and len(failures) >= WITNESSES:
                return 0
            return done + await self._index_in_halves(claims[middle:], failures, proven or done > 0)
        self._let_go(claims)
        return len(claims)

    async def _memories_at_fault(self, errors: Sequence[Exception]) -> bool:
        """Return whether failures, none of which stands beside a success, are the memories' own."""
        if all(fault_of(error) is Fault.INPUT for error in errors):
            return True
        if not all(isinstance(error, Unembeddable) for error in errors):
            return False
        try:
            await self._embed([PROBE])
        except Exception:  # whatever it is, it is not the memories'
            return False
        return True

    async def _index(self, claims: Sequence[Claim]) -> None:
        jobs = await queue.read_jobs(self._database, claims)
        try:
            chunks, vectors = await self._embed(jobs)
        except RecallError:
            raise
        except Exception as error:
            raise Unembeddable(_said(error)) from error
        ordered = sorted(jobs, key=lambda job: job.tenant_id)
        for _, of_tenant in groupby(ordered, key=lambda job: job.tenant_id):
            done = await queue.finish(
                self._database, self._profile, list(of_tenant), chunks, vectors
            )
            self._since_compaction += done

    async def _embed(
        self, jobs: Sequence[Job]
    ) -> tuple[dict[int, list[Chunk]], dict[int, np.ndarray]]:
        chunks = await asyncio.to_thread(chunk_jobs, jobs, self._batcher.embedder)
        texts = [chunk.embedded for of_job in chunks.values() for chunk in of_job]
        parts = [await self._batcher.embed_documents(part) for part in _slices(texts)]
        matrix = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
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


async def _together(tasks: Sequence[asyncio.Task[int]]) -> list[int]:
    """Wait for all, and end the others when one fails: nobody works on unheard."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Unembeddable) else f"{type(error).__name__}: {error}"


def _as_recall_error(error: Exception) -> RecallError:
    if isinstance(error, RecallError):
        return error
    return Broken(f"Indexing fails whatever the memory: {_said(error)}.")


def _parts(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Cut a batch into runs of at most LONGEST_PART bytes, or of one longer memory."""
    part: list[Claim] = []
    size = 0
    for claim in claims:
        if part and size + claim.bytes > LONGEST_PART:
            yield part
            part, size = [], 0
        part.append(claim)
        size += claim.bytes
    if part:
        yield part


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut texts into runs of at most LONGEST_PART characters."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > LONGEST_PART:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part
