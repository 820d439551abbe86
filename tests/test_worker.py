"""The worker: what is stored becomes searchable, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from recall import memories
from recall.errors import Unavailable
from recall.models import BACKFILL, Message, Note, Question
from recall.service import running_worker
from recall.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import psycopg

    from recall.database import Database
    from recall.embedding import QueryBatcher
    from recall.models import Profile
    from recall.search import Searcher
    from recall.settings import Settings

pytestmark = pytest.mark.anyio


def said(*texts: str) -> list[Message]:
    return [Message(session_id="s", role="user", content=text) for text in texts]


def count(owner: psycopg.Connection[Any], what: str) -> int:
    row = owner.execute(f"select count(*) from {what}".encode()).fetchone()
    return int(row[0]) if row else 0


async def test_a_stored_memory_becomes_searchable(
    database: Database, tenant: int, worker: Worker, searcher: Searcher
) -> None:
    await memories.save_messages(database, tenant, said("The pooler drops idle connections."))
    question = Question(query="Why do connections go away?")
    answer = await searcher.recall(tenant, question)
    assert (answer.results, answer.pending) == ((), 1)
    assert await worker.drain() == 1
    answer = await searcher.recall(tenant, question)
    assert [hit.content for hit in answer.results] == ["The pooler drops idle connections."]
    assert answer.pending == 0


async def test_a_nudge_wakes_an_idle_worker(
    database: Database,
    tenant: int,
    worker: Worker,
    owner: psycopg.Connection[Any],
) -> None:
    async with running_worker(worker):
        await asyncio.sleep(0.2)  # asleep for good now
        await memories.save_messages(database, tenant, said("hello"))
        worker.nudge()
        async with asyncio.timeout(20):
            while count(owner, "chunk") == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_worker_finishes_the_batch_in_hand_when_it_is_stopped(
    database: Database, tenant: int, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, tenant, said("one", "two"))
    async with running_worker(worker):
        await asyncio.sleep(0)
    assert count(owner, "job where together is not null") == 0


async def test_a_worker_that_is_cancelled_gives_its_claims_back(
    database: Database,
    tenant: int,
    worker: Worker,
    owner: psycopg.Connection[Any],
    batcher: QueryBatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = asyncio.Event()

    async def endless(texts: Sequence[str]) -> np.ndarray:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(batcher, "embed_documents", endless)
    await memories.save_messages(database, tenant, said("one", "two"))
    task = asyncio.create_task(worker.step())
    await started.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert count(owner, "job where due_at = 'epoch' and together is null and alone = 0") == 2


async def test_a_live_memory_waits_for_no_backfill(
    database: Database,
    tenant: int,
    worker: Worker,
    owner: psycopg.Connection[Any],
    batcher: QueryBatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = asyncio.Event()
    healthy = batcher.embed_documents

    async def slow(texts: Sequence[str]) -> np.ndarray:
        if any("history" in text for text in texts):
            await free.wait()
        return await healthy(texts)

    monkeypatch.setattr(batcher, "embed_documents", slow)
    history = said(*(f"history {n}" for n in range(2500)))  # more than the loops take at once
    await database.run(lambda c: memories.store_messages(c, history, BACKFILL), tenant)
    async with running_worker(worker), asyncio.timeout(20):
        while count(owner, "job where together > 0") < 2048:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await memories.save_messages(database, tenant, said("just now"))
        worker.nudge()
        while count(owner, "chunk") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert count(owner, "chunk join memory on memory.id = memory_id and content = 'just now'")
        free.set()


async def test_what_was_appended_is_folded_when_the_queue_runs_empty(
    database: Database, tenant: int, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    async with running_worker(worker), asyncio.timeout(20):
        for number in range(3):
            await memories.save_messages(database, tenant, said("the same words"))
            worker.nudge()
            while count(owner, "chunk") <= number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        while count(owner, "corpus_count") > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_poisonous_memory_fails_alone(
    database: Database,
    tenant: int,
    worker: Worker,
    owner: psycopg.Connection[Any],
    batcher: QueryBatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = batcher.embed_documents

    async def allergic(texts: Sequence[str]) -> np.ndarray:
        if any("poison" in text for text in texts):
            raise RuntimeError("the model choked")
        return await healthy(texts)

    monkeypatch.setattr(batcher, "embed_documents", allergic)
    await memories.save_messages(database, tenant, said("one", "poison", "three"))
    await worker.step()
    assert count(owner, "chunk") == 2
    row = owner.execute("select error, attempts, parked_at from job").fetchone()
    assert row == ("RuntimeError: the model choked", 1, None)


async def test_a_database_that_goes_away_is_no_memorys_fault(
    database: Database,
    tenant: int,
    worker: Worker,
    owner: psycopg.Connection[Any],
    batcher: QueryBatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def gone(texts: Sequence[str]) -> np.ndarray:
        raise Unavailable("gone")

    monkeypatch.setattr(batcher, "embed_documents", gone)
    await memories.save_messages(database, tenant, said("one"))
    with pytest.raises(Unavailable):
        await worker.step()
    given_back = "select error, attempts, together, due_at <= now() from job"
    assert owner.execute(given_back).fetchall() == [(None, 0, None, True)]


async def test_connections_that_are_cut_are_made_anew(
    database: Database, tenant: int, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, tenant, said("one"))
    owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert await worker.drain() == 1
    assert count(owner, "chunk") == 1


async def test_the_last_sentence_of_the_longest_note_is_found(
    database: Database,
    tenant: int,
    worker: Worker,
    searcher: Searcher,
    owner: psycopg.Connection[Any],
) -> None:
    last = " The lighthouse keeper hid the brass key under the third stair."
    # Repeated, so that the model reads only a few distinct chunks of it.
    filler = "x" * 90 + ". "
    content = filler * (200_000 // len(filler) + 1)
    content = content[: 200_000 - len(last)] + last
    assert len(content) == 200_000
    decoys = [Note(content=f"Notes about stairs, part {n}.") for n in range(5)]
    stored = await memories.save_notes(database, tenant, [Note(content=content), *decoys])
    await worker.drain()
    for mode in ("hybrid", "semantic", "keyword"):
        answer = await searcher.recall(
            tenant, Question(query="where did the lighthouse keeper hide the key?", mode=mode)
        )
        assert answer.results[0].id == stored.ids[0], mode
    assert count(owner, "memory") == 6
    row = owner.execute(
        "select min(starts), max(ends) from chunk where memory_id = %s", [stored.ids[0]]
    ).fetchone()
    assert row == (0, 200_000)


async def test_memories_of_many_tenants_are_indexed_each_in_its_own(
    database: Database, worker: Worker, searcher: Searcher
) -> None:
    from recall import keys

    tenants = [await keys.tenant_id(database, f"t{n}") for n in range(3)]
    for n, tenant in enumerate(tenants):
        await memories.save_messages(database, tenant, said(f"secret number {n}"))
    await worker.drain()
    for n, tenant in enumerate(tenants):
        answer = await searcher.recall(tenant, Question(query="secret number"))
        assert [hit.content for hit in answer.results] == [f"secret number {n}"]


async def test_workers_beside_each_other_index_everything_once(
    database: Database,
    tenant: int,
    batcher: QueryBatcher,
    profile: Profile,
    settings: Settings,
    owner: psycopg.Connection[Any],
) -> None:
    await memories.save_messages(database, tenant, said(*(f"text {n % 9}" for n in range(60))))
    small = settings.model_copy(update={"batch": 7})
    workers = [Worker(database, batcher, profile, small) for _ in range(3)]
    done = await asyncio.gather(*(worker.drain() for worker in workers))
    assert sum(done) == count(owner, "chunk") == count(owner, "embedding") == 60
    assert count(owner, "job") == 0
