"""A source's row in the database: whose it is, and how far it was read.

The progress is kept in the unit that stores the rows before it, so that a reading that is killed
anywhere goes on exactly where its last commit ended.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.base.queries import query
from recall.database.fetching import Row, fetch_one
from recall.sync.records import as_record, as_text
from recall.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.sources.source import Position, Source


@dataclass(frozen=True)
class Progress:
    """How far a source was read: behind `position`.

    A backfill under way has its tally, and what it was asked; one that came to the end has not.
    """

    position: Position
    tally: Tally | None = None
    asked: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """Return what is kept: {"after", "tally", "asked"} under way, {"end"} behind the end."""
        if self.tally is None:
            return as_text({"end": self.position})
        kept = {"after": self.position, "tally": asdict(self.tally), "asked": self.asked}
        return as_text(kept)

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> Progress | None:
        """Return what was kept, by whatever version; None when nothing was, or nothing known."""
        if kept and "end" in kept:
            return cls(kept["end"])
        if kept and "after" in kept:
            return cls(kept["after"], as_record(Tally, kept.get("tally", {})), kept.get("asked"))
        return None


class Entry(NamedTuple):
    """A source in the database: for whom it is read, its id, and how far it was read."""

    caller: Caller
    id: int
    progress: Progress | None


async def entry_of(database: Database, caller: Caller, source: Source) -> Entry:
    """Return the entry of `source`, which is made when it is new."""

    async def work(connection: Connection) -> Entry:
        name = f"{source.system.name}:{source.origin}"
        row = await fetch_one(connection, Row, query("ensure_source"), [name])
        assert row is not None
        return Entry(caller, row["id"], Progress.of(row["position"]))

    return await database.as_caller(caller, work)


async def keep_progress(connection: Connection, entry: Entry, progress: Progress | None) -> None:
    """Keep how far a source was read, inside the caller's unit of work; None: not at all."""
    text = None if progress is None else progress.as_text()
    await connection.execute(query("advance_source"), [text, entry.id])
