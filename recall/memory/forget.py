"""Forgetting: the one way to erase, for whoever asks.

A selection says which memories; they go with their chunks, jobs and counts, and so do the sessions
that this empties.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from recall.base.queries import query
from recall.contract.errors import NotFound
from recall.database.fetching import fetch_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The caller's memories that fit every field which is given; one has to be.

    `session` is a session's key, `source` a source's id; `ids` and `keys` are of memories.
    """

    ids: Sequence[int] | None = None
    keys: Sequence[str] | None = None
    kind: str | None = None
    session: str | None = None
    user: str | None = None
    source: int | None = None

    def __post_init__(self) -> None:
        if all(value is None for value in asdict(self).values()):
            raise ValueError("a selection of everything")


class Erased(NamedTuple):
    """How many memories, chunks and sessions an erasure took."""

    memories: int
    chunks: int
    sessions: int


async def forget(
    database: Database, caller: Caller, selection: Selection, within: float | None = None
) -> Erased:
    """Erase what is selected, in one unit of `within` seconds at most; return the counts.

    Raises Forbidden when the caller may not erase, and Unavailable.
    """

    async def work(connection: Connection) -> Erased:
        return await _erase(connection, selection)

    return await database.as_caller(caller, work, needs="erase", within=within)


async def forget_memory(database: Database, caller: Caller, kind: str, id: int) -> None:
    """Erase one message or note.

    Raises NotFound when there is none, and what `forget` raises.
    """
    if not (await forget(database, caller, Selection(ids=[id], kind=kind))).memories:
        raise NotFound(f"There is no {kind} {id}.")


async def forget_session(database: Database, caller: Caller, key: str) -> int:
    """Erase a session with its messages; return how many there were.

    Raises NotFound when there is no such session, and what `forget` raises.
    """
    erased = await forget(database, caller, Selection(session=key))
    if not erased.sessions:
        raise NotFound(f"There is no session {key!r}.")
    return erased.memories


async def forget_user(database: Database, caller: Caller, user_id: str) -> int:
    """Erase everything of a user; return how many memories there were.

    Raises what `forget` raises.
    """
    return (await forget(database, caller, Selection(user=user_id))).memories


async def _erase(connection: Connection, selection: Selection) -> Erased:
    values = asdict(selection)
    sessions = await fetch_values(connection, query("hold_sessions"), values)
    memories = await fetch_values(connection, query("hold_memories"), values)
    chunks = await connection.execute(query("erase_chunks"), [memories])
    await connection.execute(query("erase_memories"), [memories])
    emptied = await fetch_values(connection, query("erase_empty_sessions"), [sessions])
    return Erased(len(memories), max(chunks.rowcount, 0), len(emptied))
