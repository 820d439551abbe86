"""The queue of jobs, memories that wait to be indexed, and the workers' claims of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.database.caller import OWNER, Caller
from recall.database.fetching import Row, fetch_all, fetch_one, fetch_value, fetch_values
from recall.database.units import INDEXING
from recall.database.vectors import HalfVectors, HalfVectorsDumper
from recall.indexing.jobs import Claim, Job, Unindexed
from recall.memory.memories import BACKFILL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from typing import Any

    import numpy as np

    from recall.database.units import Connection, Database
    from recall.indexing.jobs import Chunk
    from recall.indexing.profiles import Profile

#: Parked memories read at once.
PAGE = 200
#: Seconds that a chunk may take to be written, its vector's place in the graph included, on a slow
#: and busy server.
SECONDS_A_ROW = 0.05


async def claim_jobs(
    database: Database, limit: int, lease: float, lane: int = BACKFILL
) -> list[Claim]:
    """Claim up to `limit` due jobs of one lane up to `lane` for `lease` seconds, oldest first."""

    async def work(connection: Connection) -> list[Claim]:
        await connection.execute(query("park_deadly"))
        values = {"limit": limit, "lease": lease, "lane": lane}
        return await fetch_all(connection, Claim, query("claim"), values)

    return await database.as_owner(work)


async def read_jobs(database: Database, claims: Sequence[Claim]) -> list[Job]:
    """Return claimed jobs with their memories' text; those of erased memories are left out."""
    held = {claim.memory_id: claim for claim in claims}

    async def work(connection: Connection) -> list[Job]:
        read = await fetch_all(connection, Row, query("memories_to_index"), [list(held)])
        by_memory = {memory["memory_id"]: memory for memory in read}
        return [
            Job(tenant_id=claim.tenant_id, token=claim.token, lane=claim.lane, **by_memory[id])
            for id, claim in held.items()
            if id in by_memory
        ]

    return await database.read(OWNER, work)


async def renew_claims(database: Database, claims: Iterable[Claim], lease: float) -> set[int]:
    """Hold claims for `lease` seconds from now; return the memories whose claim is still held."""
    values = _tokens(claims) | {"lease": lease}

    async def work(connection: Connection) -> set[int]:
        return set(await fetch_values(connection, query("renew"), values))

    return await database.as_owner(work)


async def finish_jobs(
    database: Database,
    profile: Profile,
    jobs: Sequence[Job],
    chunks: Mapping[int, Sequence[Chunk]],
    vectors: Mapping[int, np.ndarray],
) -> int:
    """Write the chunks of one tenant's `jobs` and drop the jobs, in one transaction.

    `chunks` and `vectors` ([chunks, dimension]) are by memory id. A job whose claim was lost is
    left alone, chunks and all. Returns how many were finished.
    """
    claims = [[job.memory_id for job in jobs], [job.token for job in jobs]]
    indexed = {job.memory_id for job in jobs if job.indexed}

    async def work(connection: Connection) -> int:
        await connection.execute(query("without_waiting"))
        held = sorted(await fetch_values(connection, query("finish"), claims))
        if held:
            if stale := sorted(indexed.intersection(held)):
                await connection.execute(query("drop_chunks"), [profile.id, stale])
            await _write(connection, profile, jobs[0].language, held, (chunks, vectors))
        return len(held)

    # Bounded by what the rows may take, so that a connection that fell silent is given up then.
    written = sum(len(chunks[job.memory_id]) for job in jobs)
    within = database.patience + SECONDS_A_ROW * written
    return await database.as_caller(Caller(jobs[0].tenant_id), work, within=within)


async def _write(
    connection: Connection,
    profile: Profile,
    language: str,
    held: Sequence[int],
    made: tuple[Mapping[int, Sequence[Chunk]], Mapping[int, np.ndarray]],
) -> None:
    import numpy as np

    chunks, vectors = made
    pieces = [(memory, chunk) for memory in held for chunk in chunks[memory]]
    oid = await fetch_value(connection, query("halfvec_oid"))
    connection.adapters.register_dumper(HalfVectors, HalfVectorsDumper)
    heads: dict[str, int] = {}  # each once, with its number from 1
    head_of = [heads.setdefault(" ".join(chunk.head), len(heads) + 1) for _, chunk in pieces]
    values: dict[str, Any] = {
        "profile": profile.id,
        "language": language,
        "memories": [memory for memory, _ in pieces],
        "pieces": [chunk.piece for _, chunk in pieces],
        "starts": [chunk.starts for _, chunk in pieces],
        "ends": [chunk.ends for _, chunk in pieces],
        "tokens": [" ".join(token.text for token in chunk.tokens) for _, chunk in pieces],
        "places": [" ".join(str(token.place) for token in chunk.tokens) for _, chunk in pieces],
        "heads": list(heads),
        "head_of": head_of,
        "meanings": HalfVectors(np.concatenate([vectors[m] for m in held]), oid or 0),
    }
    await connection.execute(query("write_chunks"), values)


async def fail_jobs(database: Database, errors: Mapping[Claim, str]) -> None:
    """Put failed jobs back with their errors, to be tried later; the fifth failure parks one."""
    values = _tokens(errors) | {"errors": list(errors.values())}

    async def work(connection: Connection) -> None:
        await connection.execute(query("fail"), values)

    await database.as_owner(work)


async def release_claims(
    database: Database, claims: Iterable[Claim | Job], within: float | None = None
) -> None:
    """Give claims back as if they had never been made."""
    values = _tokens(claims)

    async def work(connection: Connection) -> None:
        await connection.execute(query("release"), values)

    await database.as_owner(work, within=within)


def _tokens(claims: Iterable[Claim | Job]) -> dict[str, Any]:
    held = [(claim.memory_id, claim.token) for claim in claims]
    return {"memories": [memory for memory, _ in held], "tokens": [token for _, token in held]}


async def next_due(database: Database, lane: int = BACKFILL) -> float | None:
    """Return the seconds until the next job of a lane up to `lane` is due, None if none waits."""

    async def work(connection: Connection) -> float | None:
        seconds: float | None = await fetch_value(connection, query("next_due"), {"lane": lane})
        return seconds

    return await database.read(OWNER, work)


async def unindexed(database: Database, caller: Caller, ids: Sequence[int]) -> Unindexed:
    """Return how many of these memories still wait to be indexed, and how many were given up."""

    async def work(connection: Connection) -> Unindexed:
        counted = await fetch_one(connection, Unindexed, query("unindexed"), [list(ids)])
        return counted or Unindexed()

    return await database.read(caller, work)


async def parked(
    database: Database, caller: Caller, limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """Return the newest `limit` memories that were given up, each with the reason, by column name.

    `before` is the id of the last one of the page before.
    """

    async def work(connection: Connection) -> list[dict[str, Any]]:
        values = {"limit": limit, "before": before}
        return await fetch_all(connection, Row, query("parked"), values)

    return await database.read(caller, work)


async def all_parked(database: Database, caller: Caller) -> AsyncIterator[dict[str, Any]]:
    """Yield every memory that was given up, the newest first, as `parked` does."""
    before: int | None = None
    while page := await parked(database, caller, PAGE, before):
        for memory in page:
            yield memory
        before = page[-1]["id"]


async def retry_parked(database: Database, caller: Caller, ids: Sequence[int] | None = None) -> int:
    """Queue memories that were given up again, these or all; return how many there were."""

    async def work(connection: Connection) -> int:
        values = {"ids": None if ids is None else list(ids)}
        return len(await fetch_values(connection, query("retry"), values))

    return await database.as_caller(caller, work, rings=True)


async def fold_counts(database: Database) -> int:
    """Fold what indexing appended (word counts, new words); return the counts written."""

    async def work(connection: Connection) -> int:
        await connection.execute(query("sweep_signatures"))
        return int(await fetch_value(connection, query("compact")))

    return await database.as_owner(work, within=INDEXING)
