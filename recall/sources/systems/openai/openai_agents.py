"""OpenAI Agents SDK: the sessions that it keeps in SQLite or, by SQLAlchemy, in any database.

Keys are `openai-agents:SESSION/ID@TIME-HASH`, of the table's id: the id inside an item is the
constant `__fake_id__` with many models. An item is never edited, so its hash tells apart what two
databases wrote under the same session, number and second. Rows of an EncryptedSession stay shut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant, stamp, zone
from recall.sources.reading.content import name, parsed, text_of
from recall.sources.reading.rows import Skip, items_of, key_of, short_hash
from recall.sources.reason import Reason
from recall.sources.systems.openai import AGENTS, agent_tables
from recall.sources.systems.openai.openai_items import openai_utterance
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import tzinfo

    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.tables.dialect import SourceDatabase


def agents_history(
    target: str, *, assume_tz: str = "UTC", include_hidden: bool = False
) -> TableSource:
    """Return the sessions at `target`.

    `include_hidden` stores system prompts and summaries of reasoning as well.
    """
    naive = zone(assume_tz)

    def chapters(catalog: Catalog, _: SourceDatabase) -> list[Chapter]:
        return [_chapter(catalog, table, naive, include_hidden) for table in agent_tables(catalog)]

    return TableSource(AGENTS, target, chapters)


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
    session = name(row["session_id"]) or AGENTS.name
    suffix = short_hash(text_of(row["message_data"]))[:8]
    key = key_of(AGENTS.name, session, f"{row['id']}@{stamp(row.get('created_at'))}-{suffix}")
    item = parsed(row["message_data"])
    if not isinstance(item, dict):
        return [Skip(Reason.NOT_JSON if item is None else Reason.NOT_AN_OBJECT, key)]
    utterance = openai_utterance(item, hidden)
    if utterance.reason:
        return [Skip(utterance.reason, key, text_of(item.get("type")))]
    time = instant(row.get("created_at"), naive)
    return items_of(
        Message,
        key,
        utterance.text,
        session_id=session,
        role=utterance.role,
        created_at=time or instant(row.get("beside.created_at"), naive) or UNKNOWN,
        metadata={"source": AGENTS.name, **utterance.facts, "time_estimated": time is None or None},
    )
