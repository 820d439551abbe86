"""OpenAI Agents SDK: the sessions that it keeps in SQLite or, by SQLAlchemy, in any database.

Keys are `openai-agents:SESSION/ID@TIME-HASH`, of the table's id: the id inside an item is the
constant `__fake_id__` with many models. An item is never edited, so its hash tells apart what two
databases wrote under the same session, number and second. Rows of an EncryptedSession stay shut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant, stamp, zone
from recall.sources.reading.content import name, parsed, words
from recall.sources.reading.rows import Skip, digest, key_of, tell
from recall.sources.systems.openai.openai_items import said
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import tzinfo

    from recall.sources.reading.rows import Item
    from recall.sources.tables.catalog import Catalog, Table
    from recall.sources.tables.pages import Database

NAME = "openai-agents"


def fits(catalog: Catalog) -> str | None:
    """Return what makes the tables the SDK's, None when they are not."""
    found = [table.path for table in _tables(catalog)]
    return f"items of sessions in {', '.join(found)}" if found else None


def open_source(
    target: str, *, assume_tz: str = "UTC", include_hidden: bool = False
) -> TableSource:
    """Return the sessions at `target`.

    `include_hidden` stores system prompts and summaries of reasoning as well.
    """
    naive = zone(assume_tz)

    def chapters(catalog: Catalog, _: Database) -> list[Chapter]:
        return [_chapter(catalog, table, naive, include_hidden) for table in _tables(catalog)]

    return TableSource(NAME, target, chapters)


def _tables(catalog: Catalog) -> list[Table]:
    # Their names are the app's choice.
    return [t for t in catalog.tables if t.has("id", "session_id", "message_data")]


def _chapter(catalog: Catalog, table: Table, naive: tzinfo, hidden: bool) -> Chapter:
    columns = table.present("id", "session_id", "message_data", "created_at")
    name_of_sessions = table.name.replace("messages", "sessions")
    sessions = catalog.find(name_of_sessions, table.schema)
    beside = None
    if sessions and sessions is not table and sessions.has("session_id", "created_at"):
        beside = Beside(sessions, "session_id", "session_id", ("created_at",))

    def parse(row: dict[str, Any]) -> list[list[Item]]:
        return [_item(row, naive, hidden)]

    return Chapter(table.path, Select(table, columns, ("id",), beside), parse)


def _item(row: dict[str, Any], naive: tzinfo, hidden: bool) -> list[Item]:
    session = name(row["session_id"]) or NAME
    mark = digest(words(row["message_data"]))[:8]
    key = key_of(NAME, session, f"{row['id']}@{stamp(row.get('created_at'))}-{mark}")
    item = parsed(row["message_data"])
    if not isinstance(item, dict):
        return [Skip("not JSON" if item is None else "not an object", key)]
    told = said(item, hidden)
    if told.reason:
        return [Skip(told.reason, key, words(item.get("type")))]
    time = instant(row.get("created_at"), naive)
    return tell(
        Message,
        key,
        told.text,
        session_id=session,
        role=told.role,
        created_at=time or instant(row.get("beside.created_at"), naive) or UNKNOWN,
        metadata={"source": NAME, **told.facts, "time_estimated": time is None or None},
    )
