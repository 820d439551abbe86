"""Tables in an SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.catalog import Catalog, Column, Table
from recall.sources.tables.dialect import least

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recall.sources.tables.dialect import SourceDatabase


@contextmanager
def open_sqlite(path: Path) -> Iterator[SourceDatabase]:
    """Open the file for reading; raises SourceUnreadable when it cannot be read."""
    if not path.is_file():
        raise SourceUnreadable(f"There is no file {path}.")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    try:
        try:
            connection.execute("select 1 from sqlite_master").fetchall()
        except sqlite3.OperationalError:
            # A WAL database in a folder that must not be written to opens only like this.
            connection.close()
            connection = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
        # Bytes that are no UTF-8 spoil a word, not the reading.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        yield Sqlite(connection)
    except sqlite3.Error as error:
        raise SourceUnreadable(f"{path} cannot be read as an SQLite database: {error}.") from error
    finally:
        connection.close()


class Sqlite:
    """An open file."""

    placeholder = "?"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def quote(self, *names: str) -> str:
        """Return names as one identifier."""
        return ".".join('"' + name.replace('"', '""') + '"' for name in names)

    def shown(self, column: Column, sql: str) -> str:
        """Return the column itself: SQLite has only numbers, text and bytes."""
        return sql

    def sorting(self, column: Column, sql: str) -> str:
        """Return an order of `column` in which NULLs and Go's times have their place."""
        if _written_time(column):
            # Go drops a fraction's trailing zeros, so that RFC 3339 text sorts wrongly.
            fraction = f"case substr({sql}, 20, 1) when '.' then rtrim(substr({sql}, 20), 'Z')"
            padded = f"substr({fraction} else '.' end || '000000000', 1, 10)"
            long = f"substr({sql}, 1, 19) || {padded}"
            return f"case when length({sql}) < 19 then {sql} else {long} end"
        return f"coalesce({sql}, {least(column)})" if column.nullable else sql

    @contextmanager
    def run(self, sql: str, values: Sequence[Any]) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Run one statement and give its rows one by one."""
        cursor = self._connection.execute(sql, values)
        try:
            yield cursor
        finally:
            cursor.close()

    def catalog(self) -> Catalog:
        """Return what tables there are."""
        listed = "select name, type, sql from sqlite_master where type in ('table', 'view')"
        tables = []
        for name, kind, sql in self._connection.execute(listed).fetchall():
            info = self._connection.execute(f"pragma table_info({self.quote(name)})").fetchall()
            columns = {c[1]: Column(c[1], c[2], not (c[3] or _is_rowid(c))) for c in info}
            # A single integer key tells rows apart by itself, and is what an index is on.
            numbered = any(_is_rowid(column) for column in info)
            has_rowid = kind == "table" and "without rowid" not in (sql or "").lower()
            tie = "t.rowid" if has_rowid and not numbered else None
            tables.append(Table("", name, columns, tie=tie))
        return Catalog(tables)

    def columns(self, table: str) -> dict[str, Column]:
        """Return the columns of a query in parentheses; SQLite's values bring their own types."""
        described = self._connection.execute(f"select * from {table} q limit 0").description
        return {c[0]: Column(c[0], "", nullable=False) for c in described}


def _is_rowid(column: tuple[Any, ...]) -> bool:
    # Any other primary key may hold NULL in SQLite.
    return bool(column[5] == 1 and column[2].upper() == "INTEGER")


def _written_time(column: Column) -> bool:
    text = any(word in column.type.upper() for word in ("CHAR", "TEXT", "CLOB"))
    return text and column.name.endswith(("_at", "time", "timestamp"))
