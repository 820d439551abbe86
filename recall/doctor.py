"""What could be wrong in the index, counted and put right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.database import NO_TENANT
from recall.queries import query

if TYPE_CHECKING:
    from recall.database import Connection, Database


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
    Check("vectors_without_chunk", "vectors of no chunk", "drop_vectors_without_chunk"),
    Check("chunks_without_vector", "chunks without a vector", "queue_chunks_without_vector"),
    Check("lost_memories", "memories neither indexed nor queued", "queue_lost_memories"),
    Check("wrong_word_counts", "word counts that are off", "recount_words"),
    Check("wrong_corpus_counts", "tenants whose size is off", "recount_corpus"),
    Check("parked_jobs", "memories parked after five failures", "unpark_jobs"),
    Check("invalid_indexes", "indexes left invalid by an interrupted build", None),
)


async def examine(database: Database, fix: bool) -> list[Finding]:
    """Run every check, and with `fix` put right what can be, in one transaction."""

    async def work(connection: Connection) -> list[Finding]:
        if fix:
            await connection.execute(query("hold_index"))
        findings = []
        for check in CHECKS:
            row = await (await connection.execute(query(check.statement))).fetchone()
            found = int(row[0]) if row else 0
            repaired = bool(fix and found and check.repair)
            if repaired and check.repair:
                await connection.execute(query(check.repair))
            findings.append(Finding(check.counts, found, repaired))
        return findings

    return await database.run(work, NO_TENANT)
