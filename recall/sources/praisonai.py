"""PraisonAI: conversation stores in SQLite, Postgres or MySQL, and its session files.

Keys are `praisonai:SESSION/HASH`, the hash of role, content and time: `import_session` gives every
message a new id, session files have none, and both would double what is known. The same turn in a
table and in a file is one memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.models import Message
from recall.sources.chapters import Chapter, TableSource
from recall.sources.clock import UNKNOWN, instant, zone
from recall.sources.content import (
    call,
    compact,
    flatten,
    joined,
    listing,
    mapping,
    name,
    parsed,
    words,
)
from recall.sources.databases import is_url
from recall.sources.rows import Skip, digest, key_of, tell
from recall.sources.tables import Beside, Select

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from recall.sources import Source
    from recall.sources.catalog import Catalog, Table
    from recall.sources.rows import Item
    from recall.sources.tables import Database

NAME = "praisonai"
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
    from recall.sources import praisonai_sessions as sessions

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


def turn(row: dict[str, Any], session: dict[str, Any], naive: tzinfo, hidden: bool) -> list[Item]:
    """Return one message of a store or of a session file as a memory."""
    session_id = name(row.get("session_id")) or NAME
    role = words(row.get("role")) or "user"
    written = row.get("created_at") or row.get("timestamp")
    time = instant(written, naive)
    text, facts = _text(row)
    key = key_of(NAME, session_id, _identity(row, role, time))
    metadata = mapping(row.get("metadata"))
    if metadata.get("compaction"):
        return [Skip("summary", key)]
    if role in {"system", "developer"} and not hidden:
        return [Skip("system prompt", key)]
    title = name(session.get("name"))
    return tell(
        Message,
        key,
        text,
        session_id=session_id,
        session_title=None if title == f"Session {session_id}" else title,
        role=role,
        author=name(session.get("agent_id")) if role == "assistant" else None,
        # Its word for "nobody said who"
        user_id=None if session.get("user_id") == "default" else name(session.get("user_id")),
        created_at=time or instant(session.get("created_at"), naive) or UNKNOWN,
        metadata={
            "source": NAME,
            **facts,
            "id": name(row.get("id")),
            "agent": name(session.get("agent_id")),
            "time_estimated": time is None or None,
        },
    )


def _identity(row: dict[str, Any], role: str, time: datetime | None) -> str:
    """Return what two copies of a message share, whoever gave them their ids."""
    if time is None and row.get("id"):
        return words(row["id"])  # without a time, equal turns of a session would be one
    micros = round(time.timestamp() * 1e6) if time else 0
    return digest(role, row.get("content") or listing(row.get("tool_calls")), micros)


def _text(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text of a turn and what is known of the tool in it, in all three encodings."""
    content = row.get("content")
    calls = [c for c in listing(row.get("tool_calls")) if isinstance(c, dict)]
    if calls:
        functions = [mapping(c.get("function")) or c for c in calls]
        lines = [call(f.get("name"), f.get("arguments")) for f in functions]
        named = [words(f.get("name")) for f in functions]
        ids = [words(c.get("id")) for c in calls]
        return joined(flatten(content), *lines), {"tool": ", ".join(named), "call_id": ids}
    if row.get("role") == "tool":
        told = parsed(content) if words(content).lstrip().startswith("{") else None
        tool = name(mapping(row.get("metadata")).get("tool_name"))
        facts = {"tool": tool, "call_id": name(row.get("tool_call_id"))}
        if isinstance(told, dict) and "tool" in told:
            line = call(told["tool"], told.get("args"))
            return joined(line, compact(told.get("result"))), {**facts, "tool": told["tool"]}
        return flatten(content), facts
    return flatten(content), {}
