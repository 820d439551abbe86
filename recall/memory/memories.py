"""The write side: save, replace, forget. What these return is durable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recall.base.queries import query
from recall.contract.errors import NotFound
from recall.contract.values import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import LiteralString

    from recall.contract.values import Message, Note
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database

#: Lanes of the queue: live memories go before those of a backfill.
LIVE, BACKFILL = 0, 1


async def save_messages(database: Database, caller: Caller, messages: Sequence[Message]) -> Stored:
    """Store `messages` and queue them for indexing, all or none, and return their ids."""
    return await database.as_caller(caller, lambda c: store_messages(c, messages, LIVE), rings=True)


async def save_notes(database: Database, caller: Caller, notes: Sequence[Note]) -> Stored:
    """Store `notes` and queue them for indexing, all or none, and return their ids."""
    return await database.as_caller(caller, lambda c: store_notes(c, notes, LIVE), rings=True)


async def store_messages(
    connection: Connection, messages: Sequence[Message], lane: int, source: int | None = None
) -> Stored:
    """Store `messages` inside the caller's unit of work."""
    values = {
        "sessions": [m.session_id for m in messages],
        "titles": [m.session_title for m in messages],
        "roles": [m.role for m in messages],
        "authors": [m.author for m in messages],
    }
    lane_and_source = {"lane": lane, "source": source}
    return await _store(
        connection, query("save_messages"), values | _columns(messages) | lane_and_source
    )


async def store_notes(
    connection: Connection, notes: Sequence[Note], lane: int, source: int | None = None
) -> Stored:
    """Store `notes` inside the caller's unit of work."""
    values = {"titles": [n.title for n in notes], "categories": [n.category for n in notes]}
    lane_and_source = {"lane": lane, "source": source}
    return await _store(connection, query("save_notes"), values | _columns(notes) | lane_and_source)


def _columns(memories: Sequence[Message] | Sequence[Note]) -> dict[str, Any]:
    return {
        "contents": [m.content for m in memories],
        "keys": [m.key for m in memories],
        "users": [m.user_id for m in memories],
        "times": [m.created_at for m in memories],
        "metadata": [json.dumps(m.metadata) for m in memories],
    }


async def _store(
    connection: Connection, statement: LiteralString, values: dict[str, Any]
) -> Stored:
    rows = await (await connection.execute(statement, values)).fetchall()
    ids = [row[1] for row in rows]
    if None in ids:
        missing = [key for key, id in zip(values["keys"], ids, strict=True) if id is None]
        cursor = await connection.execute(query("ids_by_key"), [missing])
        known: dict[str, int] = dict(await cursor.fetchall())
        ids = [known[k] if id is None else id for k, id in zip(values["keys"], ids, strict=True)]
    new = tuple(row[2] for row in rows)
    differs = tuple(bool(row[3]) for row in rows)
    return Stored(tuple(ids), sum(new), len(new) - sum(new), new, differs)


async def replace_note(database: Database, caller: Caller, id: int, note: Note) -> None:
    """Replace the note `id` as a whole, its key kept, and queue it again; NotFound if none."""
    values = note.model_dump(exclude={"key", "metadata"})
    values |= {"id": id, "metadata": json.dumps(note.metadata)}

    async def work(connection: Connection) -> bool:
        cursor = await connection.execute(query("replace_note"), values)
        return await cursor.fetchone() is not None

    if not await database.as_caller(caller, work, rings=True):
        raise NotFound(f"There is no note {id}.")


async def note(database: Database, caller: Caller, id: int) -> dict[str, Any]:
    """Return the note `id` by column name; NotFound if none."""

    async def work(connection: Connection) -> dict[str, Any] | None:
        return await _one(connection, query("note"), [id])

    found = await database.read(caller, work)
    if found is None:
        raise NotFound(f"There is no note {id}.")
    return found


async def _one(
    connection: Connection, statement: LiteralString, values: Sequence[Any]
) -> dict[str, Any] | None:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    if row is None or cursor.description is None:
        return None
    return dict(zip([c.name for c in cursor.description], row, strict=True))


async def forget(database: Database, caller: Caller, kind: str, id: int) -> None:
    """Erase one message or note with everything derived from it; NotFound if none."""

    async def work(connection: Connection) -> int:
        return await _erase(connection, query("memory_to_forget"), [id, kind])

    if not await database.as_caller(caller, work, needs="erase"):
        raise NotFound(f"There is no {kind} {id}.")


async def forget_session(database: Database, caller: Caller, key: str) -> int:
    """Erase a session with its messages; return how many there were. NotFound if none."""

    async def work(connection: Connection) -> tuple[bool, int]:
        erased = await _erase(connection, query("memories_of_session"), [key])
        cursor = await connection.execute(query("forget_session"), [key])
        return await cursor.fetchone() is not None, erased

    existed, erased = await database.as_caller(caller, work, needs="erase")
    if not existed:
        raise NotFound(f"There is no session {key!r}.")
    return erased


async def forget_user(database: Database, caller: Caller, user_id: str) -> int:
    """Erase everything of a user and the sessions this empties; return how many memories."""

    async def work(connection: Connection) -> int:
        cursor = await connection.execute(query("sessions_of_user"), [user_id])
        sessions = [row[0] for row in await cursor.fetchall()]
        erased = await _erase(connection, query("memories_of_user"), [user_id])
        await connection.execute(query("forget_empty_sessions"), [sessions])
        return erased

    return await database.as_caller(caller, work, needs="erase")


async def _erase(connection: Connection, selection: LiteralString, values: list[Any]) -> int:
    cursor = await connection.execute(selection, values)
    ids = [row[0] for row in await cursor.fetchall()]
    if ids:
        await connection.execute(query("forget_chunks"), [ids])
        await connection.execute(query("forget_memories"), [ids])
    return len(ids)
