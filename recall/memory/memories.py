"""Memories as callers gave them: saved, replaced, read. A save that has returned is durable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recall.base.queries import query
from recall.contract.errors import NotFound
from recall.contract.values import Stored
from recall.database.fetching import Row, fetch_all, fetch_one, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import LiteralString

    from recall.contract.values import Message, Note
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database

#: Lanes of the queue: live memories go before those of a backfill.
LIVE, BACKFILL = 0, 1


async def save_messages(database: Database, caller: Caller, messages: Sequence[Message]) -> Stored:
    """Store `messages` and queue them for indexing, all or none; return their ids in order.

    A known key stores nothing: its memory's id is returned, and counted as a duplicate.
    """
    return await database.as_caller(caller, lambda c: store_messages(c, messages, LIVE), rings=True)


async def save_notes(database: Database, caller: Caller, notes: Sequence[Note]) -> Stored:
    """Do for `notes` what `save_messages` does for messages."""
    return await database.as_caller(caller, lambda c: store_notes(c, notes, LIVE), rings=True)


async def store_messages(
    connection: Connection, messages: Sequence[Message], lane: int, source: int | None = None
) -> Stored:
    """Store `messages`, which are of `source` if of any, in a unit; their jobs go to `lane`."""
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
    """Do for `notes` what `store_messages` does for messages."""
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
    rows = await fetch_all(connection, Row, statement, values)
    ids = [row["id"] for row in rows]
    if None in ids:
        missing = [key for key, id in zip(values["keys"], ids, strict=True) if id is None]
        there = await fetch_all(connection, Row, query("ids_by_key"), [missing])
        known = {memory["key"]: memory["id"] for memory in there}
        ids = [known[k] if id is None else id for k, id in zip(values["keys"], ids, strict=True)]
    new = tuple(row["accepted"] for row in rows)
    differs = tuple(bool(row["differs"]) for row in rows)
    return Stored(tuple(ids), sum(new), len(new) - sum(new), new, differs)


async def replace_note(database: Database, caller: Caller, id: int, note: Note) -> None:
    """Replace the note `id` as a whole, its key kept, and queue it again.

    Raises NotFound when there is no such note.
    """
    values = note.model_dump(exclude={"key", "metadata"})
    values |= {"id": id, "metadata": json.dumps(note.metadata)}

    async def work(connection: Connection) -> bool:
        return await fetch_value(connection, query("replace_note"), values) is not None

    if not await database.as_caller(caller, work, rings=True):
        raise NotFound(f"There is no note {id}.")


async def read_note(database: Database, caller: Caller, id: int) -> dict[str, Any]:
    """Return the note `id` by column name.

    Raises NotFound when there is no such note.
    """

    async def work(connection: Connection) -> dict[str, Any] | None:
        return await fetch_one(connection, Row, query("note"), [id])

    note = await database.read(caller, work)
    if note is None:
        raise NotFound(f"There is no note {id}.")
    return note
