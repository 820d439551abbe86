"""JSON Lines: recall's own form, one message or note a line.

A line is `{"type": "message", session_id, role, content, …}` or `{"type": "note", content, …}`
with the fields of `recall.models`; `type` may be missing. Other fields go into the metadata, and
questions of an evaluation set are skipped. A key is the caller's own and stays as it is; a line
without one gets `jsonl:HASH` of its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.sources.reading.clock import instant, zone
from recall.sources.reading.content import compact, mapping, name, parsed, words
from recall.sources.reading.files import fingerprint, modified
from recall.sources.reading.rows import Skip, Step, bounded, digest, keys, resumed, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped

NAME = "jsonl"
LONGEST_LINE = 64 << 20  # bytes; a longer line is skipped without being held in memory
FIELDS = {
    Message: ("session_id", "session_title", "role", "author", "user_id"),
    Note: ("title", "category", "user_id"),
}
OWN = {"type", "key", "content", "created_at", "metadata"}


def open_source(target: str, *, assume_tz: str = "UTC") -> JsonLines:
    """Return the lines of the file `target`; `assume_tz` is for times without an offset."""
    if not Path(target).is_file():
        raise SourceUnreadable(f"There is no file {target}.")
    return JsonLines(Path(target), zone(assume_tz))


class JsonLines:
    """A file of JSON lines; a position is the number of bytes read."""

    name = NAME

    def __init__(self, path: Path, naive: tzinfo) -> None:
        self.origin = str(path.absolute())
        self._path = path
        self._naive = naive

    def count(self) -> int:
        """Return the number of lines that are not blank."""
        return sum(1 for _ in self._lines(0))

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every line behind the byte `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the position itself: a file grows at its end."""
        return position

    def fingerprint(self) -> str | None:
        """Return what changes with the file."""
        return fingerprint(self._path)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all memories of the file."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        written = modified(self._path)
        for start, end, line in self._lines(after or 0):
            where = f"byte {start}"
            if line is None:
                row: list[Item] = [Skip("line too long", where, f"{end - start} bytes")]
            else:
                row = _row(parsed(line), where, written, self._naive)
            yield Step(end, [row])

    def _lines(self, start: int) -> Iterator[tuple[int, int, bytes | None]]:
        """Yield the start, the end and the bytes of each line that is not blank."""
        with self._path.open("rb") as file:
            file.seek(start)
            while line := file.readline(LONGEST_LINE):
                start = end = file.tell() - len(line)
                end += len(line)
                whole = line.endswith(b"\n") or len(line) < LONGEST_LINE
                while not whole:
                    rest = file.readline(LONGEST_LINE)
                    end += len(rest)
                    whole = rest.endswith(b"\n") or len(rest) < LONGEST_LINE
                if line.removeprefix(b"\xef\xbb\xbf").strip():
                    too_long = end - start > len(line)
                    yield start, end, None if too_long else line.removeprefix(b"\xef\xbb\xbf")


def _row(row: Any, where: str, written: datetime, naive: tzinfo) -> list[Item]:
    if not isinstance(row, dict):
        return [Skip("not JSON" if row is None else "not an object", where)]
    kind = compact(row.get("type")) or (
        "message" if row.get("session_id") and row.get("role") else "note"
    )
    if kind == "question":
        return [Skip("question", where)]
    if kind not in {"message", "note"}:
        return [Skip("unknown type", where, kind[:100])]
    return _memory(row, Message if kind == "message" else Note, written, naive)


def _memory(
    row: dict[str, Any], kind: type[Message | Note], written: datetime, naive: tzinfo
) -> list[Item]:
    time = instant(row.get("created_at"), naive)
    own = {**{field: name(row.get(field)) for field in FIELDS[kind]}}
    more = {field: value for field, value in row.items() if field not in OWN | own.keys()}
    facts = {"source": NAME, "time_estimated": time is None or None}
    return tell(
        kind,
        bounded(name(row.get("key")) or f"jsonl:{digest(row)}", 247),
        words(row.get("content")),
        created_at=time or written,
        metadata=facts | more | mapping(row.get("metadata")),
        **own,
    )
