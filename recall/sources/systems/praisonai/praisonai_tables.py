"""PraisonAI: conversation stores in SQLite, Postgres or MySQL, and its session files.

Keys are `praisonai:SESSION/HASH`, the hash of role, content and time: `import_session` gives every
message a new id, session files have none, and both would double what is known. The same turn in a
table and in a file is one memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.sources.reading.clock import zone
from recall.sources.systems.praisonai import praisonai_sessions as sessions
from recall.sources.systems.praisonai.praisonai_turns import NAME, turn
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.databases import is_url
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import tzinfo

    from recall.sources.reading.rows import Item
    from recall.sources.source import Source
    from recall.sources.tables.catalog import Catalog, Table
    from recall.sources.tables.pages import Database

ROW = ("id", "session_id", "role", "content", "tool_calls", "tool_call_id", "metadata")
SESSION = ("user_id", "agent_id", "name", "metadata", "created_at")


def fits(catalog: Catalog) -> str | None:
    """Return what makes the tables PraisonAI's, None when they are not."""
    found = [table.path for table, _ in _pairs(catalog)] + [t.path for t in _stores(catalog)]
    return f"PraisonAI's {', '.join(found)}" if found else None


def open_source(target: str, *, assume_tz: str = "UTC", include_hidden: bool = False) -> Source:
    """Return the store at `target`: a database, `sessions.db`, a session file or a folder of them.

    `include_hidden` stores system prompts as well.
    """
    naive = zone(assume_tz)
    if not is_url(target) and (Path(target).is_dir() or Path(target).suffix == ".json"):
        return sessions.SessionFiles(Path(target), naive, include_hidden)

    def chapters(catalog: Catalog, _: Database) -> list[Chapter]:
        found = [_chapter(*pair, naive, include_hidden) for pair in _pairs(catalog)]
        parse = partial(sessions.stored, naive=naive, hidden=include_hidden)
        for table in _stores(catalog):
            # Each change of a session moves its time, and so the session behind the position.
            order = (*table.present("updated_at"), "session_id")
            select = Select(table, ("session_id", "data"), order)
            found.append(Chapter(table.path, select, parse, whole=True))
        return found

    return TableSource(NAME, target, chapters)


def _pairs(catalog: Catalog) -> list[tuple[Table, Table]]:
    """Return each table of messages with its table of sessions; the prefix is the user's choice."""
    pairs = []
    for table in catalog.tables:
        if table.name.endswith("messages") and table.has(*ROW, "created_at"):
            other = f"{table.name.removesuffix('messages')}sessions"
            sessions = catalog.find(other, table.schema)
            if sessions and sessions.has("session_id", "agent_id"):
                pairs.append((table, sessions))
    return pairs


def _stores(catalog: Catalog) -> list[Table]:
    """Return tables of `sessions.db`, where a row is a whole session as JSON."""
    wanted = ("session_id", "data", "agent_name")
    return [table for table in catalog.named("sessions") if table.has(*wanted)]


def _chapter(messages: Table, sessions: Table, naive: tzinfo, hidden: bool) -> Chapter:
    beside = Beside(sessions, "session_id", "session_id", sessions.present(*SESSION))
    select = Select(messages, (*ROW, "created_at"), ("created_at", "id"), beside)

    def parse(row: dict[str, Any]) -> list[list[Item]]:
        session = {f: row.get(f"beside.{f}") for f in SESSION}
        return [turn(row, session, naive, hidden)]

    return Chapter(messages.path, select, parse)
