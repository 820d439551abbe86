"""Moltnet's store of one JSON file: rooms, threads and direct messages in maps of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.reading.clock import earlier, instant
from recall.sources.reading.content import listing, mapping, parsed, text_of
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.rows import Skip
from recall.sources.reading.steps import Bookmark, Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.moltnet import MESSAGE_MAPS, MOLTNET, is_store
from recall.sources.systems.moltnet.moltnet_messages import moltnet_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.sources.source import Found, Position, Skipped
    from recall.sources.systems.moltnet.moltnet_messages import Rooms


class JsonStore:
    """The file, read in the order of time; the server too holds all of it in memory.

    A position is the time and the id of a message.
    """

    system = MOLTNET

    def __init__(self, path: Path, removed: bool) -> None:
        if not path.is_file():
            raise SourceUnreadable(f"There is no file {path}.")
        self.origin = str(path.absolute())
        self._path = path
        self._removed = removed

    def count(self) -> int:
        """Return the number of messages; raises SourceUnreadable when the file is no store."""
        return len(_messages(self._loaded()))

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every message behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the position a minute earlier."""
        time, *_ = Bookmark.of(position).step
        return [earlier(time, 60), "", 0] if time else None

    def fingerprint(self) -> str | None:
        """Return what changes with the file."""
        return file_fingerprint(self._path)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all messages that are there now."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        data = self._loaded()
        rooms = _rooms(data)
        for stand, message in _messages(data):
            if after is None or stand > after:
                known = isinstance(message, dict)
                row = moltnet_message(message, rooms, self._removed) if known else _odd(stand)
                yield Step(stand, [row])

    def _loaded(self) -> dict[str, Any]:
        data = parsed(self._path.read_bytes())
        if not isinstance(data, dict) or not is_store(data):
            raise SourceUnreadable(f"{self._path} is not a Moltnet store.")
        return data


def _odd(stand: list[Any]) -> list[Any]:
    return [Skip(Reason.NOT_AN_OBJECT, f"message {stand[2]}")]


def _messages(data: dict[str, Any]) -> list[tuple[list[Any], Any]]:
    """Return all messages by time; the number tells apart those without any id."""
    placed: list[tuple[list[Any], Any]] = []
    for field, kind in MESSAGE_MAPS.items():
        for room_id, messages in mapping(data.get(field)).items():
            for message in listing(messages):
                number = len(placed)
                if not isinstance(message, dict):
                    placed.append((["", "", number], message))
                    continue
                time = instant(message.get("created_at"))
                # Python keeps microseconds: what two servers wrote in one keeps the file's order.
                message_id = text_of(message.get("id"))
                stand = [time.isoformat() if time else "", message_id, 0 if message_id else number]
                target = {"kind": kind, f"{kind}_id": room_id, **mapping(message.get("target"))}
                placed.append((stand, {**message, "target": target}))
    return sorted(placed, key=lambda pair: pair[0])


def _rooms(data: dict[str, Any]) -> Rooms:
    rooms: Rooms = {}
    for room_id, room in mapping(data.get("rooms")).items():
        rooms["room", room_id] = {**mapping(room), "members": listing(mapping(room).get("members"))}
    for room_id, time in mapping(data.get("removed_rooms")).items():
        rooms.setdefault(("room", room_id), {})["deleted_at"] = time or True
    for dm_id, members in mapping(data.get("direct_members")).items():
        rooms["dm", dm_id] = {"members": sorted(mapping(members))}
    return rooms
