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

from recall.sources.reading.content import words
from recall.sources.systems.moltnet.moltnet_json import JsonStore
from recall.sources.systems.moltnet.moltnet_messages import NAME, Places, told
from recall.sources.tables import pages
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.databases import is_url
from recall.sources.tables.pages import Select

if TYPE_CHECKING:
    from recall.sources.reading.rows import Item
    from recall.sources.source import Source
    from recall.sources.tables.catalog import Catalog, Table
    from recall.sources.tables.pages import Database

JSON = ("target", "from", "parts", "mentions", "origin")
PLAIN = ("id", "network_id", "target_kind", "room_id", "thread_id", "dm_id", "created_at")
ROOM = ("id", "name", "visibility", "write_policy", "deleted_at")


def fits(catalog: Catalog) -> str | None:
    """Return what makes the tables Moltnet's, None when they are not."""
    return "messages with from_json and parts_json" if _tables(catalog) else None


def open_source(target: str, *, include_removed: bool = False) -> Source:
    """Return the store at `target`: a database, or the JSON file of a server without one.

    `include_removed` stores the messages of removed rooms as well.
    """
    if not is_url(target) and Path(target).suffix == ".json":
        return JsonStore(Path(target), include_removed)

    def chapters(catalog: Catalog, database: Database) -> list[Chapter]:
        return [_chapter(catalog, database, t, include_removed) for t in _tables(catalog)]

    return TableSource(NAME, target, chapters)


def _tables(catalog: Catalog) -> list[Table]:
    wanted = ("id", "target_kind", "from_json", "parts_json", "created_at")
    return [table for table in catalog.named("messages") if table.has(*wanted)]


def _chapter(catalog: Catalog, database: Database, messages: Table, removed: bool) -> Chapter:
    places = _places(catalog, database, messages.schema)
    # Older stores lack `origin_json`, newer ones have it at another place: columns by name.
    columns = messages.present(*PLAIN, *(f"{field}_json" for field in JSON))
    select = Select(messages, columns, ("created_at", "id"))

    def parse(row: dict[str, Any]) -> list[list[Item]]:
        opened = {field: row.pop(f"{field}_json", None) for field in JSON}
        return [told({**row, **opened}, places, removed)]

    return Chapter(messages.path, select, parse)


def _places(catalog: Catalog, database: Database, schema: str) -> Places:
    """Return every room and conversation; there are few beside the messages."""
    places: Places = {}
    rooms = catalog.find("rooms", schema)
    if rooms and rooms.has("id"):
        for record in pages.read(database, Select(rooms, rooms.present(*ROOM), ("id",)), None):
            places["room", str(record.values["id"])] = {**record.values, "members": []}
    for kind, table, place, member in (
        ("room", "room_members", "room_id", "member_id"),
        ("dm", "dm_participants", "dm_id", "participant_id"),
    ):
        found = catalog.find(table, schema)
        if found and found.has(place, member):
            select = Select(found, (place, member), (place, member))
            for record in pages.read(database, select, None):
                known = places.setdefault((kind, str(record.values[place])), {"members": []})
                known["members"].append(words(record.values[member]))
    return places
