"""Claude's export: conversations as lists or, since branches exist, trees of messages.

A row is a message. Those beside the path from the newest leaf to the root are skipped as "other
branch"; where no message names a parent, the list is the path. Keys are
`claude:CONVERSATION/MESSAGE`. A message's text is that of its text blocks: the field `text` mixes
in what the model thought and what tools returned. Texts of attachments are read with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.values import Message
from recall.sources.reading.clock import instant
from recall.sources.reading.content import (
    attached,
    call,
    flatten,
    joined,
    listing,
    mapping,
    name,
    text_of,
)
from recall.sources.reading.rows import Skip, items_of, key_of, short_hash
from recall.sources.reason import Reason
from recall.sources.systems.exports import CLAUDE
from recall.sources.systems.exports.export_files import Export

if TYPE_CHECKING:
    from datetime import datetime

    from recall.sources.reading.rows import Item

_ROLES = {"human": "user", "user": "user", "assistant": "assistant", "system": "system"}


def claude_history(target: str, *, include_hidden: bool = False) -> Export:
    """Return the export at `target`: the ZIP, its folder, or its JSON.

    `include_hidden` stores what the model thought as well, where it wrote nothing else.
    """

    def turns(conversation: dict[str, Any], written: datetime) -> list[list[Item]]:
        return _turns(conversation, written, include_hidden)

    return Export(CLAUDE, Path(target), turns)


class Talk(NamedTuple):
    """What holds for all messages of a conversation."""

    session: str
    title: str | None
    user: str | None
    started: datetime
    facts: dict[str, Any]
    hidden: bool


def _turns(conversation: dict[str, Any], written: datetime, hidden: bool) -> list[list[Item]]:
    messages = listing(conversation.get("chat_messages"))
    session = name(conversation.get("uuid")) or f"unknown-{short_hash(messages[:1])}"
    if not messages:
        return [[Skip(Reason.EMPTY_CONVERSATION, session)]]
    started = _time({"created_at": conversation.get("created_at")})
    started = started or next(filter(None, map(_time, messages)), None) or _time(conversation)
    talk = Talk(
        session,
        name(conversation.get("name")),
        name(mapping(conversation.get("account")).get("uuid")),
        started or written,
        {
            "model": name(conversation.get("model")),
            "project": name(conversation.get("project_uuid")),
        },
        hidden,
    )
    path = set(active_messages(messages, name(conversation.get("current_leaf_message_uuid"))))
    rows: list[list[Item]] = []
    time = talk.started
    for number, message in enumerate(messages):
        message_id = name(mapping(message).get("uuid")) or f"{number}"
        key = key_of(CLAUDE.name, session, message_id)
        if not isinstance(message, dict):
            rows.append([Skip(Reason.NOT_AN_OBJECT, key)])
        elif number not in path:
            rows.append([Skip(Reason.OTHER_BRANCH, key)])
        else:
            known = _time(message)
            time = known or time  # without its own, a message is as old as the one before it
            rows.append(_message(message, key, talk, (time, known is None)))
    return rows


def active_messages(messages: list[Any], leaf: str | None) -> list[int]:
    """Return the numbers of the messages from the root to `leaf`, or to the newest one."""
    numbers = [number for number, message in enumerate(messages) if isinstance(message, dict)]
    by_id = {text_of(messages[n].get("uuid")): n for n in numbers if messages[n].get("uuid")}
    if not any(text_of(messages[n].get("parent_message_uuid")) in by_id for n in numbers):
        return numbers  # an older export: a list without branches
    parents: dict[int, int | None] = {}
    for index, number in enumerate(numbers):
        # A message that does not say what it answers, answers the one before it.
        previous = numbers[index - 1] if index else None
        named = messages[number].get("parent_message_uuid")
        parents[number] = previous if named is None else by_id.get(text_of(named))
    inner = set(parents.values())
    leaves = [number for number in numbers if number not in inner] or numbers
    times = _times(messages, numbers)
    newest = max(leaves, key=lambda n: (times[n], n))
    at: int | None = by_id.get(leaf or "", newest)
    path: dict[int, None] = {}
    while at is not None and at not in path:
        path[at] = None
        at = parents[at]
    return sorted(path)


def _times(messages: list[Any], numbers: list[int]) -> dict[int, float]:
    """Return each message's time in seconds; one without is as old as the one before it."""
    times, latest = {}, 0.0
    for number in numbers:
        time = _time(messages[number])
        times[number] = latest = time.timestamp() if time else latest
    return times


def _time(message: Any) -> datetime | None:
    known = mapping(message)
    return instant(known.get("created_at")) or instant(known.get("updated_at"))


def _message(
    message: dict[str, Any], key: str, talk: Talk, time: tuple[datetime, bool]
) -> list[Item]:
    role = _ROLES.get(text_of(message.get("sender")), "assistant")
    text, tools = _text(message, talk.hidden)
    return items_of(
        Message,
        key,
        text,
        session_id=talk.session,
        session_title=talk.title,
        role=role,
        user_id=talk.user,
        created_at=time[0],
        metadata={
            "source": CLAUDE.name,
            **talk.facts,
            "tools": tools,
            "truncated": message.get("truncated") is True or None,
            "time_estimated": time[1] or None,
        },
    )


def _text(message: dict[str, Any], hidden: bool) -> tuple[str, list[str]]:
    """Return a message's text and the names of the tools in it."""
    content = message.get("content")
    blocks = [b for b in listing(content) if isinstance(b, dict)]
    kinds = {id(block): text_of(block.get("type")) for block in blocks}
    text = joined(*(_block(b) for b in blocks if not _is_tool(kinds[id(b)])))
    tools = [b for b in blocks if _is_tool(kinds[id(b)])]
    if not text.strip() and not any(_is_mixed(kind) for kind in kinds.values()):
        text = text_of(message.get("text")) or (content if isinstance(content, str) else "")
    if not text.strip():
        text = joined(*(_tool(block) for block in tools))
    if not text.strip() and hidden:
        text = joined(*(text_of(block.get("thinking")) for block in blocks))
    names = dict.fromkeys(text_of(block.get("name")) for block in tools)
    return joined(text, *_files(message)), [n for n in names if n]


def _is_mixed(kind: str) -> bool:
    """Return whether such a block's words are in the field `text` too."""
    return _is_tool(kind) or kind.endswith("thinking")


def _is_tool(kind: str) -> bool:
    return kind in {"tool_use", "tool_result"}


def _block(block: dict[str, Any]) -> str:
    """Return the text of a block; of one that is not known yet, whatever it calls its text."""
    if text_of(block.get("type")).endswith("thinking"):
        return ""
    return joined(text_of(block.get("title")), text_of(block.get("text")))


def _tool(block: dict[str, Any]) -> str:
    if block.get("type") == "tool_use":
        return call(block.get("name"), block.get("input"))
    return flatten(block.get("content"))


def _files(message: dict[str, Any]) -> list[str]:
    attachments = [a for a in listing(message.get("attachments")) if isinstance(a, dict)]
    texts = [joined(attached(a), text_of(a.get("extracted_content"))) for a in attachments]
    files = [*listing(message.get("files")), *listing(message.get("files_v2"))]
    names = dict.fromkeys(attached(file) for file in files if isinstance(file, dict))
    return [*texts, *names]
