"""The winners' rows, read under their policy, with the turns around them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from recall.base.queries import query
from recall.contract.values import Hit, Neighbors, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import AsyncCursor

    from recall.contract.values import Question
    from recall.database.units import Connection
    from recall.retrieval.fuse import Ranked

    Rows = AsyncCursor[dict[str, Any]]


async def ask_for_rows(
    connection: Connection, question: Question, ranked: Sequence[Ranked]
) -> Rows:
    """Send for the rows of `ranked`: they come with the end of the unit, in the same flight."""
    wanted = question.neighbors
    return await connection.cursor(row_factory=dict_row).execute(
        query("expand"),
        {
            "ids": [found.memory_id for found in ranked],
            "before": wanted.before if wanted else 0,
            "after": wanted.after if wanted else 0,
        },
    )


async def expand(
    rows_asked_for: Rows,
    question: Question,
    ranked: Sequence[Ranked],
    explained: Sequence[dict[str, Any]] | None,
) -> list[Hit]:
    """Return the hits of `ranked` in its order; `explained` goes with them place by place."""
    wanted = question.neighbors
    rows = {row["id"]: row for row in await rows_asked_for.fetchall()}
    hits = []
    for place, found in enumerate(ranked):
        row = rows.get(found.memory_id)
        if row is None:
            continue  # erased between the two statements
        before, after = _turns(row.pop("before")), _turns(row.pop("after"))
        hits.append(
            Hit(
                **row,
                score=found.score,
                count=found.count,
                neighbors=Neighbors(before, after) if wanted else None,
                explain=explained[place] if explained else None,
            )
        )
    return hits


def around(hit: Hit) -> Iterator[str]:
    """Yield the texts of a hit's neighbours."""
    if hit.neighbors:
        yield from (turn.content for turn in (*hit.neighbors.before, *hit.neighbors.after))


def _turns(rows: list[dict[str, Any]] | None) -> tuple[Turn, ...]:
    return tuple(
        Turn(**row | {"created_at": datetime.fromisoformat(row["created_at"])})
        for row in rows or ()
    )
