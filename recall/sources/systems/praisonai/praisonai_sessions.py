"""PraisonAI's sessions kept whole: a JSON file each, or a row each of `sessions.db`.

A session's older turns are archived and a summary takes their place; the turns are read, the
summary is not. A turn is a row; a session without turns is one row, skipped.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.content import flatten, listing, mapping, name, text_of
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.rows import Skip, short_hash
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.praisonai import PRAISONAI, is_session, session_files
from recall.sources.systems.praisonai.praisonai_turns import praisonai_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped


class SessionFiles:
    """A session file, or a folder of them, read in the order in which they were written last.

    A position is the time and the name of a file: a session that goes on is read again.
    """

    system = PRAISONAI

    def __init__(self, path: Path, naive: tzinfo, hidden: bool) -> None:
        if not path.exists():
            raise SourceUnreadable(f"There is no {path}.")
        self.origin = str(path.absolute())
        self._path = path
        self._naive = naive
        self._hidden = hidden

    def count(self) -> None:
        """Return None: the turns are known once the files are read."""

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every turn of the files that changed behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the position itself: a file's time moves when the file does."""
        return position

    def fingerprint(self) -> str | None:
        """Return what changes with any of the files."""
        return short_hash(*((stand, file_fingerprint(path)) for stand, path in self._files()))

    def ids(self) -> Iterator[str]:
        """Yield the keys of all turns that are there now."""
        return keys(self.read())

    def _files(self) -> list[tuple[list[Any], Path]]:
        paths = session_files(self._path) if self._path.is_dir() else [self._path]
        return sorted(([path.stat().st_mtime_ns, path.name], path) for path in paths)

    def _steps(self, after: Position | None) -> Iterator[Step]:
        for stand, path in self._files():
            if after is None or stand > after:
                row = {"session_id": path.stem, "data": path.read_bytes()}
                yield Step(stand, session_turns(row, self._naive, self._hidden))


def session_turns(row: dict[str, Any], naive: tzinfo, hidden: bool) -> list[list[Item]]:
    """Return the turns of a session that `row` keeps as the JSON `data`."""
    data = mapping(row.get("data"))
    where = text_of(row.get("session_id"))
    if not is_session(data):
        return [[Skip(Reason.NOT_A_SESSION, where)]]
    known = {**data, **mapping(data.get("session"))}
    session = {
        "user_id": known.get("user_id"),
        "agent_id": name(known.get("agent_name")) or name(known.get("agent_id")),
        "name": known.get("name"),
        "created_at": known.get("created_at"),
    }
    session_id = name(known.get("session_id")) or where
    turns = [*listing(data.get("archived_messages")), *data["messages"]]
    if not turns:
        return [[Skip(Reason.EMPTY_SESSION, where)]]
    seen: Counter[str] = Counter()
    rows: list[list[Item]] = []
    for number, message in enumerate(turns):
        if not isinstance(message, dict):
            rows.append([Skip(Reason.NOT_AN_OBJECT, f"{where} {number}")])
            continue
        same = short_hash(message.get("role"), flatten(message.get("content")))
        seen[same] += 1
        # Without an id and a time, the same words again are told apart by their number.
        own = {"id": message.get("id") or f"{same}-{seen[same]}", "session_id": session_id}
        rows.append(praisonai_message({**message, **own}, session, naive, hidden))
    return rows
