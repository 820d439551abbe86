"""Tables in a MySQL or MariaDB database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from recall.contract.errors import SourceUnreadable
from recall.sources.catalog import Catalog, Column, Table
from recall.sources.reading.extras import extra
from recall.sources.tables.dialect import least

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recall.sources.tables.dialect import SourceDatabase

_COLUMNS = """
select table_name, column_name, data_type, is_nullable = 'YES'
from information_schema.columns where table_schema = database()
order by table_name, ordinal_position"""


@contextmanager
def open_mysql(url: str, origin: str) -> Iterator[SourceDatabase]:
    """Connect to `url`; `origin` names it where a person reads it.

    Raises SourceUnreadable when the server cannot be reached or a statement fails.
    """
    driver, cursors = extra("pymysql", "mysql"), extra("pymysql.cursors", "mysql")
    parts = urlsplit(url)
    try:
        opened = driver.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")),
            charset="utf8mb4",
            connect_timeout=15,
            autocommit=True,
        )
        try:
            yield Mysql(opened, cursors.SSCursor)
        finally:
            opened.close()
    except driver.MySQLError as error:
        raise SourceUnreadable(f"{origin} cannot be read: {error}.") from error


class Mysql:
    """An open connection."""

    placeholder = "%s"

    def __init__(self, connection: Any, unbuffered: Any) -> None:
        self._connection = connection
        self._unbuffered = unbuffered  # a buffered cursor would hold a page of any weight

    def quote(self, *names: str) -> str:
        """Return names as one identifier."""
        return ".".join(f"`{name.replace('`', '``')}`" for name in names).replace("%", "%%")

    def shown(self, column: Column, sql: str) -> str:
        """Return the column itself: the driver gives JSON as text and times as times."""
        return sql

    def sorting(self, column: Column, sql: str) -> str:
        """Return an order of `column` in which NULLs have their place."""
        return f"coalesce({sql}, {least(column)})" if column.nullable else sql

    @contextmanager
    def run(self, sql: str, values: Sequence[Any]) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Run one statement and give its rows one by one."""
        with self._connection.cursor(self._unbuffered) as cursor:
            cursor.execute(sql, tuple(values))
            yield iter(cursor)

    def catalog(self) -> Catalog:
        """Return what tables there are."""
        tables: dict[tuple[str, str], dict[str, Column]] = {}
        with self.run(_COLUMNS, ()) as rows:
            for table, column, kind, nullable in rows:
                tables.setdefault(("", table), {})[column] = Column(column, kind, bool(nullable))
        return Catalog([Table(*path, columns) for path, columns in tables.items()])

    def columns(self, table: str) -> dict[str, Column]:
        """Return the columns of a query in parentheses."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"select * from {table} q limit 0", ())
            return {c[0]: Column(c[0], "", nullable=False) for c in cursor.description}
