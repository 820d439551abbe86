"""Moltnet's store of one JSON file: rooms, threads and direct messages in maps of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.clock import earlier, instant
from recall.sources.reading.content import listing, mapping, parsed, words
from recall.sources.reading.files import fingerprint
from recall.sources.reading.rows import Skip, Step, keys, resumed
from recall.sources.systems.moltnet.moltnet_messages import NAME, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.sources.source import Found, Position, Skipped
    from recall.sources.systems.moltnet.moltnet_messages import Places

#: The maps of a place's messages, and the kind of place.
MESSAGES = {"room_messages": "room", "thread_messages": "thread", "direct_messages": "dm"}


def is_store(data: dict[str, Any]) -> bool:
    """Return whether a JSON object is such a store."""
    return isinstance(data.get("rooms"), dict) and any(field in data for field in MESSAGES)


class JsonStore:
    """The file, read in the order of time; the server too holds all of it in memory.

    A position is the time and the id of a message.
    """

    name = NAME

    def __init__(self, path: Path, removed: bool) -> None:
        if not path.is_file():
            raise SourceUnreadable(f"There is no file {path}.")
        self.origin = str(path.absolute())
        self._path = path
        self._removed = removed

    def count(self) -> int:
        """Return the number of messages."""
        return len(_messages(self._loaded()))

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every message behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the position a minute earlier."""
        time, *_ = position.get("within", position) if isinstance(position, dict) else position
        return [earlier(time, 60), "", 0] if time else None

    def fingerprint(self) -> str | None:
        """Return what changes with the file."""
        return fingerprint(self._path)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all messages that are there now."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        data = self._loaded()
        places = _places(data)
        for stand, message in _messages(data):
            if after is None or stand > after:
                known = isinstance(message, dict)
                row = told(message, places, self._removed) if known else _odd(stand)
                yield Step(stand, [row])

    def _loaded(self) -> dict[str, Any]:
        data = parsed(self._path.read_bytes())
        if not isinstance(data, dict) or not is_store(data):
            raise SourceUnreadable(f"{self._path} is not a Moltnet store.")
        return data


def _odd(stand: list[Any]) -> list[Any]:
    return [Skip("not an object", f"message {stand[2]}")]


def _messages(data: dict[str, Any]) -> list[tuple[list[Any], Any]]:
    """Return all messages by time; the number tells apart those without any id."""
    found: list[tuple[list[Any], Any]] = []
    for field, kind in MESSAGES.items():
        for place, messages in mapping(data.get(field)).items():
            for message in listing(messages):
                number = len(found)
                if not isinstance(message, dict):
                    found.append((["", "", number], message))
                    continue
                time = instant(message.get("created_at"))
                # Python keeps microseconds: what two servers wrote in one keeps the file's order.
                message_id = words(message.get("id"))
                stand = [time.isoformat() if time else "", message_id, 0 if message_id else number]
                target = {"kind": kind, f"{kind}_id": place, **mapping(message.get("target"))}
                found.append((stand, {**message, "target": target}))
    return sorted(found, key=lambda pair: pair[0])


def _places(data: dict[str, Any]) -> Places:
    removed = mapping(data.get("removed_rooms"))
    places: Places = {}
    for place, room in mapping(data.get("rooms")).items():
        places["room", place] = {**mapping(room), "members": listing(mapping(room).get("members"))}
    for place, time in removed.items():
        places.setdefault(("room", place), {})["deleted_at"] = time or True
    for place, members in mapping(data.get("direct_members")).items():
        places["dm", place] = {"members": sorted(mapping(members))}
    return places
