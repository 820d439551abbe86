"""What a kind of history declares of itself: its name, its options, and what it is recognised by.

Each folder under `systems` declares one System or more in its `__init__`. A declaration imports no
driver and no reader, so that looking at all of them costs nothing; the reader is named, and
imported when a history is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recall.sources.catalog import Catalog

T = TypeVar("T")


class Unrecognised(Exception):
    """No system will know this target; the message is a sentence on what was seen in it."""


class TextFile(NamedTuple):
    """A file that is neither a database nor a ZIP, with its first bytes, at most a MiB."""

    path: Path
    start: bytes

    @property
    def is_json(self) -> bool:
        """Whether it begins like the JSON of an object or a list."""
        return self.start.lstrip().startswith((b"{", b"["))


@dataclass(frozen=True, slots=True)
class Signature(Generic[T]):
    """What a system is recognised by in one form of target.

    Signatures of lower rank are looked for first: those that only their own system can have. `look`
    returns a sentence on what was seen when the target is the system's and None when it is not. It
    raises Unrecognised when no signature of higher rank can know the target either.
    """

    rank: int
    look: Callable[[T], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A kind of history that recall reads."""

    #: The word on the command line, and at the start of every key: "openzess".
    name: str
    #: The function that returns the opened Source of a target: "package.module:function".
    opens: str
    #: The names of that function's keyword arguments, for a person and for `--option NAME=VALUE`.
    options: tuple[str, ...] = ()
    #: Whether what is gone from the history was taken back by its owner, so that following it
    #: erases it here. Not true of copies, which are cut and rotated, nor known of a new system.
    erases: bool = False
    #: Ids, given in place of a file.
    ids: Signature[str] | None = None
    #: The tables of a database; `look` returns what it has: "the tables sessions, messages".
    tables: Signature[Catalog] | None = None
    folder: Signature[Path] | None = None
    archive: Signature[Path] | None = None  # a ZIP
    text: Signature[TextFile] | None = None
