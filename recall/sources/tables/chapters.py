"""A source that lies in tables: read chapter by chapter, each table in its own order.

A position holds a stand for each chapter, so that one position serves a backfill that stopped in
the middle and a follower that asks every chapter for what is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.steps import Bookmark, Step, keys, resumed
from recall.sources.tables import databases, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped
    from recall.sources.system import System
    from recall.sources.tables.dialect import SourceDatabase
    from recall.sources.tables.pages import Select


@dataclass(frozen=True, slots=True)
class Chapter:
    """One table of a source, and the items that become of each of its rows.

    Where a row of the table is a `whole` conversation, its turns are the rows.
    """

    name: str
    select: Select
    parse: Callable[[dict[str, Any]], list[list[Item]]]
    whole: bool = False


class TableSource:
    """The chapters that `chapters` finds in the database at `target`."""

    def __init__(
        self,
        system: System,
        target: str,
        chapters: Callable[[Catalog, SourceDatabase], list[Chapter]],
    ) -> None:
        self.system = system
        self.origin = databases.origin_of(target)
        self._target = target
        self._chapters = chapters

    def __repr__(self) -> str:
        return f"<{self.system.name} {self.origin}>"

    def count(self) -> int | None:
        """Return the number of rows of all chapters; None when they must be parsed for that.

        Raises SourceUnreadable when the tables cannot be read or are not the system's.
        """
        with databases.connected(self._target) as database:
            chapters = self._present(database)
            if any(chapter.whole for chapter in chapters):
                return None
            return sum(pages.count(database, chapter.select.table) for chapter in chapters)

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every row behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return a position a minute or a thousand rows earlier in every chapter."""
        stands = Bookmark.of(position).step
        earlier = {name: pages.rewind(stand) for name, stand in stands.items()}
        return {name: stand for name, stand in earlier.items() if stand is not None}

    def fingerprint(self) -> str | None:
        """Return what changes with an SQLite file; other systems must be asked for rows."""
        return None if "://" in self.origin else file_fingerprint(self.origin)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all memories that are there now."""
        return keys(self.read())

    def tables(self) -> list[Table]:
        """Return the tables that its rows lie in.

        Raises SourceUnreadable when they cannot be read or are not the system's.
        """
        with databases.connected(self._target) as database:
            return [chapter.select.table for chapter in self._present(database)]

    def _present(self, database: SourceDatabase) -> list[Chapter]:
        # Without its tables a source is not empty: it is something else, or half set up.
        chapters = self._chapters(database.catalog(), database)
        if not chapters:
            raise SourceUnreadable(f"{self.origin} has no tables of {self.system.name}.")
        return chapters

    def _steps(self, after: Position | None) -> Iterator[Step]:
        stands: dict[str, Any] = dict(after or {})
        with databases.connected(self._target) as database:
            for chapter in self._present(database):
                start = stands.get(chapter.name)
                for record in pages.read_rows(database, chapter.select, start):
                    stands = {**stands, chapter.name: record.stand}
                    yield Step(stands, chapter.parse(record.values))
