"""OpenZess: sessions, messages and notes in SQLite or Postgres; personas on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog


def openzess_schemas(catalog: Catalog) -> list[str]:
    """Return the schemas that hold OpenZess's tables."""
    return [
        table.schema
        for table in catalog.named("messages")
        if table.has("id", "session_id", "role", "content")
        and not table.has("tool_call_id")  # PraisonAI's, whose prefix may be empty
        and (sessions := catalog.find("sessions", table.schema))
        and sessions.has("id", "title")
    ]


def _tables(catalog: Catalog) -> str | None:
    schemas = openzess_schemas(catalog)
    if not schemas:
        return None
    more = [t for t in ("notes", "personas", "mcp_servers") if catalog.find(t, schemas[0])]
    return f"the tables {', '.join(['sessions', 'messages', *more])}"


OPENZESS = System(
    name="openzess",
    opens=f"{__name__}.openzess_tables:openzess_history",
    options=("assume_tz", "personas"),
    erases=True,
    tables=Signature(6, _tables),
)
