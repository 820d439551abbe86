"""Rows of a table by named columns, page by page, in an order that a second reading repeats.

A page is one short statement: a source that is alive is never kept waiting, and no transaction
stays open while recall writes. The next page starts behind the last row's order values (its
stand), and so does a reading that goes on tomorrow.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from recall.sources.reading.clock import earlier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from recall.sources.tables.catalog import Catalog, Column, Table

#: A page grows while its rows are small: without an index each page costs a scan.
FIRST_PAGE, LARGEST_PAGE = 500, 20_000
#: Bytes of text after which a page ends early: one message of 5 MB is not rare.
PAGE_BYTES = 8 << 20
#: How far `rewind` goes back: rows of a serial id, seconds of a time.
ROWS_BACK, SECONDS_BACK = 1_000, 60


class Beside(NamedTuple):
    """Columns of another table's row, read as `beside.COLUMN`: one that `key` = `by` finds."""

    table: Table
    key: str
    by: str
    columns: tuple[str, ...]


class Select(NamedTuple):
    """Which columns of a table to read, and in which order.

    Of several columns of `order` the first may be NULL, and such rows come first. Rows that agree
    in all of them keep an order of the database's own.
    """

    table: Table
    columns: tuple[str, ...]
    order: tuple[str, ...]
    beside: Beside | None = None


class Record(NamedTuple):
    """A row by its columns' names, and the stand behind it."""

    values: dict[str, Any]
    stand: list[Any]


class Database(Protocol):
    """An open database of one system: how it quotes, and how it runs a statement."""

    mark: str

    def quote(self, *names: str) -> str:
        """Return names as one identifier."""

    def shown(self, column: Column, sql: str) -> str:
        """Return the expression that reads `column` as a plain number or text."""

    def sorting(self, column: Column, sql: str) -> str:
        """Return the expression that orders by `column` and is never NULL."""

    def run(
        self, sql: str, values: Sequence[Any]
    ) -> AbstractContextManager[Iterator[tuple[Any, ...]]]:
        """Run one read-only statement and give its rows one by one."""

    def catalog(self) -> Catalog:
        """Return what tables there are."""

    def columns(self, table: str) -> dict[str, Column]:
        """Return the columns of a query in parentheses."""


def count(database: Database, table: Table) -> int:
    """Return the number of rows of `table`."""
    with database.run(f"select count(*) from {_path(database, table)}", ()) as rows:
        return int(next(rows)[0])


def read(database: Database, select: Select, after: list[Any] | None) -> Iterator[Record]:
    """Yield the rows behind the stand `after` in the select's order, those without a time first."""
    first = select.table.columns[select.order[0]]
    if len(select.order) > 1 and first.nullable and (after is None or after[0] is None):
        yield from _phase(database, select, after, timeless=True)
        after = None
    yield from _phase(database, select, after, timeless=False)


def rewind(stand: list[Any]) -> list[Any] | None:
    """Return a stand somewhat earlier; None, the start, when rows without a time come last."""
    first = stand[0]
    if first is None or isinstance(first, dict):
        return None
    if len(stand) == 1:
        return [first - ROWS_BACK] if isinstance(first, int) else None
    return [earlier(first, SECONDS_BACK)]


def least(column: Column) -> str:
    """Return the SQL of what stands for NULL in an order."""
    return "-1" if column.number else "''"


def _path(database: Database, table: Table) -> str:
    if table.sql:
        return table.sql
    return database.quote(*([table.schema] if table.schema else []), table.name)


def _phase(
    database: Database, select: Select, after: list[Any] | None, timeless: bool
) -> Iterator[Record]:
    size = FIRST_PAGE
    while True:
        sql, values = _statement(database, select, after, timeless)
        page: list[Record] = []
        weight = 0
        with database.run(f"{sql} limit {size}", values) as rows:
            for row in rows:
                page.append(_record(select, row, timeless))
                weight += sum(len(value) for value in row if isinstance(value, str | bytes))
                if weight > PAGE_BYTES:
                    break
        yield from page
        if len(page) < size and weight <= PAGE_BYTES:
            return
        after = page[-1].stand
        size = min(size * 2, LARGEST_PAGE) if weight < PAGE_BYTES // 2 else max(size // 2, 10)


def _record(select: Select, row: tuple[Any, ...], timeless: bool) -> Record:
    names = [*select.columns]
    if select.beside:
        names += [f"beside.{name}" for name in select.beside.columns]
    stand = [_plain(value) for value in row[len(names) :]]
    values = dict(zip(names, row, strict=False))
    return Record(values, [None, *stand] if timeless else stand)


def _plain(value: Any) -> Any:
    """Return an order value as JSON can carry it; SQLite lets any column hold bytes."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    return value if isinstance(value, int | float | str) else str(value)


def _bound(value: Any) -> Any:
    """Return an order value as the database gave it."""
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"]) if "bytes" in value else float(value["float"])
    return value


def _statement(
    database: Database, select: Select, after: list[Any] | None, timeless: bool
) -> tuple[str, list[Any]]:
    columns = select.table.columns
    quoted = {name: f"t.{database.quote(name)}" for name in columns}
    shown = [database.shown(columns[name], quoted[name]) for name in select.columns]
    if select.beside:
        shown += _beside(database, select.beside, quoted)
    order = select.order[1:] if timeless else select.order
    sorts = [_sort(database, select, name) for name in order]
    stands = [
        database.shown(columns[name], sql) if sql == quoted[name] else sql
        for name, sql in zip(order, sorts, strict=True)
    ]
    if select.table.tie:
        sorts, stands = [*sorts, select.table.tie], [*stands, select.table.tie]
    conditions: list[str] = []
    values: list[Any] = []
    if timeless:
        conditions.append(f"{quoted[select.order[0]]} is null")
    elif len(order) > 1 and columns[order[0]].nullable:
        conditions.append(f"{quoted[order[0]]} is not null")
    stand = after[1:] if timeless and after else after
    written = len(order) > 1 and not timeless and sorts[0] != quoted[order[0]]
    if stand and written and isinstance(stand[0], str):
        # The order of a written time is an expression; its first 19 characters use an index.
        conditions.append(f"{quoted[order[0]]} >= substr({database.mark}, 1, 19)")
        values.append(stand[0])
    if stand:
        # A stand that was rewound names only the first value, and means all from there on.
        whole = len(stand) == len(sorts)
        sides = ", ".join(sorts[: len(stand)]), ", ".join([database.mark] * len(stand))
        conditions.append(f"({sides[0]}) {'>' if whole else '>='} ({sides[1]})")
        values += map(_bound, stand)
    sql = f"select {', '.join(shown + stands)} from {_path(database, select.table)} t"
    if conditions:
        sql += f" where {' and '.join(conditions)}"
    return f"{sql} order by {', '.join(sorts)}", values


def _sort(database: Database, select: Select, name: str) -> str:
    column = select.table.columns[name]
    if name == select.order[0] and len(select.order) > 1:
        column = replace(column, nullable=False)  # its NULLs are a phase of their own
    return database.sorting(column, f"t.{database.quote(name)}")


def _beside(database: Database, beside: Beside, quoted: dict[str, str]) -> list[str]:
    """Return a subquery a column: unlike a join, it cannot give a row twice."""
    found = f"from {_path(database, beside.table)} b where b.{database.quote(beside.key)}"
    return [
        f"(select {database.shown(beside.table.columns[name], f'b.{database.quote(name)}')} "
        f"{found} = {quoted[beside.by]} limit 1)"
        for name in beside.columns
    ]
