"""Moltnet: rooms, threads and direct messages, from its SQLite, Postgres or JSON store.

Keys are `moltnet:NETWORK/MESSAGE` of a message's origin: paired networks relay it with both, so
that what two stores hold is one memory. Sessions have the addresses that Moltnet gives them,
`molt://NETWORK/rooms/ROOM`: a room's id means nothing outside its network.

Who may read a message is kept in its metadata: `access` is the room's visibility or "dm", and
`members` are those of the room or the conversation as of the reading. Messages of removed rooms
are skipped. Artifacts are rows derived from message parts; the message is found by their names
and addresses. The table `agents` holds credentials and is never read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.sources.reading.content import text_of
from recall.sources.systems.moltnet import MOLTNET, message_tables
from recall.sources.systems.moltnet.moltnet_json import JsonStore
from recall.sources.systems.moltnet.moltnet_messages import Rooms, moltnet_message
from recall.sources.tables import pages
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.databases import is_url
from recall.sources.tables.pages import Select

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.source import Source
    from recall.sources.tables.dialect import SourceDatabase

_JSON = ("target", "from", "parts", "mentions", "origin")
_PLAIN = ("id", "network_id", "target_kind", "room_id", "thread_id", "dm_id", "created_at")
_ROOM = ("id", "name", "visibility", "write_policy", "deleted_at")


def moltnet_history(target: str, *, include_removed: bool = False) -> Source:
    """Return the store at `target`: a database, or the JSON file of a server without one.

    `include_removed` stores the messages of removed rooms as well.
    """
    if not is_url(target) and Path(target).suffix == ".json":
        return JsonStore(Path(target), include_removed)

    def chapters(catalog: Catalog, database: SourceDatabase) -> list[Chapter]:
        return [_chapter(catalog, database, t, include_removed) for t in message_tables(catalog)]

    return TableSource(MOLTNET, target, chapters)


def _chapter(catalog: Catalog, database: SourceDatabase, messages: Table, removed: bool) -> Chapter:
    rooms = _rooms(catalog, database, messages.schema)
    # Older stores lack `origin_json`, newer ones have it at another place: columns by name.
    columns = messages.present(*_PLAIN, *(f"{field}_json" for field in _JSON))
    select = Select(messages, columns, ("created_at", "id"))

    def parse(row: dict[str, Any]) -> list[list[Item]]:
        opened = {field: row.pop(f"{field}_json", None) for field in _JSON}
        return [moltnet_message({**row, **opened}, rooms, removed)]

    return Chapter(messages.path, select, parse)


def _rooms(catalog: Catalog, database: SourceDatabase, schema: str) -> Rooms:
    """Return every room and conversation; there are few beside the messages."""
    rooms: Rooms = {}
    table = catalog.find("rooms", schema)
    if table and table.has("id"):
        for record in pages.read_rows(
            database, Select(table, table.present(*_ROOM), ("id",)), None
        ):
            rooms["room", str(record.values["id"])] = {**record.values, "members": []}
    for kind, name, room_id, member_id in (
        ("room", "room_members", "room_id", "member_id"),
        ("dm", "dm_participants", "dm_id", "participant_id"),
    ):
        table = catalog.find(name, schema)
        if table and table.has(room_id, member_id):
            select = Select(table, (room_id, member_id), (room_id, member_id))
            for record in pages.read_rows(database, select, None):
                known = rooms.setdefault((kind, str(record.values[room_id])), {"members": []})
                known["members"].append(text_of(record.values[member_id]))
    return rooms
