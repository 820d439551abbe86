"""The best memories as hits: their rows, read under their policy, with the turns around them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from recall.base.queries import query
from recall.contract.values import Hit, Neighbors, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncCursor

    from recall.contract.values import Question
    from recall.database.units import Connection
    from recall.retrieval.fuse import Ranked

    Rows = AsyncCursor[dict[str, Any]]


def read_with(question: Question, memory_ids: Sequence[int]) -> dict[str, Any]:
    """Return the parameters of the statement `hits` for these memories."""
    wanted = question.neighbors
    return {
        "ids": list(memory_ids),
        "before": wanted.before if wanted else 0,
        "after": wanted.after if wanted else 0,
    }


async def ask_for_rows(
    connection: Connection, question: Question, ranked: Sequence[Ranked]
) -> Rows:
    """Send for the rows of `ranked` and return the cursor that will hold them after the unit.

    Fetching them in the unit would cost a round trip: a pipeline that ends fetches the answers to
    all that it sent, and psycopg keeps them in the cursor, which needs no connection then.
    """
    cursor = connection.cursor(row_factory=dict_row)
    return await cursor.execute(
        query("hits"), read_with(question, [best.memory_id for best in ranked])
    )


async def build_hits(
    rows: Rows,
    question: Question,
    ranked: Sequence[Ranked],
    explained: Sequence[dict[str, Any]] | None,
) -> list[Hit]:
    """Return the hits of `ranked` in its order; `explained` goes with them place by place."""
    wanted = question.neighbors
    by_id = {row["id"]: row for row in await rows.fetchall()}
    hits = []
    for place, best in enumerate(ranked):
        row = by_id.get(best.memory_id)
        if row is None:
            continue  # erased between the two statements
        before, after = _turns(row.pop("before")), _turns(row.pop("after"))
        hits.append(
            Hit(
                **row,
                score=best.score,
                count=best.count,
                neighbors=Neighbors(before, after) if wanted else None,
                explain=explained[place] if explained else None,
            )
        )
    return hits


def whole_text(hit: Hit) -> str:
    """Return the texts of a hit and of its neighbours as one."""
    turns = (*hit.neighbors.before, *hit.neighbors.after) if hit.neighbors else ()
    return " ".join((*(turn.content for turn in turns), hit.content))


def _turns(rows: list[dict[str, Any]] | None) -> tuple[Turn, ...]:
    return tuple(
        Turn(**row | {"created_at": datetime.fromisoformat(row["created_at"])})
        for row in rows or ()
    )
