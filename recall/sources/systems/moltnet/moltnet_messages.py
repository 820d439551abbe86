"""Moltnet's messages, in the names of its API: from whom, to which room, in which parts."""

from __future__ import annotations

from typing import Any

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import joined, listing, mapping, name, short_json, text_of
from recall.sources.reading.rows import Item, Skip, items_of, key_of
from recall.sources.reason import Reason
from recall.sources.systems.moltnet import MOLTNET

_ROLES = {"human": "user", "agent": "assistant", "system": "system", "tool": "tool"}
_PATHS = {"thread": "threads", "dm": "dms"}

#: What is known of rooms and conversations, by kind and id: columns, and `members`.
Rooms = dict[tuple[str, str], dict[str, Any]]


def moltnet_message(row: dict[str, Any], rooms: Rooms, removed: bool) -> list[Item]:
    """Return one message, its fields named as in Moltnet's API, as a memory."""
    origin, target, sender = (mapping(row.get(f)) for f in ("origin", "target", "from"))
    network = name(row.get("network_id")) or "local"
    key = key_of(
        MOLTNET.name,
        name(origin.get("network_id")) or network,
        name(origin.get("message_id")) or text_of(row.get("id")),
    )
    kind = name(target.get("kind")) or name(row.get("target_kind")) or "room"
    ids = {f: name(target.get(f)) or name(row.get(f)) for f in ("room_id", "thread_id", "dm_id")}
    room = rooms.get(("room", ids["room_id"] or ""), {})
    dm = rooms.get(("dm", ids["dm_id"] or ""), {})
    if room.get("deleted_at") and not removed:
        return [Skip(Reason.REMOVED_ROOM, key)]
    path = _PATHS.get(kind, "rooms")
    room_id = ids[f"{kind}_id"] if f"{kind}_id" in ids else ids["room_id"]
    members = (
        (dm.get("members") or listing(target.get("participant_ids")))
        if dm or kind == "dm"
        else room.get("members")
    )
    parts = [part for part in listing(row.get("parts")) if isinstance(part, dict)]
    time = instant(row.get("created_at"))
    return items_of(
        Message,
        key,
        joined(*(_text(part) for part in parts)),
        session_id=f"molt://{network}/{path}/{room_id or 'unknown'}",
        session_title=name(room.get("name")),
        role=_ROLES.get(text_of(sender.get("type")).lower(), "user"),
        author=name(sender.get("name")) or name(sender.get("id")),
        created_at=time or UNKNOWN,
        metadata={
            "source": MOLTNET.name,
            "id": name(row.get("id")),
            "network_id": network,
            **ids,
            "access": "dm" if kind == "dm" else name(room.get("visibility")),
            "write_policy": name(room.get("write_policy")),
            "members": members,
            "room_removed": bool(room.get("deleted_at")) or None,
            "from": name(sender.get("fqid")) or name(sender.get("id")),
            "actor": name(sender.get("type")),
            "mentions": listing(row.get("mentions")),
            "artifacts": [_artifact(part) for part in parts if part.get("kind") != "text"],
            "time_estimated": time is None or None,
        },
    )


def _text(part: dict[str, Any]) -> str:
    """Return a part's text, its data as JSON, and what its file is found by."""
    file = " ".join(text_of(part.get(f)) for f in ("filename", "url", "media_type") if part.get(f))
    return joined(text_of(part.get("text")), short_json(part.get("data")), file)


def _artifact(part: dict[str, Any]) -> dict[str, str]:
    fields = ("kind", "filename", "url", "media_type")
    return {field: text_of(part[field]) for field in fields if part.get(field)}
