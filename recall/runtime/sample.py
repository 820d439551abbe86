"""The sample history of a first start, so that an empty embedded database has something to ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.contract.values import Message, Note
from recall.database.caller import OWNER
from recall.database.fetching import fetch_value
from recall.memory.memories import BACKFILL, store_messages, store_notes

if TYPE_CHECKING:
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database

FILE = Path(__file__).parent / "sample.jsonl"


async def load_sample(database: Database, caller: Caller) -> int:
    """Store the sample history when the database has no memory at all; return its size or 0."""

    async def empty(connection: Connection) -> bool:
        return bool(await fetch_value(connection, query("empty")))

    async def store(connection: Connection) -> int:
        stored = await store_messages(connection, messages, BACKFILL)
        return stored.accepted + (await store_notes(connection, notes, BACKFILL)).accepted

    if not await database.read(OWNER, empty):
        return 0
    messages: list[Message] = []
    notes: list[Note] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        value = json.loads(line)
        if value.pop("type") == "message":
            messages.append(Message(**value))
        else:
            notes.append(Note(**value))
    return await database.as_caller(caller, store, rings=True)
