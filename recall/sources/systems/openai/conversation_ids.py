"""Ids of OpenAI conversations, which the API does not list: from a file, a browser or an app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.sources.reading.clock import instant
from recall.sources.reading.content import name, parsed, text_of

if TYPE_CHECKING:
    from datetime import datetime

_IDS = re.compile(r"conv_[A-Za-z0-9_-]+")


class Conversation(NamedTuple):
    """A conversation as it is listed outside of the API."""

    id: str
    title: str | None = None
    time: datetime | None = None


def listed_conversations(target: str) -> list[Conversation]:
    """Return the conversations listed in a file, or in the text `target` itself."""
    try:
        is_file = Path(target).is_file()
    except OSError:  # a text longer than a path can be
        is_file = False
    text = Path(target).read_text("utf-8-sig", "replace") if is_file else target
    listed = _listed(parsed(text)) or [Conversation(id) for id in _IDS.findall(text)]
    return list({conversation.id: conversation for conversation in listed}.values())


def _listed(data: Any, depth: int = 0) -> list[Conversation]:
    """Return the conversations in a JSON of any shape that apps and browsers keep."""
    if depth > 4:
        return []
    if isinstance(data, str):
        inner = parsed(data) if data[:1] in "[{" else None
        return _listed(inner, depth + 1) if inner else [Conversation(i) for i in _IDS.findall(data)]
    if isinstance(data, list):
        return [conversation for entry in data for conversation in _listed(entry, depth + 1)]
    if not isinstance(data, dict):
        return []
    own = text_of(data.get("id"))
    if _IDS.fullmatch(own):
        time = data.get("createdAt") or data.get("created_at")
        return [Conversation(own, name(data.get("title")), instant(time))]
    return [conversation for entry in data.values() for conversation in _listed(entry, depth + 1)]
