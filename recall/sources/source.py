"""Histories that lie elsewhere, read as recall's own values.

A source is opened on a file or a URL and yields its rows in an order that a second reading
repeats, each with the position behind it: reading goes on `after` a position as if it had never
stopped. Nothing is dropped silently: a row that is no memory is yielded as Skipped, with a reason
that can be counted, so that rows read = found + skipped. A row that is too long for one memory
gives several; only the first of them counts as the row (`Found.row`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.contract.values import Message, Note
    from recall.sources.reason import Reason
    from recall.sources.system import System

#: Where a reading goes on: any JSON value, meaningful to its source only.
Position = Any


@dataclass(frozen=True, slots=True)
class Found:
    """A memory of the source; its key is stable, and the same wherever the source is read from.

    Two rows with the same key are the same memory.
    """

    memory: Message | Note
    position: Position
    #: False for what goes on where the item before it had to be cut.
    row: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is no memory, and `where` to find it again."""

    reason: Reason
    where: str
    position: Position
    detail: str = ""


class Source(Protocol):
    """One opened history. It holds nothing open between two calls.

    Every method raises SourceUnreadable when the history cannot be read.
    """

    #: The kind of history that it is.
    system: System
    #: What is read, for a person and for a checkpoint: a path or a URL, without any secret.
    origin: str

    def count(self) -> int | None:
        """Return how many rows `read` will yield from the start; None when that is not known."""

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every row behind `after` (None: all)."""

    def rewind(self, position: Position) -> Position | None:
        """Return an earlier position, so that what was committed late behind it is read too."""

    def fingerprint(self) -> str | None:
        """Return a word that changes whenever the source does; None when reading must tell."""

    def ids(self) -> Iterator[str]:
        """Yield the keys of all memories that the source holds now."""
