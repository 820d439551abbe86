"""What a vendor hands out on request: conversations as JSON in a ZIP, streamed one at a time.

Read as downloaded, unpacked, or as a single JSON; the array may be split over several files
(`conversations-000.json`, …), wrapped in an object, or be one conversation alone.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.content import mapping, parsed
from recall.sources.reading.extras import extra
from recall.sources.reading.files import file_fingerprint, modified
from recall.sources.reading.rows import Skip
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped
    from recall.sources.system import System

    #: Makes the rows of one conversation of an export that was written at a time.
    Turns = Callable[[dict[str, Any], datetime], Iterable[list[Item]]]

ijson = extra("ijson", "exports")

_CONVERSATIONS = re.compile(r"(^|/)conversations(-\d+)?\.json$")
_BUFFER = 1 << 18  # bytes; ijson's own 64 kB is slower
_BOM = b"\xef\xbb\xbf"


class Export:
    """The conversations in an archive, a folder or a file; a position names the file and number."""

    def __init__(self, system: System, path: Path, turns: Turns) -> None:
        if not path.exists():
            raise SourceUnreadable(f"There is no {path}.")
        self.system = system
        self.origin = str(path.absolute())
        self._path = path
        self._turns = turns

    def count(self) -> None:
        """Return None: the turns are known once everything is read."""

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every turn behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the position itself: an export never changes."""
        return position

    def fingerprint(self) -> str | None:
        """Return what changes when another export takes the file's place."""
        return file_fingerprint(self._path)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all turns."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        written = modified(self._path)
        first, done = after or ("", 0)
        for file in members(self._path):
            if file < first:
                continue
            for number, conversation in enumerate(conversations(self._path, file), 1):
                if file == first and number <= done:
                    continue
                known = isinstance(conversation, dict)
                skip: list[list[Item]] = [[Skip(Reason.NOT_AN_OBJECT, f"{file} {number}")]]
                yield Step([file, number], self._turns(conversation, written) if known else skip)


def members(path: Path) -> list[str]:
    """Return the names of the files of conversations, in order; of a single file its own.

    Raises SourceUnreadable when a folder or ZIP has none.
    """
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    else:
        return [path.name]
    files = sorted(name for name in names if _CONVERSATIONS.search(name))
    if not files:
        raise SourceUnreadable(f"{path} has no conversations.json; it has {', '.join(names[:20])}.")
    return files


@contextmanager
def open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a file of the export for reading, behind its byte order mark.

    Raises SourceUnreadable when it cannot be read, while it is open too.
    """
    try:
        if path.is_dir():
            with (path / member).open("rb") as file:
                yield _behind_mark(file)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                yield _behind_mark(file)
        else:
            with path.open("rb") as file:
                yield _behind_mark(file)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceUnreadable(f"{path} cannot be read: {error}.") from error


def conversations(path: Path, member: str) -> Iterator[Any]:
    """Yield the conversations of a file one by one; never more than one is in memory.

    Raises SourceUnreadable where the file cannot be read or is no JSON.
    """
    with open_member(path, member) as file:
        prefix = _prefix(file, f"{path} {member}")
    number = 0
    with open_member(path, member) as file:
        try:
            for conversation in ijson.items(file, prefix, use_float=True, buf_size=_BUFFER):
                number += 1
                yield conversation
        except (ijson.JSONError, UnicodeDecodeError, zipfile.BadZipFile) as error:
            raise SourceUnreadable(
                f"{path}: {member} stops being JSON behind conversation {number}: {error}."
            ) from error


def account(path: Path) -> dict[str, Any]:
    """Return what the archive says of the account that it was made for."""
    try:
        with open_member(path, "user.json") as file:
            return mapping(parsed(file.read(1 << 20)))
    except (SourceUnreadable, KeyError):
        return {}


def _behind_mark(file: IO[bytes]) -> IO[bytes]:
    if file.read(3) != _BOM:
        file.seek(0)
    return file


def _prefix(file: IO[bytes], where: str) -> str:
    """Return where in the JSON the conversations are, in ijson's words."""
    depth = 0
    try:
        for event, value in ijson.basic_parse(file, use_float=True):
            if event == "map_key" and depth == 1:
                if value == "conversations":
                    return "conversations.item"
                if value in {"mapping", "chat_messages"}:
                    return ""
            elif event in {"start_map", "start_array"}:
                if event == "start_array" and depth == 0:
                    return "item"
                depth += 1
            elif event in {"end_map", "end_array"}:
                depth -= 1
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{where} is not JSON: {error}.") from error
    return ""
