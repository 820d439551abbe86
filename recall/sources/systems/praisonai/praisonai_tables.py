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
from recall.sources.systems.praisonai import (
    MESSAGE_COLUMNS,
    PRAISONAI,
    conversation_tables,
    session_tables,
)
from recall.sources.systems.praisonai.praisonai_sessions import SessionFiles, session_turns
from recall.sources.systems.praisonai.praisonai_turns import praisonai_message
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.databases import is_url
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import tzinfo

    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.source import Source
    from recall.sources.tables.dialect import SourceDatabase

_SESSION = ("user_id", "agent_id", "name", "metadata", "created_at")


def praisonai_history(
    target: str, *, assume_tz: str = "UTC", include_hidden: bool = False
) -> Source:
    """Return the store at `target`: a database, `sessions.db`, a session file or a folder of them.

    `include_hidden` stores system prompts as well.
    """
    naive = zone(assume_tz)
    if not is_url(target) and (Path(target).is_dir() or Path(target).suffix == ".json"):
        return SessionFiles(Path(target), naive, include_hidden)

    def chapters_of(catalog: Catalog, _: SourceDatabase) -> list[Chapter]:
        pairs = conversation_tables(catalog)
        chapters = [_chapter(*pair, naive, include_hidden) for pair in pairs]
        parse = partial(session_turns, naive=naive, hidden=include_hidden)
        for table in session_tables(catalog):
            # Each change of a session moves its time, and so the session behind the position.
            order = (*table.present("updated_at"), "session_id")
            select = Select(table, ("session_id", "data"), order)
            chapters.append(Chapter(table.path, select, parse, whole=True))
        return chapters

    return TableSource(PRAISONAI, target, chapters_of)


def _chapter(messages: Table, sessions: Table, naive: tzinfo, hidden: bool) -> Chapter:
    beside = Beside(sessions, "session_id", "session_id", sessions.present(*_SESSION))
    select = Select(messages, (*MESSAGE_COLUMNS, "created_at"), ("created_at", "id"), beside)

    def parse(row: dict[str, Any]) -> list[list[Item]]:
        session = {f: row.get(f"beside.{f}") for f in _SESSION}
        return [praisonai_message(row, session, naive, hidden)]

    return Chapter(messages.path, select, parse)
