"""ChatGPT's export: conversations as trees of messages, of which the active path is read.

A row is a node that holds a message. Those beside the path from `current_node` to the root are
edited prompts and regenerated answers, skipped as "other branch". Keys are
`chatgpt:CONVERSATION/NODE`; of a conversation without an id, the first node's name stands for it.
Conversations marked as not to be remembered are not.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.values import Message
from recall.sources.reading.clock import instant
from recall.sources.reading.content import (
    attached,
    flatten,
    joined,
    listing,
    mapping,
    name,
    text_of,
)
from recall.sources.reading.rows import Skip, items_of, key_of
from recall.sources.reason import Reason
from recall.sources.systems.exports import CHATGPT
from recall.sources.systems.exports.export_files import Export, account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.sources.reading.rows import Item

#: Marks of citations: between private-use characters, or as 【4†source】.
_CITATIONS = re.compile(r"\ue200[^\ue201]*\ue201|[\ue200-\ue206]|【[^【】]*(?:†|oaicite)[^【】]*】")
_REASONS = {
    "thoughts": Reason.REASONING,
    "reasoning_recap": Reason.REASONING,
    "user_editable_context": Reason.HIDDEN_CONTEXT,
    "model_editable_context": Reason.HIDDEN_CONTEXT,
}
_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "system"}
#: What the content of rarer types is called; documents disagree, so all are tried.
_TEXTS = ("parts", "text", "result", "content", "title", "url", "thoughts", "widget")


def chatgpt_history(target: str, *, include_hidden: bool = False) -> Export:
    """Return the export at `target`: the ZIP, its folder, or one of its JSON files.

    `include_hidden` stores system prompts, custom instructions and reasoning as well.
    """
    user = name(account(Path(target)).get("id"))

    def turns(conversation: dict[str, Any], written: datetime) -> Iterator[list[Item]]:
        return _turns(conversation, Frame(user, include_hidden, written))

    return Export(CHATGPT, Path(target), turns)


class Frame(NamedTuple):
    """What holds for all conversations of an export, or for all turns of a conversation."""

    user: str | None
    hidden: bool
    time: datetime
    session: str = ""
    title: str | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012  (a default of a tuple, never changed)


def _turns(conversation: dict[str, Any], frame: Frame) -> Iterator[list[Item]]:
    nodes = {
        node_id: node
        for node_id, node in mapping(conversation.get("mapping")).items()
        if isinstance(node, dict) and isinstance(node.get("message"), dict)
    }
    path = [node_id for node_id in active_nodes(conversation) if node_id in nodes]
    own = name(conversation.get("id")) or name(conversation.get("conversation_id"))
    session = own or next(iter(path or nodes), "unknown")
    if not nodes:
        yield [Skip(Reason.EMPTY_CONVERSATION, session)]
    if conversation.get("is_do_not_remember"):
        for node_id in nodes:
            yield [Skip(Reason.DO_NOT_REMEMBER, key_of(CHATGPT.name, session, node_id))]
        return
    times = (_time(nodes[node_id]["message"]) for node_id in path)
    started = instant(conversation.get("create_time")) or next(filter(None, times), None)
    frame = frame._replace(
        time=started or instant(conversation.get("update_time")) or frame.time,
        session=session,
        title=name(conversation.get("title")),
        facts={
            "model": name(conversation.get("default_model_slug")),
            "gpt": name(conversation.get("gizmo_id")),
            "archived": conversation.get("is_archived") is True or None,
        },
    )
    yield from _active_rows(nodes, path, frame)
    active = set(path)
    for node_id in nodes:
        if node_id not in active:
            yield [Skip(Reason.OTHER_BRANCH, key_of(CHATGPT.name, session, node_id))]


def _active_rows(nodes: dict[str, Any], path: list[str], frame: Frame) -> Iterator[list[Item]]:
    for node_id in path:
        row, frame = _turn(nodes[node_id]["message"], node_id, frame)
        yield row


def active_nodes(conversation: dict[str, Any]) -> list[str]:
    """Return the nodes from the root to the current one; without that, to the newest leaf."""
    nodes = {
        node_id: node
        for node_id, node in mapping(conversation.get("mapping")).items()
        if isinstance(node, dict)
    }
    current = conversation.get("current_node")
    if not isinstance(current, str) or current not in nodes:
        parents = {text_of(node.get("parent")) for node in nodes.values()}
        leaves = [node_id for node_id in nodes if node_id not in parents] or list(nodes)
        current = max(leaves, key=lambda leaf: _newest(nodes, leaf), default=None)
    return list(reversed(_upwards(nodes, current)))


def _upwards(nodes: dict[str, Any], current: Any) -> list[str]:
    path: dict[str, None] = {}
    while isinstance(current, str) and current in nodes and current not in path:
        path[current] = None
        current = nodes[current].get("parent")
    return list(path)


def _newest(nodes: dict[str, Any], leaf: str) -> float:
    """Return the time of the leaf, or of the nearest node above it that has one."""
    times = (_time(nodes[node_id].get("message")) for node_id in _upwards(nodes, leaf))
    return next((time.timestamp() for time in times if time), 0.0)


def _time(message: Any) -> datetime | None:
    known = mapping(message)
    return instant(known.get("create_time")) or instant(known.get("update_time"))


def _turn(message: dict[str, Any], node_id: str, frame: Frame) -> tuple[list[Item], Frame]:
    """Return a node's row, and the frame with its time: the best guess for a turn without one."""
    key = key_of(CHATGPT.name, frame.session, node_id)
    time = _time(message)
    created = time or frame.time + timedelta(milliseconds=1)
    frame = frame._replace(time=created)
    author = mapping(message.get("author"))
    role = _ROLES.get(text_of(author.get("role")), "assistant")
    content = message.get("content")
    content = content if isinstance(content, dict) else {"parts": [content]}
    kind = text_of(content.get("content_type"))
    reason = _reason(message, role, kind)
    if reason and not (frame.hidden and reason is not Reason.HIDDEN):
        return [Skip(reason, key)], frame
    facts = mapping(message.get("metadata"))
    files = [attached(f) for f in listing(facts.get("attachments")) if isinstance(f, dict)]
    recipient = text_of(message.get("recipient"))
    item = items_of(
        Message,
        key,
        joined(_text(content), *files),
        session_id=frame.session,
        session_title=frame.title,
        role=role,
        author=name(author.get("name")),
        user_id=frame.user,
        created_at=created,
        metadata={
            "source": CHATGPT.name,
            **frame.facts,
            "model": name(facts.get("model_slug")) or frame.facts.get("model"),
            "type": kind if kind != "text" else None,
            "recipient": recipient if recipient != "all" else None,
            "time_estimated": time is None or None,
        },
    )
    return item, frame


def _reason(message: dict[str, Any], role: str, kind: str) -> Reason | None:
    facts = mapping(message.get("metadata"))
    if facts.get("is_visually_hidden_from_conversation"):
        return Reason.HIDDEN_CONTEXT
    if kind in _REASONS:
        return _REASONS[kind]
    if role == "system":
        return Reason.SYSTEM_PROMPT
    return Reason.HIDDEN if message.get("weight") in (0, 0.0) else None


def _text(content: dict[str, Any]) -> str:
    text = next((t for t in (_spoken(content.get(f)) for f in _TEXTS) if t.strip()), "")
    if content.get("content_type") == "tether_quote":
        text = joined(text_of(content.get("title")), text_of(content.get("url")), text)
    return _CITATIONS.sub("", text)


def _spoken(value: Any) -> str:
    """Return the text of a part or of several; pictures and sounds are pointers without any."""
    if isinstance(value, list):
        return joined(*(_spoken(part) for part in value))
    if isinstance(value, dict) and text_of(value.get("content_type")).endswith("_pointer"):
        return text_of(mapping(value.get("metadata")).get("transcription"))
    return flatten(value)
