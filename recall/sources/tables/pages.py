"""Rows of a table by named columns, page by page, in an order that a second reading repeats.

A page is one short statement: a source that is alive is never kept waiting, and no transaction
stays open while recall writes. The next page starts behind the last row's order values (its
stand), and so does a reading that goes on tomorrow.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.sources.reading.clock import earlier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.sources.catalog import Table
    from recall.sources.tables.dialect import SourceDatabase

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


def count(database: SourceDatabase, table: Table) -> int:
    """Return the number of rows of `table`."""
    with database.run(f"select count(*) from {_path(database, table)}", ()) as rows:
        return int(next(rows)[0])


def read_rows(
    database: SourceDatabase, select: Select, after: list[Any] | None
) -> Iterator[Record]:
    """Yield the rows behind the stand `after` in the select's order, those without a time first."""
    for phase in _phases(database, select):
        if after is None or phase.holds(after):
            yield from _pages(database, select, phase, after)
            after = None


def rewind(stand: list[Any]) -> list[Any] | None:
    """Return a stand somewhat earlier; None, the start, when rows without a time come last."""
    first = stand[0]
    if first is None or isinstance(first, dict):
        return None
    if len(stand) == 1:
        return [first - ROWS_BACK] if isinstance(first, int) else None
    return [earlier(first, SECONDS_BACK)]


class SortKey(NamedTuple):
    """A value that rows are ordered by: the SQL to sort by, and the SQL of what a stand keeps."""

    sort: str  # never NULL
    shown: str


class Phase(NamedTuple):
    """Rows that are read in one order.

    A NULL is neither before nor behind any value, so that rows whose first order value may be NULL
    are read in two phases: at first those where it is, ordered by the other values, whose stands
    begin with None; then the others.
    """

    orders: tuple[SortKey, ...]
    condition: str = ""
    undated: bool = False
    #: A column of written times, whose order is an expression that no index has.
    indexed: str | None = None

    def holds(self, stand: list[Any]) -> bool:
        """Return whether the row of `stand` is one of the phase."""
        return (stand[0] is None) == self.undated


def _phases(database: SourceDatabase, select: Select) -> list[Phase]:
    orders = [_sort_key(database, select, name) for name in select.order]
    if select.table.tie:
        orders.append(SortKey(select.table.tie, select.table.tie))
    first = select.table.columns[select.order[0]]
    column = f"t.{database.quote(first.name)}"
    several = len(select.order) > 1
    indexed = column if several and orders[0].sort != column else None
    if not (several and first.nullable):
        return [Phase(tuple(orders), indexed=indexed)]
    return [
        Phase(tuple(orders[1:]), f"{column} is null", undated=True),
        Phase(tuple(orders), f"{column} is not null", indexed=indexed),
    ]


def _sort_key(database: SourceDatabase, select: Select, name: str) -> SortKey:
    column, sql = select.table.columns[name], f"t.{database.quote(name)}"
    sorted_as = column
    if name == select.order[0] and len(select.order) > 1:
        sorted_as = replace(column, nullable=False)  # its NULLs are a phase of their own
    sort = database.sorting(sorted_as, sql)
    return SortKey(sort, database.shown(column, sql) if sort == sql else sort)


def _pages(
    database: SourceDatabase, select: Select, phase: Phase, after: list[Any] | None
) -> Iterator[Record]:
    size = FIRST_PAGE
    while True:
        sql, values = _statement(database, select, phase, after)
        page: list[Record] = []
        weight = 0
        with database.run(f"{sql} limit {size}", values) as rows:
            for row in rows:
                page.append(_record(select, row, phase))
                weight += sum(len(value) for value in row if isinstance(value, str | bytes))
                if weight > PAGE_BYTES:
                    break
        yield from page
        if len(page) < size and weight <= PAGE_BYTES:
            return
        after = page[-1].stand
        size = min(size * 2, LARGEST_PAGE) if weight < PAGE_BYTES // 2 else max(size // 2, 10)


def _record(select: Select, row: tuple[Any, ...], phase: Phase) -> Record:
    names = [*select.columns]
    if select.beside:
        names += [f"beside.{name}" for name in select.beside.columns]
    stand = [_plain(value) for value in row[len(names) :]]
    values = dict(zip(names, row[: len(names)], strict=True))
    return Record(values, [None, *stand] if phase.undated else stand)


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
    database: SourceDatabase, select: Select, phase: Phase, after: list[Any] | None
) -> tuple[str, list[Any]]:
    """Return the statement of the page behind the stand `after`, and its values."""
    conditions, values = ([phase.condition] if phase.condition else []), list[Any]()
    stand = (after or [])[phase.undated :]
    if stand and phase.indexed and isinstance(stand[0], str):
        # The first 19 characters of a written time, up to its seconds, do use an index.
        conditions.append(f"{phase.indexed} >= substr({database.placeholder}, 1, 19)")
        values.append(stand[0])
    if stand:
        # A stand that was rewound names only the first value, and means all from there on.
        whole = len(stand) == len(phase.orders)
        sides = (
            ", ".join(order.sort for order in phase.orders[: len(stand)]),
            ", ".join([database.placeholder] * len(stand)),
        )
        conditions.append(f"({sides[0]}) {'>' if whole else '>='} ({sides[1]})")
        values += map(_bound, stand)
    shown = [*_shown(database, select), *(order.shown for order in phase.orders)]
    sql = f"select {', '.join(shown)} from {_path(database, select.table)} t"
    if conditions:
        sql += f" where {' and '.join(conditions)}"
    return f"{sql} order by {', '.join(order.sort for order in phase.orders)}", values


def _shown(database: SourceDatabase, select: Select) -> Iterator[str]:
    """Yield the SQL of each column that is read."""
    columns = select.table.columns
    for name in select.columns:
        yield database.shown(columns[name], f"t.{database.quote(name)}")
    if select.beside:
        yield from _beside(database, select.beside)


def _beside(database: SourceDatabase, beside: Beside) -> Iterator[str]:
    """Yield a subquery a column: unlike a join, it cannot give a row twice."""
    row = (
        f"from {_path(database, beside.table)} b"
        f" where b.{database.quote(beside.key)} = t.{database.quote(beside.by)} limit 1"
    )
    for name in beside.columns:
        column = database.shown(beside.table.columns[name], f"b.{database.quote(name)}")
        yield f"(select {column} {row})"


def _path(database: SourceDatabase, table: Table) -> str:
    if table.sql:
        return table.sql
    return database.quote(*([table.schema] if table.schema else []), table.name)
