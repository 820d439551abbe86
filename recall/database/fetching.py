"""What a statement returns: values of one column, or rows by the names of their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.rows import class_row, dict_row, scalar_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import LiteralString

    from psycopg.rows import BaseRowFactory

    from recall.database.connections import Connection

    Values = Sequence[Any] | Mapping[str, Any]

#: A row whose columns stay as they are. Any class that takes them as keywords is a kind of row too.
Row = dict[str, Any]

T = TypeVar("T")


async def fetch_value(connection: Connection, statement: LiteralString, values: Values = ()) -> Any:
    """Return the one column of the first row; None without a row."""
    cursor = connection.cursor(row_factory=scalar_row)
    return await (await cursor.execute(statement, values)).fetchone()


async def fetch_values(
    connection: Connection, statement: LiteralString, values: Values = ()
) -> list[Any]:
    """Return the one column of every row."""
    cursor = connection.cursor(row_factory=scalar_row)
    return await (await cursor.execute(statement, values)).fetchall()


async def fetch_one(
    connection: Connection, kind: type[T], statement: LiteralString, values: Values = ()
) -> T | None:
    """Return the first row as `kind`; None without one."""
    cursor = connection.cursor(row_factory=_by_name(kind))
    return await (await cursor.execute(statement, values)).fetchone()


async def fetch_all(
    connection: Connection, kind: type[T], statement: LiteralString, values: Values = ()
) -> list[T]:
    """Return every row as `kind`."""
    cursor = connection.cursor(row_factory=_by_name(kind))
    return await (await cursor.execute(statement, values)).fetchall()


def _by_name(kind: type[T]) -> BaseRowFactory[T]:
    return dict_row if kind is Row else class_row(kind)  # type: ignore[return-value]
