"""PraisonAI's sessions kept whole: a JSON file each, or a row each of `sessions.db`.

A session's older turns are archived and a summary takes their place; the turns are read, the
summary is not. A turn is a row; a session without turns is one row, skipped.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.content import flatten, listing, mapping, name, words
from recall.sources.reading.files import fingerprint
from recall.sources.reading.rows import Skip, Step, digest, keys, resumed
from recall.sources.systems.praisonai.praisonai_turns import NAME, turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped

#: Lies beside the sessions of a JSONConversationStore.
INDEX = "_sessions_index.json"


def is_session(data: dict[str, Any]) -> bool:
    """Return whether a JSON object is a session of one of PraisonAI's stores."""
    return isinstance(data.get("messages"), list) and ("session_id" in data or "session" in data)


def session_files(folder: Path) -> list[Path]:
    """Return the files of `folder` that may be sessions."""
    return [path for path in folder.glob("*.json") if path.name != INDEX]


class SessionFiles:
    """A session file, or a folder of them, read in the order in which they were written last.

    A position is the time and the name of a file: a session that goes on is read again.
    """

    name = NAME

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
        return digest(*((stand, fingerprint(path)) for stand, path in self._files()))

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
                yield Step(stand, stored(row, self._naive, self._hidden))


def stored(row: dict[str, Any], naive: tzinfo, hidden: bool) -> list[list[Item]]:
    """Return the turns of a session that `row` keeps as the JSON `data`."""
    data = mapping(row.get("data"))
    where = words(row.get("session_id"))
    if not is_session(data):
        return [[Skip("not a session", where)]]
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
        return [[Skip("empty session", where)]]
    seen: Counter[str] = Counter()
    rows: list[list[Item]] = []
    for number, message in enumerate(turns):
        if not isinstance(message, dict):
            rows.append([Skip("not an object", f"{where} {number}")])
            continue
        said = digest(message.get("role"), flatten(message.get("content")))
        seen[said] += 1
        # Without an id and a time, the same words again are told apart by their number.
        own = {"id": message.get("id") or f"{said}-{seen[said]}", "session_id": session_id}
        rows.append(turn({**message, **own}, session, naive, hidden))
    return rows
