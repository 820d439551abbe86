"""The worker: what is stored becomes searchable, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from conftest import running_worker

from recall.base.supervisor import supervised
from recall.contract.errors import Broken, Unavailable
from recall.contract.values import Message, Note, Question
from recall.indexing.worker import Worker
from recall.memory import memories
from recall.memory.memories import BACKFILL

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import psycopg

    from recall.base.settings import Settings
    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.embedding import Model
    from recall.indexing.profiles import Profile
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio


def said(*texts: str) -> list[Message]:
    return [Message(session_id="s", role="user", content=text) for text in texts]


def count(owner: psycopg.Connection[Any], what: str) -> int:
    row = owner.execute(f"select count(*) from {what}".encode()).fetchone()
    return int(row[0]) if row else 0


async def test_a_stored_memory_becomes_searchable(
    database: Database, caller: Caller, worker: Worker, searcher: Searcher
) -> None:
    await memories.save_messages(database, caller, said("The pooler drops idle connections."))
    question = Question(query="Why do connections go away?")
    answer = await searcher.recall(caller, question)
    assert (answer.results, answer.pending) == ((), 1)
    assert await worker.drain() == 1
    answer = await searcher.recall(caller, question)
    assert [hit.content for hit in answer.results] == ["The pooler drops idle connections."]
    assert answer.pending == 0


async def test_a_nudge_wakes_an_idle_worker(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
) -> None:
    async with running_worker(worker):
        await asyncio.sleep(0.2)  # asleep for good now
        await memories.save_messages(database, caller, said("hello"))
        worker.nudge()
        async with asyncio.timeout(20):
            while count(owner, "chunk") == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_worker_finishes_the_batch_in_hand_when_it_is_stopped(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, said("one", "two"))
    async with running_worker(worker):
        await asyncio.sleep(0)
    assert count(owner, "job where together is not null") == 0


async def test_a_worker_that_is_cancelled_gives_its_claims_back(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = asyncio.Event()

    async def endless(texts: Sequence[str]) -> np.ndarray:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(model.documents, "embed", endless)
    await memories.save_messages(database, caller, said("one", "two"))
    task = asyncio.create_task(worker.step())
    await started.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert count(owner, "job where due_at = 'epoch' and together is null and alone = 0") == 2


async def test_a_live_memory_waits_for_no_backfill(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = asyncio.Event()
    healthy = model.documents.embed

    async def slow(texts: Sequence[str]) -> np.ndarray:
        if any("history" in text for text in texts):
            await free.wait()
        return await healthy(texts)

    monkeypatch.setattr(model.documents, "embed", slow)
    history = said(*(f"history {n}" for n in range(2500)))  # more than the loops take at once
    await database.as_caller(caller, lambda c: memories.store_messages(c, history, BACKFILL))
    async with running_worker(worker), asyncio.timeout(20):
        while count(owner, "job where together > 0") < 2048:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await memories.save_messages(database, caller, said("just now"))
        worker.nudge()
        while count(owner, "chunk") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert count(owner, "chunk join memory on memory.id = memory_id and content = 'just now'")
        free.set()


async def test_what_was_appended_is_folded_when_the_queue_runs_empty(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    async with running_worker(worker), asyncio.timeout(20):
        for number in range(3):
            await memories.save_messages(database, caller, said("the same words"))
            worker.nudge()
            while count(owner, "chunk") <= number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        while count(owner, "corpus_count") > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_poisonous_memory_fails_alone(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = model.documents.embed

    async def allergic(texts: Sequence[str]) -> np.ndarray:
        if any("poison" in text for text in texts):
            raise RuntimeError("the model choked")
        return await healthy(texts)

    monkeypatch.setattr(model.documents, "embed", allergic)
    await memories.save_messages(database, caller, said("one", "poison", "three"))
    await worker.step()
    assert count(owner, "chunk") == 2
    row = owner.execute("select error, attempts, parked_at from job").fetchone()
    assert row == ("RuntimeError: the model choked", 1, None)


async def test_a_database_that_goes_away_is_no_memorys_fault(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def gone(texts: Sequence[str]) -> np.ndarray:
        raise Unavailable("gone")

    monkeypatch.setattr(model.documents, "embed", gone)
    await memories.save_messages(database, caller, said("one"))
    with pytest.raises(Unavailable):
        await worker.step()
    given_back = "select error, attempts, together, due_at <= now() from job"
    assert owner.execute(given_back).fetchall() == [(None, 0, None, True)]


async def test_connections_that_are_cut_are_made_anew(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, said("one"))
    owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert await worker.drain() == 1
    assert count(owner, "chunk") == 1


async def test_the_last_sentence_of_the_longest_note_is_found(
    database: Database,
    caller: Caller,
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
    stored = await memories.save_notes(database, caller, [Note(content=content), *decoys])
    await worker.drain()
    for mode in ("hybrid", "semantic", "keyword"):
        answer = await searcher.recall(
            caller, Question(query="where did the lighthouse keeper hide the key?", mode=mode)
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
    from recall.memory import keys

    tenants = [await keys.caller_of(database, f"t{n}") for n in range(3)]
    for n, caller in enumerate(tenants):
        await memories.save_messages(database, caller, said(f"secret number {n}"))
    await worker.drain()
    for n, caller in enumerate(tenants):
        answer = await searcher.recall(caller, Question(query="secret number"))
        assert [hit.content for hit in answer.results] == [f"secret number {n}"]


async def test_workers_beside_each_other_index_everything_once(
    database: Database,
    caller: Caller,
    model: Model,
    profile: Profile,
    settings: Settings,
    owner: psycopg.Connection[Any],
) -> None:
    await memories.save_messages(database, caller, said(*(f"text {n % 9}" for n in range(60))))
    small = settings.model_copy(update={"batch": 7})
    workers = [Worker(database, model.documents, profile, small) for _ in range(3)]
    done = await asyncio.gather(*(worker.drain() for worker in workers))
    assert sum(done) == count(owner, "chunk") == count(owner, "embedding") == 60
    assert count(owner, "job") == 0


async def test_a_systems_fault_is_booked_on_no_memory(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, said(*(f"fine {n}" for n in range(40))))
    schema = function_schema(owner, "texts_words")
    owner.execute(f"alter function {schema}.texts_words rename to elsewhere".encode())
    for _ in range(7):
        indexed = await worker.step()
        assert (indexed.done, indexed.failed) == (0, 0)
        assert isinstance(indexed.fault, Broken)
        assert count(owner, "job where due_at <= now() and attempts = 0 and error is null") == 40
    with pytest.raises(Broken):
        await worker.drain()
    owner.execute(f"alter function {schema}.elsewhere rename to texts_words".encode())
    assert await worker.drain() == 40
    assert count(owner, "job") == 0


def function_schema(owner: psycopg.Connection[Any], name: str) -> str:
    row = owner.execute(
        "select pronamespace::regnamespace::text from pg_proc where proname = %s", [name]
    ).fetchone()
    assert row is not None
    return str(row[0])


async def test_an_engine_that_is_broken_is_no_memorys_fault(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError("the device is gone")

    await memories.save_messages(database, caller, said("alone"))
    with monkeypatch.context() as patch:
        patch.setattr(model.documents, "embed", broken)
        indexed = await worker.step()
    assert indexed.failed == 0 and "the device is gone" in str(indexed.fault)
    assert await worker.drain() == 1


async def test_a_poisonous_memory_that_is_alone_in_the_queue_is_found_out(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = model.documents.embed

    async def allergic(texts: Sequence[str]) -> np.ndarray:
        if any("poison" in text for text in texts):
            raise RuntimeError("the model choked")
        return await healthy(texts)

    monkeypatch.setattr(model.documents, "embed", allergic)
    await memories.save_messages(database, caller, said("poison"))
    assert (await worker.step()).failed == 1
    assert owner.execute("select error, attempts from job").fetchall() == [
        ("RuntimeError: the model choked", 1)
    ]


async def test_a_row_that_cannot_be_read_stops_nobody_else(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, said("one", "unreadable", "three"))
    owner.execute("alter table memory drop constraint if exists memory_created_at_check")
    for row in owner.execute(
        "select conname from pg_constraint where conrelid = 'recall.memory'::regclass"
        " and contype = 'c' and pg_get_constraintdef(oid) like '%created_at%'"
    ).fetchall():
        owner.execute(f"alter table memory drop constraint {row[0]}".encode())
    owner.execute("update memory set created_at = '4000-01-01 BC' where content = 'unreadable'")
    indexed = await worker.step()
    assert (indexed.done, indexed.failed) == (2, 1)
    assert "DataError" in str(
        owner.execute("select error from job").fetchall()
    ) or "Invalid" in str(owner.execute("select error from job").fetchall())


async def test_a_memory_that_takes_longer_than_a_lease_is_indexed_once(
    database: Database,
    caller: Caller,
    profile: Profile,
    settings: Settings,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = model.documents.embed
    calls = 0

    async def slow(texts: Sequence[str]) -> np.ndarray:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2.0)
        return await healthy(texts)

    monkeypatch.setattr(model.documents, "embed", slow)
    short = settings.model_copy(update={"lease": 0.5})
    worker = Worker(database, model.documents, profile, short)
    await memories.save_messages(database, caller, said("long"))
    async with running_worker(worker), asyncio.timeout(20):
        while count(owner, "chunk") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert calls == 1
    assert count(owner, "job") == 0


async def test_a_worker_outlives_a_server_that_is_read_only_for_a_while(
    database: Database,
    database_url: str,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
) -> None:
    name = owner.info.dbname
    async with supervised() as supervisor, asyncio.timeout(30):
        worker.start(supervisor)
        owner.execute(f"alter database {name} set default_transaction_read_only = on".encode())
        await cut_all(database, owner)
        worker.nudge()
        while not supervisor.complaints(needed=True):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert "read-only" in supervisor.complaints(needed=True)[0]
        owner.execute("set default_transaction_read_only = off")
        owner.execute(f"alter database {name} reset default_transaction_read_only".encode())
        await cut_all(database, owner)
        await memories.save_messages(database, caller, said("after"))
        while count(owner, "chunk") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        while supervisor.complaints(needed=True):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def cut_all(database: Database, owner: psycopg.Connection[Any]) -> None:
    """Let every connection be made anew, with the settings of now."""
    owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )


async def test_an_idle_worker_asks_nothing(
    database: Database, caller: Caller, worker: Worker, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, said("one"))
    units = 0
    bounded = database._bounded

    async def counting(unit: Any) -> Any:
        nonlocal units
        units += 1
        return await bounded(unit)

    database._bounded = counting  # type: ignore[method-assign]
    async with running_worker(worker), asyncio.timeout(30):
        while count(owner, "corpus_count") == 0 or count(owner, "job"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        before = units
        await asyncio.sleep(2.0)
        assert units == before > 0


async def test_a_worker_that_is_told_to_stop_gives_back_what_it_holds_within_seconds(
    database: Database,
    caller: Caller,
    worker: Worker,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = asyncio.Event()

    async def endless(texts: Sequence[str]) -> np.ndarray:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(model.documents, "embed", endless)
    await memories.save_messages(database, caller, said("one", "two"))
    began = time.monotonic()
    async with running_worker(worker):
        await started.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert count(owner, "job where due_at <= now() and together is null") == 2


async def test_a_heartbeat_that_was_missed_is_forgotten_when_nothing_is_held(
    database: Database,
    caller: Caller,
    profile: Profile,
    settings: Settings,
    owner: psycopg.Connection[Any],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = model.documents.embed

    async def slow(texts: Sequence[str]) -> np.ndarray:
        await asyncio.sleep(0.5)
        return await healthy(texts)

    async def away(*_: Any) -> set[int]:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(model.documents, "embed", slow)
    monkeypatch.setattr("recall.indexing.queue.renew_claims", away)
    worker = Worker(database, model.documents, profile, settings.model_copy(update={"lease": 0.6}))
    await memories.save_messages(database, caller, said("one"))
    async with supervised() as supervisor, asyncio.timeout(20):
        worker.start(supervisor)
        while not supervisor.complaints(needed=True):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while supervisor.complaints(needed=True):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert count(owner, "chunk") == 1
