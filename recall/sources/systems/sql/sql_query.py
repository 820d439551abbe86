"""Any tables, by a query whose columns are named as recall's: nobody has to wait for a source.

    select id as key, thread as session_id, sender as role, body as content, sent as created_at
    from chat_lines

`content` is required. With `session_id` a row is a message (`role` is "user" when not given), else
a note. Also known: author, user_id, title, session_title, category, metadata (JSON). All other
columns go into the metadata. Keys are `sql:PREFIX:KEY`, the prefix being what `prefix` says or the
name of the database and the first table; without a column `key`, the hash of the row.

With a `key` the rows are read in its order and from any key on. Without one the query is run as it
stands, once for each reading, and must order its rows itself.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.sources.catalog import Table
from recall.sources.reading.clock import UNKNOWN, instant, zone
from recall.sources.reading.content import flatten, mapping, name
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.rows import LONGEST_KEY, Skip, bounded, items_of, short_hash
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.sql import QUERIES
from recall.sources.tables import pages
from recall.sources.tables.databases import connected, origin_of
from recall.sources.tables.pages import Select

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped
    from recall.sources.tables.dialect import SourceDatabase

_FIELDS = ("session_id", "session_title", "role", "author", "user_id", "title", "category")
_OWN = {*_FIELDS, "key", "content", "created_at", "metadata", "kind"}
_TABLE = re.compile(r"\bfrom\s+([\w.\"`]+)", re.IGNORECASE)


def sql_history(
    target: str, *, query: str = "", prefix: str | None = None, assume_tz: str = "UTC"
) -> QueryRows:
    """Return the rows of `query` at `target`; `prefix` stands in every key.

    Raises SourceUnreadable when `query` is no query.
    """
    statement = query.strip().rstrip(";")
    if not re.match(r"(select|with|table|values)\b", statement, re.IGNORECASE):
        raise SourceUnreadable(
            "The source sql needs a query that selects at least `content`, such as "
            "query='select id as key, text as content from lines'."
        )
    return QueryRows(target, statement, prefix, zone(assume_tz))


class QueryRows:
    """A query; a position is the last key, or the number of rows of a query without keys."""

    system = QUERIES

    def __init__(self, target: str, query: str, prefix: str | None, naive: tzinfo) -> None:
        database = origin_of(target)
        self._file = None if "://" in database else database
        self._target = target
        self._query = query
        self._prefix = prefix or _prefix(database, query)
        # Two queries of one database are two sources, with positions and memories of their own.
        self.origin = f"{database}#{self._prefix}"
        self._naive = naive

    def count(self) -> int:
        """Return the number of rows of the query."""
        with (
            connected(self._target) as database,
            database.run(f"select count(*) from {self._plain(database)} q", ()) as rows,
        ):
            return int(next(rows)[0])

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every row behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the start: of a query nobody knows what may come late."""
        return None

    def fingerprint(self) -> str | None:
        """Return what changes with an SQLite file; other systems must be asked for rows."""
        return file_fingerprint(self._file) if self._file else None

    def ids(self) -> Iterator[str]:
        """Yield the keys of all rows that are there now."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        with connected(self._target) as database:
            table = Table(
                "", "query", database.columns(self._plain(database)), self._plain(database)
            )
            if not table.has("content"):
                shown = ", ".join(table.columns)
                raise SourceUnreadable(f"The query has no column `content`; it has {shown}.")
            yield from (self._by_key if table.has("key") else self._by_number)(
                database, table, after
            )

    def _by_key(
        self, database: SourceDatabase, table: Table, after: Position | None
    ) -> Iterator[Step]:
        if after is None:
            # No order puts NULL before every key in all systems; these rows are only counted.
            nameless = f"select count(*) from {table.sql} q where q.{database.quote('key')} is null"
            with database.run(nameless, ()) as rows:
                number = int(next(rows)[0])
            yield Step([], [[Skip(Reason.NO_KEY, self._prefix)] for _ in range(number)])
        select = Select(table, tuple(table.columns), ("key",))
        for record in pages.read_rows(database, select, after or None):
            if record.values["key"] is not None:
                yield Step(record.stand, [self._row(record.values)])

    def _by_number(
        self, database: SourceDatabase, table: Table, after: Position | None
    ) -> Iterator[Step]:
        with database.run(f"select * from {table.sql} q", ()) as rows:
            for number, row in enumerate(rows, 1):
                if number > (after or 0):
                    values = dict(zip(table.columns, row, strict=True))
                    yield Step(number, [self._row(values)])

    def _plain(self, database: SourceDatabase) -> str:
        """Return the query as a table; a percent sign in it is no placeholder."""
        query = self._query if database.placeholder == "?" else self._query.replace("%", "%%")
        return f"({query}\n)"

    def _row(self, row: dict[str, Any]) -> list[Item]:
        own = {field: name(row.get(field)) for field in _FIELDS}
        kind = name(row.get("kind")) or ("message" if own["session_id"] else "note")
        time = instant(row.get("created_at"), self._naive)
        more = {column: value for column, value in row.items() if column not in _OWN}
        metadata = {
            "source": QUERIES.name,
            "time_estimated": time is None or None,
            **more,
            **mapping(row.get("metadata")),
        }
        key = name(row.get("key")) or short_hash({c: str(v) for c, v in row.items()})
        common = {
            "user_id": own["user_id"],
            "created_at": time or UNKNOWN,
            "metadata": metadata,
        }
        where = bounded(f"{QUERIES.name}:{self._prefix}:{key}", LONGEST_KEY)
        content = flatten(row.get("content"))
        if kind == "note":
            titles = {"title": own["title"], "category": own["category"]}
            return items_of(Note, where, content, **titles, **common)
        return items_of(
            Message,
            where,
            content,
            session_id=own["session_id"] or QUERIES.name,
            session_title=own["session_title"] or own["title"],
            role=own["role"] or "user",
            author=own["author"],
            **common,
        )


def _prefix(origin: str, query: str) -> str:
    """Return the names of the database and of the first table: where rows of a query belong."""
    match = _TABLE.search(query)
    table = re.sub(r'["`]', "", match[1]) if match else "query"
    return f"{PurePath(origin).stem}.{table}"
