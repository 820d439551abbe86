"""The kinds of sources by name. A module is imported when its kind is opened, not before."""

from __future__ import annotations

import importlib
from typing import Any

from recall.errors import SourceUnreadable

#: The name on the command line and the module that reads it.
MODULES = {
    "openzess": "openzess",
    "chatkit": "chatkit",
    "openai": "openai_conversations",
    "openai-agents": "openai_agents",
    "moltnet": "moltnet",
    "praisonai": "praisonai",
    "chatgpt": "chatgpt",
    "claude": "claude",
    "langgraph": "langgraph",
    "jsonl": "jsonl",
    "sql": "sql",
}


def module_of(name: str) -> Any:
    """Return the module that reads the source `name`."""
    if name not in MODULES:
        raise SourceUnreadable(f"There is no source {name!r}; choose one of {', '.join(MODULES)}.")
    return importlib.import_module(f"recall.sources.{MODULES[name]}")
