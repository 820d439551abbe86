"""Tables in a Postgres database, of any schema that may be read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from recall.base.connecting import server_words
from recall.contract.errors import SourceUnreadable
from recall.sources.catalog import Catalog, Column, Table
from recall.sources.tables.dialect import least

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recall.sources.tables.dialect import SourceDatabase

#: Rows fetched at once from a page: few enough to hold when each of them carries an image.
_FETCHED = 250

#: Types that arrive as number or text as they are.
_NATIVE = {"real", "double precision", "float4", "float8", "text", "bytea"}

_COLUMNS = """
select n.nspname, c.relname, a.attname, format_type(a.atttypid, null), not a.attnotnull,
  c.relkind = 'r' and not exists (select from pg_index where indrelid = c.oid and indisprimary)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n
on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0
and not a.attisdropped and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
order by 1, 2, a.attnum"""


@contextmanager
def open_postgres(url: str, origin: str) -> Iterator[SourceDatabase]:
    """Connect to `url`; `origin` names it where a person reads it.

    Raises SourceUnreadable when the server cannot be reached or a statement fails.
    """
    try:
        with psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=15,
            prepare_threshold=None,  # behind a pooler the next statement has another server process
            application_name="recall",
        ) as opened:
            yield Postgres(opened)
    except (psycopg.Error, UnicodeError) as error:
        raise SourceUnreadable(f"{origin} cannot be read: {server_words(error)}.") from error


class Postgres:
    """An open connection."""

    placeholder = "%s"

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def quote(self, *names: str) -> str:
        """Return names as one identifier."""
        quoted = ".".join('"' + name.replace('"', '""') + '"' for name in names)
        return quoted.replace("%", "%%")

    def shown(self, column: Column, sql: str) -> str:
        """Return the column as number or text: as text, no value is beyond what Python can hold.

        Not an infinite time, and not the NUL in a JSON that `::jsonb` would refuse.
        """
        native = column.whole or column.type in _NATIVE
        return sql if native else f"{sql}::text"

    def sorting(self, column: Column, sql: str) -> str:
        """Return an order of `column` in which NULLs have their place."""
        if not column.nullable:
            return sql
        known = column.number or column.type in {"text", "character varying"}
        return f"coalesce({sql}, {least(column)})" if known else f"coalesce({sql}::text, '')"

    @contextmanager
    def run(self, sql: str, values: Sequence[Any]) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Run one statement in a transaction of its own and give its rows one by one."""
        with self._connection.transaction(), self._connection.cursor(name="recall") as cursor:
            self._connection.execute("set transaction read only")
            self._connection.execute("set local timezone to 'UTC'")
            cursor.itersize = _FETCHED
            # The statement is made of names that the catalog gave, quoted, and of placeholders.
            cursor.execute(sql.encode(), values)
            yield iter(cursor)

    def catalog(self) -> Catalog:
        """Return what tables there are."""
        tables: dict[tuple[str, str], Table] = {}
        with self.run(_COLUMNS, ()) as rows:
            for schema, name, column, kind, nullable, keyless in rows:
                # Where no key tells rows apart, their places in the table do.
                tie = "t.ctid::text" if keyless else None
                table = tables.setdefault((schema, name), Table(schema, name, {}, tie=tie))
                table.columns[column] = Column(column, kind, nullable)
        return Catalog([*tables.values()])

    def columns(self, table: str) -> dict[str, Column]:
        """Return the columns of a query in parentheses."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"select * from {table} q limit 0".encode(), ())
            return {
                c.name: Column(c.name, c.type_display, nullable=False)
                for c in cursor.description or ()
            }
