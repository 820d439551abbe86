"""Dialects: how a database system quotes names, shows and orders values, and runs statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from recall.sources.catalog import Catalog, Column


class SourceDatabase(Protocol):
    """An open database of one system: how it quotes, and how it runs a statement."""

    #: What stands for a value in a statement: "?" or "%s".
    placeholder: str

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


def least(column: Column) -> str:
    """Return the SQL of what stands for NULL in an order."""
    return "-1" if column.number else "''"
