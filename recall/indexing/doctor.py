"""The doctor: checks of all that could be lost or wrong in the database, and their repairs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.database.caller import OWNER
from recall.database.fetching import fetch_value
from recall.schema import migrate
from recall.schema.shape import holds_rows, named

if TYPE_CHECKING:
    from recall.database.units import Connection, Database

#: Seconds that the checks of an index may take in all.
LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Check:
    """A thing that should be 0: its statement, what it counts, and the repair, if there is one."""

    statement: str
    counts: str
    repair: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """How many of a check's things were found, and whether they were put right."""

    counts: str
    found: int
    repaired: bool


CHECKS = (
    Check("open_schemas", "roles that may create in recall's schemas", "close_schemas"),
    Check("exposed_functions", "older versions' functions that others may mislead: --prune", None),
    Check("sequences_behind", "sequences that lag behind their rows", "advance_sequences"),
    Check("chunks_without_memory", "chunks of no memory", "drop_chunks_without_memory"),
    Check("vectors_without_chunk", "vectors of no chunk", "drop_vectors_without_chunk"),
    Check("chunks_without_vector", "chunks without a vector", "queue_chunks_without_vector"),
    Check("lost_memories", "memories neither indexed nor queued", "queue_lost_memories"),
    Check("stale_index", "memories whose index is older than the text", "queue_stale_index"),
    Check("wrong_word_counts", "word counts that are off", "recount_words"),
    Check("wrong_corpus_counts", "tenants whose size is off", "recount_corpus"),
    Check("parked_jobs", "memories parked after five failures", "unpark_jobs"),
    Check("tables_without_statistics", "large tables never analyzed", "gather_statistics"),
)


async def examine(database: Database, fix: bool) -> list[Finding]:
    """Run every check, and with `fix` put right what can be; workers elsewhere hear of new jobs.

    First what the schema has lost, each part by its name, and what it grants beyond recall's own.
    Where tables are lost and not made again, what they should hold is not looked at, and that is a
    finding too. Raises SchemaRefused when what is lost cannot be made again.
    """
    lost, beyond = await asyncio.to_thread(migrate.differences, database.url)
    if lost and fix:
        await asyncio.to_thread(migrate.migrate, database.url)
        _, beyond = await asyncio.to_thread(migrate.differences, database.url)
    findings = [
        *(Finding(f"lost: {named(part)}", 1, fix) for part in lost),
        *(Finding(f"not recall's own: {named(part)}", 1, False) for part in beyond),
    ] or [Finding("lost parts of the schema", 0, False)]
    if not fix and any(map(holds_rows, lost)):
        return [*findings, Finding("groups of rows, not looked at for now", len(CHECKS), False)]
    return [*findings, *await _rows(database, fix)]


async def _rows(database: Database, fix: bool) -> list[Finding]:
    """Look at what the tables hold, in one transaction."""

    async def work(connection: Connection) -> list[Finding]:
        if fix:
            await connection.execute(query("hold_index"))
        return [await _look(connection, check, fix) for check in CHECKS]

    if fix:
        return await database.as_owner(work, within=LONGEST, rings=True)
    return await database.read(OWNER, work, within=LONGEST)


async def _look(connection: Connection, check: Check, fix: bool) -> Finding:
    count = int(await fetch_value(connection, query(check.statement)))
    if not (fix and count and check.repair):
        return Finding(check.counts, count, False)
    await connection.execute(query(check.repair))
    return Finding(check.counts, count, True)
