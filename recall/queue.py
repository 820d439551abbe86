"""The queue of memories that the index does not reflect yet: claim, finish, fail, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.database import NO_TENANT
from recall.models import BACKFILL, Job
from recall.queries import query
from recall.vectors import HalfVectors, HalfVectorsDumper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np

    from recall.database import Connection, Database
    from recall.models import Chunk, Profile


async def claim(database: Database, limit: int, lease: float, lane: int = BACKFILL) -> list[Job]:
    """Claim up to `limit` due jobs of up to `lane` for `lease` seconds, live and old ones first."""

    async def work(connection: Connection) -> list[Job]:
        await connection.execute(query("park_exhausted"))
        cursor = await connection.execute(
            query("claim"), {"limit": limit, "lease": lease, "lane": lane}
        )
        return [Job(*row) for row in await cursor.fetchall()]

    return await database.run(work, NO_TENANT)


async def finish(
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
        cursor = await connection.execute(query("finish"), claims)
        held = sorted(row[0] for row in await cursor.fetchall())
        if held:
            if stale := sorted(indexed.intersection(held)):
                await connection.execute(query("drop_chunks"), [profile.id, stale])
            await _write(connection, profile, jobs[0].language, held, (chunks, vectors))
        return len(held)

    return await database.run(work, jobs[0].tenant_id)


async def _write(
    connection: Connection,
    profile: Profile,
    language: str,
    held: Sequence[int],
    made: tuple[Mapping[int, Sequence[Chunk]], Mapping[int, np.ndarray]],
) -> None:
    import numpy as np

    chunks, vectors = made
    rows = [(memory, chunk) for memory in held for chunk in chunks[memory]]
    oid = await (await connection.execute(query("halfvec_oid"))).fetchone()
    connection.adapters.register_dumper(HalfVectors, HalfVectorsDumper)
    heads: dict[str, int] = {}  # each once, with its number from 1
    head_of = [heads.setdefault(" ".join(chunk.head), len(heads) + 1) for _, chunk in rows]
    values: dict[str, Any] = {
        "profile": profile.id,
        "language": language,
        "memories": [memory for memory, _ in rows],
        "pieces": [chunk.piece for _, chunk in rows],
        "starts": [chunk.starts for _, chunk in rows],
        "ends": [chunk.ends for _, chunk in rows],
        "tokens": [" ".join(token.text for token in chunk.tokens) for _, chunk in rows],
        "places": [" ".join(str(token.place) for token in chunk.tokens) for _, chunk in rows],
        "heads": list(heads),
        "head_of": head_of,
        "meanings": HalfVectors(np.concatenate([vectors[m] for m in held]), oid[0] if oid else 0),
    }
    await connection.execute(query("write_chunks"), values)


async def fail(database: Database, jobs: Sequence[Job], error: str) -> None:
    """Put failed jobs back with their error, to be tried later; the fifth failure parks them."""
    await _return(database, "fail", jobs, error=error)


async def release(database: Database, jobs: Sequence[Job]) -> None:
    """Give claimed jobs back as if they had never been claimed."""
    await _return(database, "release", jobs)


async def _return(database: Database, statement: str, jobs: Sequence[Job], **values: str) -> None:
    claims = {"memories": [j.memory_id for j in jobs], "tokens": [j.token for j in jobs]}

    async def work(connection: Connection) -> None:
        await connection.execute(query(statement), claims | values)

    await database.run(work, NO_TENANT)


async def next_due(database: Database) -> float | None:
    """Return the seconds until the next job is due, None when none waits."""

    async def work(connection: Connection) -> float | None:
        row = await (await connection.execute(query("next_due"))).fetchone()
        return row[0] if row else None

    return await database.read(work, NO_TENANT)


async def unindexed(database: Database, tenant: int, ids: Sequence[int]) -> int:
    """Return how many of these memories still wait to be indexed."""

    async def work(connection: Connection) -> int:
        row = await (await connection.execute(query("unindexed"), [list(ids)])).fetchone()
        return int(row[0]) if row else 0

    return await database.read(work, tenant)


async def compact(database: Database) -> int:
    """Fold what indexing appended (word counts, new words); return the counts written."""

    async def work(connection: Connection) -> int:
        row = await (await connection.execute(query("compact"))).fetchone()
        return int(row[0]) if row else 0

    return await database.run(work, NO_TENANT)
