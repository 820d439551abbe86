"""The sources by name. A source's module is imported when it is opened, not before."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from recall.errors import SourceUnreadable

if TYPE_CHECKING:
    from recall.sources import Source

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


def open_source(target: str, name: str | None = None, **options: Any) -> Source:
    """Return the history at `target`, of the named kind or of the one it is recognised as.

    `options` are the source's own, such as assume_tz; one that it does not know is refused.
    """
    if name is None:
        from recall.sources.recognition import recognise

        name = recognise(target).name
    opening = module_of(name).open_source
    known = [p for p in inspect.signature(opening).parameters if p != "target"]
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SourceUnreadable(f"The source {name} has no option {option}; {takes}.")
    source: Source = opening(target, **options)
    return source


def module_of(name: str) -> Any:
    """Return the module that reads the source `name`."""
    if name not in MODULES:
        raise SourceUnreadable(f"There is no source {name!r}; choose one of {', '.join(MODULES)}.")
    return importlib.import_module(f"recall.sources.{MODULES[name]}")
