"""Any tables, by a query whose columns are named as recall's: nobody has to wait for a source."""

from __future__ import annotations

from recall.sources.system import System

QUERIES = System(
    name="sql",
    opens=f"{__name__}.sql_query:sql_history",
    options=("query", "prefix", "assume_tz"),
    erases=True,
)
