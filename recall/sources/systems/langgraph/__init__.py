"""LangGraph: the messages of each thread's newest checkpoint, in Postgres or SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog


def _tables(catalog: Catalog) -> str | None:
    checkpoints = catalog.named("checkpoints")
    fitting = [t for t in checkpoints if t.has("thread_id", "checkpoint_ns", "checkpoint_id")]
    return "checkpoints of threads" if fitting else None


LANGGRAPH = System(
    name="langgraph",
    opens=f"{__name__}.checkpoints:langgraph_history",
    options=("channel", "include_hidden"),
    erases=True,
    tables=Signature(4, _tables),
)
