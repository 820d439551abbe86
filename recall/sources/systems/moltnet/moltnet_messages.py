"""Moltnet's messages, in the names of its API: from whom, to which place, in which parts."""

from __future__ import annotations

from typing import Any

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import compact, joined, listing, mapping, name, words
from recall.sources.reading.rows import Item, Skip, key_of, tell

NAME = "moltnet"
ROLES = {"human": "user", "agent": "assistant", "system": "system", "tool": "tool"}
PLACES = {"thread": "threads", "dm": "dms"}

#: What is known of rooms and conversations, by kind and id: columns, and `members`.
Places = dict[tuple[str, str], dict[str, Any]]


def told(row: dict[str, Any], places: Places, removed: bool) -> list[Item]:
    """Return one message, its fields named as in Moltnet's API, as a memory."""
    origin, target, sender = (mapping(row.get(f)) for f in ("origin", "target", "from"))
    network = name(row.get("network_id")) or "local"
    key = key_of(
        NAME,
        name(origin.get("network_id")) or network,
        name(origin.get("message_id")) or words(row.get("id")),
    )
    kind = name(target.get("kind")) or name(row.get("target_kind")) or "room"
    ids = {f: name(target.get(f)) or name(row.get(f)) for f in ("room_id", "thread_id", "dm_id")}
    room = places.get(("room", ids["room_id"] or ""), {})
    dm = places.get(("dm", ids["dm_id"] or ""), {})
    if room.get("deleted_at") and not removed:
        return [Skip("removed room", key)]
    place = PLACES.get(kind, "rooms")
    place_id = ids[f"{kind}_id"] if f"{kind}_id" in ids else ids["room_id"]
    members = (
        (dm.get("members") or listing(target.get("participant_ids")))
        if dm or kind == "dm"
        else room.get("members")
    )
    parts = [part for part in listing(row.get("parts")) if isinstance(part, dict)]
    time = instant(row.get("created_at"))
    return tell(
        Message,
        key,
        joined(*(_text(part) for part in parts)),
        session_id=f"molt://{network}/{place}/{place_id or 'unknown'}",
        session_title=name(room.get("name")),
        role=ROLES.get(words(sender.get("type")).lower(), "user"),
        author=name(sender.get("name")) or name(sender.get("id")),
        created_at=time or UNKNOWN,
        metadata={
            "source": NAME,
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
    file = " ".join(words(part.get(f)) for f in ("filename", "url", "media_type") if part.get(f))
    return joined(words(part.get("text")), compact(part.get("data")), file)


def _artifact(part: dict[str, Any]) -> dict[str, str]:
    fields = ("kind", "filename", "url", "media_type")
    return {field: words(part[field]) for field in fields if part.get(field)}
