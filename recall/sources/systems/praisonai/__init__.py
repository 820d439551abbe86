"""PraisonAI: conversation stores in SQLite, Postgres or MySQL, and its session files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.sources.reading.content import mapping, parsed
from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from pathlib import Path

    from recall.sources.catalog import Catalog, Table
    from recall.sources.system import TextFile

#: Columns of a table of messages, beside the time.
MESSAGE_COLUMNS = (
    "id",
    "session_id",
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "metadata",
)
#: Lies beside the sessions of a JSONConversationStore.
INDEX = "_sessions_index.json"


def conversation_tables(catalog: Catalog) -> list[tuple[Table, Table]]:
    """Return each table of messages with its table of sessions; the prefix is the user's choice."""
    pairs = []
    for table in catalog.tables:
        if table.name.endswith("messages") and table.has(*MESSAGE_COLUMNS, "created_at"):
            other = f"{table.name.removesuffix('messages')}sessions"
            sessions = catalog.find(other, table.schema)
            if sessions and sessions.has("session_id", "agent_id"):
                pairs.append((table, sessions))
    return pairs


def session_tables(catalog: Catalog) -> list[Table]:
    """Return tables of `sessions.db`, where a row is a whole session as JSON."""
    columns = ("session_id", "data", "agent_name")
    return [table for table in catalog.named("sessions") if table.has(*columns)]


def is_session(data: dict[str, Any]) -> bool:
    """Return whether a JSON object is a session of one of PraisonAI's stores."""
    return isinstance(data.get("messages"), list) and ("session_id" in data or "session" in data)


def session_files(folder: Path) -> list[Path]:
    """Return the files of `folder` that may be sessions."""
    return [path for path in folder.glob("*.json") if path.name != INDEX]


def _tables(catalog: Catalog) -> str | None:
    pairs, sessions = conversation_tables(catalog), session_tables(catalog)
    paths = [table.path for table, _ in pairs] + [table.path for table in sessions]
    return f"PraisonAI's {', '.join(paths)}" if paths else None


def _folder(folder: Path) -> str | None:
    if (folder / INDEX).is_file():
        return f"The folder has PraisonAI's {INDEX}."
    for file in sorted(session_files(folder))[:20]:
        if is_session(mapping(parsed(file.read_bytes()))):
            return f"The folder has sessions of PraisonAI ({file.name})."
    return None


def _text(file: TextFile) -> str | None:
    if not (file.is_json and (b'"messages"' in file.start or b'"session_id"' in file.start)):
        return None
    whole = mapping(parsed(file.path.read_bytes()))
    return "The JSON is a session of PraisonAI." if is_session(whole) else None


PRAISONAI = System(
    name="praisonai",
    opens=f"{__name__}.praisonai_tables:praisonai_history",
    options=("assume_tz", "include_hidden"),
    erases=True,
    tables=Signature(1, _tables),
    folder=Signature(2, _folder),
    text=Signature(4, _text),
)
