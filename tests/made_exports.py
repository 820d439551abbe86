"""Exports that are made: ChatGPT's trees and Claude's, as small as a test wants them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def node(name: str, parent: str | None, content: Any = None, **more: Any) -> dict[str, Any]:
    """Return a node of ChatGPT's tree; without content, one that holds no message."""
    if isinstance(content, str):
        content = {"content_type": "text", "parts": [content]}
    message = content and {"id": name, "author": {"role": "user"}, "content": content, **more}
    return {"id": name, "message": message, "parent": parent, "children": []}


def talk(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    tree = {each["id"]: each for each in nodes}
    return {"id": "c", "title": "A talk", "create_time": 1.7e9, "mapping": tree, **more}


BRANCHES = (
    node("client-created-root", None),
    node("s", "client-created-root", "", author={"role": "system"}),
    node("q1", "s", "first try", create_time=1.7e9 + 1),
    node("q2", "s", "second try", create_time=1.7e9 + 2),
    node("a1", "q1", "answer one", author={"role": "assistant"}, create_time=1.7e9 + 9),
    node("a2", "q2", "answer two", author={"role": "assistant"}, create_time=None),
)


def written(path: Path, *conversations: Any) -> str:
    path.write_text(json.dumps(list(conversations)))
    return str(path)


def claude(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "uuid": "u",
        "name": "",
        "summary": "",
        "created_at": "2025-10-01T10:00:00.000000Z",
        "account": {"uuid": "acc"},
        "chat_messages": list(messages),
        **more,
    }


def said(name: str, body: Any, parent: str | None = None, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": body}] if isinstance(body, str) else body
    known = {} if parent is None else {"parent_message_uuid": parent}
    return {"uuid": name, "sender": "human", "text": "", "content": content, **known, **more}


ROOT = "00000000-0000-4000-8000-000000000000"
