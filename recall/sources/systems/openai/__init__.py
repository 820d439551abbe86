"""OpenAI: conversations of its API, listed by their ids, and sessions of its Agents SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.sources.system import Signature, System
from recall.sources.systems.openai.conversation_ids import listed_conversations

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog, Table
    from recall.sources.system import TextFile


def agent_tables(catalog: Catalog) -> list[Table]:
    """Return the tables of the SDK's items; their names are the app's choice."""
    return [t for t in catalog.tables if t.has("id", "session_id", "message_data")]


def _tables(catalog: Catalog) -> str | None:
    items = agent_tables(catalog)
    return f"items of sessions in {', '.join(table.path for table in items)}" if items else None


def _ids(target: str) -> str | None:
    listed = target.startswith(("conv_", '["conv_'))
    return "These are ids of OpenAI conversations." if listed else None


def _text(file: TextFile) -> str | None:
    # ChatGPT's and Claude's exports may speak of such ids as well.
    if b"conv_" not in file.start or b'"mapping"' in file.start or b"chat_messages" in file.start:
        return None
    listed = listed_conversations(str(file.path))
    return "The file lists ids of OpenAI conversations." if listed else None


#: No list of ids takes anything back: a browser's keeps the newest fifty, and the API answers alike
#: for a conversation that was deleted and for one of another key's project.
CONVERSATIONS = System(
    name="openai",
    opens=f"{__name__}.openai_conversations:openai_history",
    options=("api_key", "base_url", "include_hidden"),
    ids=Signature(1, _ids),
    text=Signature(2, _text),
)
AGENTS = System(
    name="openai-agents",
    opens=f"{__name__}.openai_agents:agents_history",
    options=("assume_tz", "include_hidden"),
    erases=True,
    tables=Signature(2, _tables),
)
