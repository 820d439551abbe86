"""ChatKit, self-hosted: threads and items in a layout that each app made up for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from recall.sources.catalog import Catalog, Table

JSON_COLUMNS = ("data", "json", "item_json", "value", "serialized_data", "content")
_THREAD_TABLES = ("threads", "chatkit_threads")


def item_tables(catalog: Catalog) -> list[Table]:
    """Return the tables of items, in any schema, whatever their columns are called."""
    return [
        table
        for table in catalog.tables
        if "item" in table.name
        and table.has("id", "thread_id")
        and table.first(*JSON_COLUMNS)
        and thread_table(catalog, table)
    ]


def thread_table(catalog: Catalog, items: Table) -> Table | None:
    """Return the table of the threads that a table of items belongs to."""
    # chatkit_items belongs to chatkit_threads where an app has `threads` of its own as well.
    own = items.name.replace("thread_items", "threads").replace("items", "threads")
    named = (catalog.find(name, items.schema) for name in (own, *_THREAD_TABLES))
    return next((table for table in named if table and table.has("id")), None)


def _tables(catalog: Catalog) -> str | None:
    items = item_tables(catalog)
    return f"thread items in {', '.join(table.path for table in items)}" if items else None


CHATKIT = System(
    name="chatkit",
    opens=f"{__name__}.chatkit_tables:chatkit_history",
    options=("assume_tz", "include_hidden"),
    erases=True,
    tables=Signature(5, _tables),
)
