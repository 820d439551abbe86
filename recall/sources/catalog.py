"""What tables a database has: schemas differ by version, so columns are looked up, not assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the database declares it."""

    name: str
    type: str
    nullable: bool = True

    @property
    def whole(self) -> bool:
        """Whether it holds integers."""
        kind = self.type.lower()
        return ("int" in kind or "serial" in kind) and kind not in {"interval", "point"}

    @property
    def number(self) -> bool:
        """Whether it holds numbers."""
        words = ("real", "floa", "doub", "num", "dec")
        return self.whole or any(word in self.type.lower() for word in words)


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view, and its columns by name; or a query in parentheses, which acts as one."""

    schema: str  # "" where the database has none
    name: str
    columns: dict[str, Column] = field(repr=False)
    sql: str | None = None
    #: The SQL of what tells two rows apart that agree in every column; of the table `t`.
    tie: str | None = None

    @property
    def path(self) -> str:
        """The table's name for a position: with its schema unless that is the usual one."""
        return self.name if self.schema in {"", "public"} else f"{self.schema}.{self.name}"

    def has(self, *columns: str) -> bool:
        """Return whether it has all of `columns`."""
        return all(column in self.columns for column in columns)

    def present(self, *columns: str) -> tuple[str, ...]:
        """Return those of `columns` that it has."""
        return tuple(column for column in columns if column in self.columns)

    def first(self, *columns: str) -> str | None:
        """Return the first of `columns` that it has."""
        return next(iter(self.present(*columns)), None)


class Catalog:
    """The tables of a database."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = sorted(tables, key=lambda table: (table.schema, table.name))

    def named(self, name: str) -> list[Table]:
        """Return the tables called `name`, one a schema at most."""
        return [table for table in self.tables if table.name == name]

    def find(self, name: str, schema: str) -> Table | None:
        """Return the table `name` in `schema`, if there is one."""
        return next((t for t in self.tables if (t.schema, t.name) == (schema, name)), None)

    def get(self, name: str, schema: str) -> Table:
        """Return the table `name` in `schema`, which is there."""
        table = self.find(name, schema)
        if table is None:
            raise KeyError(f"{schema}.{name}")
        return table
