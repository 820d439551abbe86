"""JSON Lines: recall's own form, one message or note a line.

A line is `{"type": "message", session_id, role, content, …}` or `{"type": "note", content, …}`
with the fields of `recall.contract.values`; `type` may be missing. Other fields go into the
metadata, and questions of an evaluation set are skipped. A key is the caller's own and stays as it
is; a line without one gets `jsonl:HASH` of its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.sources.reading.clock import instant, zone
from recall.sources.reading.content import mapping, name, parsed, short_json, text_of
from recall.sources.reading.files import file_fingerprint, modified
from recall.sources.reading.rows import Skip, bounded, items_of, short_hash
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.jsonl import JSONL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped

LONGEST_LINE = 64 << 20  # bytes; a longer line is skipped without being held in memory
_FIELDS = {
    Message: ("session_id", "session_title", "role", "author", "user_id"),
    Note: ("title", "category", "user_id"),
}
_OWN = {"type", "key", "content", "created_at", "metadata"}


def jsonl_history(target: str, *, assume_tz: str = "UTC") -> JsonLines:
    """Return the lines of the file `target`; `assume_tz` is for times without an offset.

    Raises SourceUnreadable when there is no such file or zone.
    """
    if not Path(target).is_file():
        raise SourceUnreadable(f"There is no file {target}.")
    return JsonLines(Path(target), zone(assume_tz))


class JsonLines:
    """A file of JSON lines; a position is the number of bytes read."""

    system = JSONL

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
        return file_fingerprint(self._path)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all memories of the file."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        written = modified(self._path)
        for start, end, line in self._lines(after or 0):
            where = f"byte {start}"
            if line is None:
                row: list[Item] = [Skip(Reason.LINE_TOO_LONG, where, f"{end - start} bytes")]
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
        return [Skip(Reason.NOT_JSON if row is None else Reason.NOT_AN_OBJECT, where)]
    kind = short_json(row.get("type")) or (
        "message" if row.get("session_id") and row.get("role") else "note"
    )
    if kind == "question":
        return [Skip(Reason.QUESTION, where)]
    if kind not in {"message", "note"}:
        return [Skip(Reason.UNKNOWN_TYPE, where, kind[:100])]
    return _memory(row, Message if kind == "message" else Note, written, naive)


def _memory(
    row: dict[str, Any], kind: type[Message | Note], written: datetime, naive: tzinfo
) -> list[Item]:
    time = instant(row.get("created_at"), naive)
    own = {**{field: name(row.get(field)) for field in _FIELDS[kind]}}
    more = {field: value for field, value in row.items() if field not in _OWN | own.keys()}
    facts = {"source": JSONL.name, "time_estimated": time is None or None}
    return items_of(
        kind,
        bounded(name(row.get("key")) or f"jsonl:{short_hash(row)}", 247),
        text_of(row.get("content")),
        created_at=time or written,
        metadata=facts | more | mapping(row.get("metadata")),
        **own,
    )
