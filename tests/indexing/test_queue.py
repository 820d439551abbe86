"""The queue: a claim is a lease proved by a token, and nothing is ever lost or parked silently."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from recall.contract.values import Message, Note
from recall.indexing import queue
from recall.indexing.recipe import chunk_jobs
from recall.memory import memories
from recall.memory.forget import forget_memory
from recall.memory.memories import BACKFILL, LIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.embedding import Embedder
    from recall.indexing.jobs import Claim, Job
    from recall.indexing.profiles import Profile

pytestmark = pytest.mark.anyio
LEASE = 60.0


async def store(database: Database, caller: Caller, *texts: str, lane: int = LIVE) -> None:
    batch = [Message(session_id="s", role="user", content=text) for text in texts]
    await database.as_caller(caller, lambda c: memories.store_messages(c, batch, lane))


async def contents(database: Database, claims: Sequence[Claim]) -> list[str]:
    return [job.content for job in await queue.read_jobs(database, claims)]


async def finish(
    database: Database, embedder: Embedder, profile: Profile, claims: Sequence[Claim]
) -> int:
    return await write(database, embedder, profile, await queue.read_jobs(database, claims))


async def write(
    database: Database, embedder: Embedder, profile: Profile, jobs: Sequence[Job]
) -> int:
    chunks = chunk_jobs(jobs, embedder)
    vectors = {
        id: embedder.embed_documents([c.embedded for c in made]) for id, made in chunks.items()
    }
    return await queue.finish_jobs(database, profile, jobs, chunks, vectors)


def expire(owner: psycopg.Connection[Any]) -> None:
    """Let every lease and every pause be over."""
    owner.execute("update job set due_at = now() - interval '1 second'")


def chunks(owner: psycopg.Connection[Any]) -> int:
    row = owner.execute("select count(*) from chunk").fetchone()
    return int(row[0]) if row else 0


async def test_what_is_claimed_is_not_claimed_again_before_the_lease_ends(
    database: Database, caller: Caller
) -> None:
    await store(database, caller, "one")
    assert len(await queue.claim_jobs(database, 5, LEASE)) == 1
    assert await queue.claim_jobs(database, 5, LEASE) == []


async def test_a_lease_that_ran_out_is_claimed_by_another(
    database: Database, caller: Caller
) -> None:
    await store(database, caller, "one")
    (first,) = await queue.claim_jobs(database, 5, 0.01)
    await asyncio.sleep(0.02)
    (second,) = await queue.claim_jobs(database, 5, LEASE)
    assert second.memory_id == first.memory_id
    assert second.token > first.token


async def test_workers_at_the_same_time_claim_different_jobs(
    database: Database, caller: Caller
) -> None:
    await store(database, caller, *map(str, range(30)))
    claims = await asyncio.gather(*(queue.claim_jobs(database, 10, LEASE) for _ in range(3)))
    ids = [job.memory_id for jobs in claims for job in jobs]
    assert len(set(ids)) == len(ids)
    assert len(ids) + len(await queue.claim_jobs(database, 30, LEASE)) == 30


async def test_whoever_lost_the_claim_writes_nothing(
    database: Database,
    caller: Caller,
    embedder: Embedder,
    profile: Profile,
    owner: psycopg.Connection[Any],
) -> None:
    await store(database, caller, "one")
    lost = await queue.claim_jobs(database, 5, LEASE)
    expire(owner)
    held = await queue.claim_jobs(database, 5, LEASE)
    assert await queue.renew_claims(database, [*lost, *held], LEASE) == {held[0].memory_id}
    assert await queue.renew_claims(database, lost, LEASE) == set()
    assert await finish(database, embedder, profile, lost) == 0
    assert chunks(owner) == 0
    assert await finish(database, embedder, profile, held) == 1
    assert chunks(owner) == 1
    assert await finish(database, embedder, profile, held) == 0
    assert chunks(owner) == 1


async def test_a_late_failure_of_a_lost_claim_changes_nothing(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await store(database, caller, "one")
    lost = await queue.claim_jobs(database, 5, LEASE)
    expire(owner)
    await queue.claim_jobs(database, 5, LEASE)
    before = owner.execute("select * from job").fetchall()
    await queue.fail_jobs(database, dict.fromkeys(lost, "late"))
    await queue.release_claims(database, lost)
    assert owner.execute("select * from job").fetchall() == before


async def test_a_note_that_is_replaced_while_it_is_indexed_keeps_the_new_text(
    database: Database,
    caller: Caller,
    embedder: Embedder,
    profile: Profile,
    owner: psycopg.Connection[Any],
) -> None:
    (id,) = (await memories.save_notes(database, caller, [Note(content="the old text")])).ids
    old = await queue.read_jobs(database, await queue.claim_jobs(database, 5, LEASE))
    await memories.replace_note(database, caller, id, Note(content="entirely new"))
    assert await write(database, embedder, profile, old) == 0
    new = await queue.claim_jobs(database, 5, LEASE)
    assert await contents(database, new) == ["entirely new"]
    assert await finish(database, embedder, profile, new) == 1
    assert owner.execute("select words::text like '%entir%' from chunk").fetchall() == [(True,)]


async def test_a_memory_that_is_erased_while_it_is_indexed_stays_erased(
    database: Database,
    caller: Caller,
    embedder: Embedder,
    profile: Profile,
    owner: psycopg.Connection[Any],
) -> None:
    await store(database, caller, "one", "two")
    claims = await queue.claim_jobs(database, 5, LEASE)
    jobs = await queue.read_jobs(database, claims)
    await forget_memory(database, caller, "message", jobs[0].memory_id)
    assert len(await queue.read_jobs(database, claims)) == 1
    assert await write(database, embedder, profile, jobs) == 1
    assert owner.execute("select memory_id from chunk").fetchall() == [(jobs[1].memory_id,)]


async def test_live_memories_go_before_a_backfill(database: Database, caller: Caller) -> None:
    await store(database, caller, "old 1", "old 2", lane=BACKFILL)
    await store(database, caller, "new 1", "new 2")
    first = await queue.claim_jobs(database, 2, LEASE)
    assert await contents(database, first) == ["new 1", "new 2"]
    assert len(await queue.claim_jobs(database, 5, LEASE)) == 2


async def test_live_memories_can_be_claimed_alone(database: Database, caller: Caller) -> None:
    await store(database, caller, "old", lane=BACKFILL)
    await store(database, caller, "new")
    live = await queue.claim_jobs(database, 5, LEASE, LIVE)
    assert await contents(database, live) == ["new"]
    assert await queue.claim_jobs(database, 5, LEASE, LIVE) == []
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["old"]


async def test_a_claim_says_whether_the_memory_has_chunks(
    database: Database, caller: Caller, embedder: Embedder, profile: Profile
) -> None:
    (id,) = (await memories.save_notes(database, caller, [Note(content="the old text")])).ids
    claims = await queue.claim_jobs(database, 5, LEASE)
    assert not (await queue.read_jobs(database, claims))[0].indexed
    await finish(database, embedder, profile, claims)
    await memories.replace_note(database, caller, id, Note(content="entirely new"))
    claims = await queue.claim_jobs(database, 5, LEASE)
    assert (await queue.read_jobs(database, claims))[0].indexed


async def test_a_failure_waits_longer_every_time_and_the_fifth_parks_it_with_its_error(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await store(database, caller, "poison")
    pauses = []
    for attempt in range(1, 6):
        jobs = await queue.claim_jobs(database, 5, LEASE)
        assert len(jobs) == 1, attempt
        await queue.fail_jobs(database, {jobs[0]: f"Boom: {attempt}"})
        assert await queue.claim_jobs(database, 5, LEASE) == []
        row = owner.execute("select extract(epoch from due_at - now()) from job").fetchone()
        assert row is not None
        pauses.append(float(row[0]))
        expire(owner)
    assert pauses == sorted(pauses)
    assert await queue.claim_jobs(database, 5, LEASE) == []
    row = owner.execute("select parked_at is not null, error, attempts from job").fetchone()
    assert row == (True, "Boom: 5", 5)


async def test_a_memory_that_ends_its_workers_is_alone_soon_and_parked_alone(
    database: Database,
    caller: Caller,
    embedder: Embedder,
    profile: Profile,
    owner: psycopg.Connection[Any],
) -> None:
    await store(database, caller, "deadly", *(f"innocent {n}" for n in range(49)))
    sizes = []
    while claims := await queue.claim_jobs(database, 1024, LEASE):
        if "deadly" in await contents(database, claims):
            sizes.append(len(claims))
            expire(owner)  # the worker died
        else:
            await finish(database, embedder, profile, claims)
    assert sizes == [50, 25, 12, 6, 3, 1, 1, 1, 1, 1]
    parked = await queue.parked(database, caller, 10)
    assert [row["begins"] for row in parked] == ["deadly"]
    assert "five workers" in parked[0]["error"]
    assert chunks(owner) == 49


async def test_what_a_dead_worker_held_does_not_wait_for_what_is_new_in_a_later_lane(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await store(database, caller, "held", "held too")
    await queue.claim_jobs(database, 5, LEASE)
    await store(database, caller, "history", lane=BACKFILL)
    expire(owner)
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["held"]
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["held too"]
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["history"]


@pytest.mark.parametrize("step", ["-1 hour", "-1 day", "-400 days"])
async def test_a_clock_that_goes_back_makes_nobody_wait(
    database: Database, caller: Caller, owner: psycopg.Connection[Any], step: str
) -> None:
    """The database's clock cannot be turned here: what it wrote is, the other way."""
    await store(database, caller, "one", "two")
    await queue.claim_jobs(database, 1, LEASE)  # and its worker dies
    owner.execute("update job set due_at = due_at - %s::interval where due_at > 'epoch'", [step])
    assert len(await queue.claim_jobs(database, 5, LEASE)) == 1
    assert await queue.next_due(database) == 0
    assert len(await queue.claim_jobs(database, 5, LEASE)) == 1


async def test_a_heartbeat_holds_a_claim(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await store(database, caller, "one")
    claims = await queue.claim_jobs(database, 5, 0.2)
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert await queue.renew_claims(database, claims, 0.2) == {claims[0].memory_id}
        assert await queue.claim_jobs(database, 5, LEASE) == []


async def test_what_was_given_up_is_listed_with_its_reason_and_tried_again(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    from recall.memory import keys

    await store(database, caller, "one", "two", "three")
    other = await keys.caller_of(database, "other")
    await store(database, other, "theirs")
    owner.execute("update job set parked_at = now(), error = 'the model choked', attempts = 5")
    first = await queue.parked(database, caller, 2)
    assert [row["begins"] for row in first] == ["three", "two"]
    assert {row["error"] for row in first} == {"the model choked"}
    (last,) = await queue.parked(database, caller, 2, before=first[-1]["id"])
    assert (last["begins"], last["session_id"], last["kind"]) == ("one", "s", "message")
    assert await queue.retry_parked(database, other, [last["id"]]) == 0, "another tenant's"
    assert await queue.retry_parked(database, caller, [last["id"]]) == 1
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["one"]
    assert await queue.retry_parked(database, caller) == 2
    assert await queue.unindexed(database, caller, [row["id"] for row in first]) == (2, 0)


async def test_a_claim_given_back_is_due_at_once_and_does_not_count(
    database: Database, caller: Caller
) -> None:
    await store(database, caller, "one")
    for _ in range(7):
        jobs = await queue.claim_jobs(database, 5, LEASE)
        assert len(jobs) == 1
        await queue.release_claims(database, jobs)


async def test_a_parked_memory_is_tried_again_when_its_note_is_replaced(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    (id,) = (await memories.save_notes(database, caller, [Note(content="bad")])).ids
    owner.execute("update job set parked_at = now(), error = 'x', attempts = 5")
    assert await queue.claim_jobs(database, 5, LEASE) == []
    await memories.replace_note(database, caller, id, Note(content="good"))
    assert await contents(database, await queue.claim_jobs(database, 5, LEASE)) == ["good"]


async def test_one_claim_serves_every_tenant(database: Database) -> None:
    from recall.memory import keys

    for name in ("a", "b"):
        await store(database, await keys.caller_of(database, name), name)
    jobs = await queue.claim_jobs(database, 5, LEASE)
    assert sorted(await contents(database, jobs)) == ["a", "b"]
    assert len({job.tenant_id for job in jobs}) == 2


async def test_folding_the_ledgers_changes_no_sum(
    database: Database, caller: Caller, worker: Any, owner: psycopg.Connection[Any]
) -> None:
    sums = "select word, sum(chunks) from word_count group by 1 having sum(chunks) <> 0 order by 1"
    whole = "select sum(chunks), sum(length) from corpus_count"
    for n in range(3):
        await store(database, caller, f"pooler connection {n}", "idle connection")
        await worker.step()
    before = owner.execute(sums).fetchall(), owner.execute(whole).fetchall()
    ((rows,),) = owner.execute("select count(*) from word_count").fetchall()
    await queue.fold_counts(database)
    assert (owner.execute(sums).fetchall(), owner.execute(whole).fetchall()) == before
    ((left,),) = owner.execute("select count(*) from word_count").fetchall()
    assert left < rows


async def test_folding_empties_the_list_before_the_words_index(
    database: Database, caller: Caller, worker: Any, owner: psycopg.Connection[Any]
) -> None:
    def pages_waiting() -> int:
        """Return how many pages wait; they wait no longer."""
        row = owner.execute(
            "select sum(gin_clean_pending_list(format('chunk_%s_words_idx', id)::regclass))"
            " from profile"
        ).fetchone()
        assert row is not None
        return int(row[0])

    await store(database, caller, "words that wait")
    await worker.step()
    assert pages_waiting() > 0
    await store(database, caller, "more words that wait")
    await worker.step()
    await queue.fold_counts(database)
    assert pages_waiting() == 0
