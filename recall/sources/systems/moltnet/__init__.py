"""Moltnet: rooms, threads and direct messages, from its SQLite, Postgres or JSON store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.sources.reading.content import mapping, parsed
from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog, Table
    from recall.sources.system import TextFile

#: The maps of a JSON store that hold messages, and the kind of room of each.
MESSAGE_MAPS = {"room_messages": "room", "thread_messages": "thread", "direct_messages": "dm"}


def message_tables(catalog: Catalog) -> list[Table]:
    """Return the tables of messages, one a schema at most."""
    columns = ("id", "target_kind", "from_json", "parts_json", "created_at")
    return [table for table in catalog.named("messages") if table.has(*columns)]


def is_store(data: dict[str, Any]) -> bool:
    """Return whether a JSON object is the store of a server without a database."""
    return isinstance(data.get("rooms"), dict) and any(field in data for field in MESSAGE_MAPS)


def _tables(catalog: Catalog) -> str | None:
    return "messages with from_json and parts_json" if message_tables(catalog) else None


def _text(file: TextFile) -> str | None:
    if not (file.is_json and (b'"room_messages"' in file.start or b'"rooms"' in file.start)):
        return None
    whole = mapping(parsed(file.path.read_bytes()))
    return "The JSON is a store of Moltnet." if is_store(whole) else None


MOLTNET = System(
    name="moltnet",
    opens=f"{__name__}.moltnet_tables:moltnet_history",
    options=("include_removed",),
    erases=True,
    tables=Signature(3, _tables),
    text=Signature(3, _text),
)
