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

from recall.errors import SourceUnreadable
from recall.models import Message, Note
from recall.sources import Found
from recall.sources.clock import UNKNOWN, instant, zone
from recall.sources.content import flatten, mapping, name, parsed
from recall.sources.databases import connected, origin_of
from recall.sources.files import fingerprint
from recall.sources.rows import Step, digest, key_of, resumed, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from recall.sources import Position, Skipped
    from recall.sources.rows import Item
    from recall.sources.tables import Database

NAME = "sql"
FIELDS = ("session_id", "session_title", "role", "author", "user_id", "title", "category")
OWN = {*FIELDS, "key", "content", "created_at", "metadata", "kind"}
#: Rows a statement; the next one starts behind the last key.
PAGE = 5_000
_TABLE = re.compile(r"\bfrom\s+([\w.\"`]+)", re.IGNORECASE)


def open_source(
    target: str, *, query: str = "", prefix: str | None = None, assume_tz: str = "UTC"
) -> Query:
    """Return the rows of `query` at `target`; `prefix` stands in every key."""
    statement = query.strip().rstrip(";")
    if not re.match(r"(select|with|table|values)\b", statement, re.IGNORECASE):
        raise SourceUnreadable(
            "The source sql needs a query that selects at least `content`, such as "
            "query='select id as key, text as content from lines'."
        )
    return Query(target, statement, prefix, zone(assume_tz))


class Query:
    """A query; a position is the last key, or the number of rows of a query without keys."""

    name = NAME

    def __init__(self, target: str, query: str, prefix: str | None, naive: tzinfo) -> None:
        self.origin = origin_of(target)
        self._target = target
        self._query = query
        self._prefix = prefix or _prefix(self.origin, query)
        self._naive = naive

    def count(self) -> int:
        """Return the number of rows of the query."""
        with (
            connected(self._target) as database,
            database.run(f"select count(*) from ({self._plain(database)}) q", ()) as rows,
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
        return None if "://" in self.origin else fingerprint(self.origin)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all rows that are there now."""
        for item in self.read():
            if isinstance(item, Found) and item.memory.key is not None:
                yield item.memory.key

    def _steps(self, after: Position | None) -> Iterator[Step]:
        with connected(self._target) as database:
            columns = database.columns(self._plain(database))
            if "content" not in columns:
                raise SourceUnreadable(
                    f"The query has no column `content`; it has {', '.join(columns)}."
                )
            reading = self._by_key if "key" in columns else self._by_number
            yield from reading(database, columns, after)

    def _by_key(
        self, database: Database, columns: list[str], after: Position | None
    ) -> Iterator[Step]:
        key, inner = database.quote("key"), self._plain(database)
        at = columns.index("key")
        while True:
            behind = f" where q.{key} > {database.mark}" if after is not None else ""
            # Rows without a key come first, and only once: no key is behind NULL.
            first = f" where q.{key} is null" if after is None else behind
            values = () if after is None else (after,)
            yield from []
            with database.run(
                f"select * from ({inner}) q{first} order by q.{key} limit {PAGE}", values
            ) as rows:
                page = list(rows)
            for row in page:
                after = row[at]
                yield Step(_position(after), [self._row(dict(zip(columns, row, strict=True)))])
            if len(page) < PAGE:
                return

    def _by_number(
        self, database: Database, columns: list[str], after: Position | None
    ) -> Iterator[Step]:
        with database.run(self._plain(database), ()) as rows:
            for number, row in enumerate(rows, 1):
                if number > (after or 0):
                    yield Step(number, [self._row(dict(zip(columns, row, strict=True)))])
