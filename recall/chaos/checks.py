"""Checks of a healed database, past every front: what must be true of it, and what is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg

from recall.chaos.book import Row
from recall.database.units import Database
from recall.indexing import doctor

if TYPE_CHECKING:
    from recall.base.settings import Settings
    from recall.chaos.book import Book

MEMORIES = "select id, key, content from recall.memory"
WAITING = "select count(*) from recall.job where parked_at is null"
#: Memories that the active profile does not have whole: in pieces from 0 on without gap, each once
#: and each with its meaning.
PIECES = """
select m.content from recall.memory as m
cross join (select id from recall.profile where active) as p
left join lateral (
  select count(*) as pieces, count(distinct c.piece) as different, max(c.piece) as last,
         count(e.chunk_id) as meanings
  from recall.chunk as c
  left join recall.embedding as e on e.chunk_id = c.id and e.profile_id = c.profile_id
  where c.memory_id = m.id and c.profile_id = p.id
) as of_memory on true
where pieces = 0 or different <> pieces or last <> pieces - 1 or meanings <> pieces
"""
OTHER_PROFILES = """
select 'chunk ' || c.id from recall.chunk as c join recall.profile as p on p.id = c.profile_id
where not p.active
"""
PARKED = """
select split_part(m.content, ' ', 1) || ': ' || j.error
from recall.job as j join recall.memory as m on m.id = j.memory_id where j.parked_at is not null
"""


def wait_until_empty(url: str, seconds: float) -> tuple[float, int]:
    """Wait until no memory waits to be indexed; return the seconds, and how many still wait."""
    began = time.monotonic()
    while True:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                waiting = int(_column(connection, WAITING)[0])
        except psycopg.OperationalError:
            waiting = -1  # the server still recovers
        took = time.monotonic() - began
        if waiting == 0 or took > seconds:
            return took, waiting
        time.sleep(0.2)


def differences_from(url: str, book: Book) -> dict[str, list[str]]:
    """Return by kind what is not as it must be; a kind without findings has an empty list."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = [Row(*row) for row in connection.execute(MEMORIES).fetchall()]
        return {
            **book.differences(rows),
            "not indexed once": [str(text)[:60] for text in _column(connection, PIECES)],
            "indexed under another profile": _column(connection, OTHER_PROFILES),
            "parked": _column(connection, PARKED),
        }


async def findings(url: str, settings: Settings) -> list[str]:
    """Return what `recall doctor` finds, statistics beside a recount among it."""
    database = Database(url, settings)
    await database.open()
    try:
        findings = await doctor.examine(database, False)
    finally:
        await database.close()
    return [f"{each.found:,} {each.counts}" for each in findings if each.found]


def _column(connection: psycopg.Connection[Any], statement: Any) -> list[Any]:
    return [row[0] for row in connection.execute(statement).fetchall()]
