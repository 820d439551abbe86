"""The kinds of sources by name. A module is imported when its kind is opened, not before."""

from __future__ import annotations

import importlib
from typing import Any

from recall.contract.errors import SourceUnreadable

#: The name on the command line and the module that reads it.
MODULES = {
    "openzess": "openzess.openzess_tables",
    "chatkit": "chatkit.chatkit_tables",
    "openai": "openai.openai_conversations",
    "openai-agents": "openai.openai_agents",
    "moltnet": "moltnet.moltnet_tables",
    "praisonai": "praisonai.praisonai_tables",
    "chatgpt": "exports.chatgpt",
    "claude": "exports.claude",
    "langgraph": "langgraph.checkpoints",
    "jsonl": "jsonl.json_lines",
    "sql": "sql.sql_query",
}


def module_of(name: str) -> Any:
    """Return the module that reads the source `name`."""
    if name not in MODULES:
        raise SourceUnreadable(f"There is no source {name!r}; choose one of {', '.join(MODULES)}.")
    return importlib.import_module(f"recall.sources.systems.{MODULES[name]}")
