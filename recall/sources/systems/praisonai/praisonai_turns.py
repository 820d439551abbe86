"""PraisonAI's messages, as its tables and its session files both hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import (
    call,
    flatten,
    joined,
    listing,
    mapping,
    name,
    parsed,
    short_json,
    text_of,
)
from recall.sources.reading.rows import Item, Skip, items_of, key_of, short_hash
from recall.sources.reason import Reason
from recall.sources.systems.praisonai import PRAISONAI

if TYPE_CHECKING:
    from datetime import datetime, tzinfo


def praisonai_message(
    row: dict[str, Any], session: dict[str, Any], naive: tzinfo, hidden: bool
) -> list[Item]:
    """Return one message of a store or of a session file as a memory."""
    session_id = name(row.get("session_id")) or PRAISONAI.name
    role = text_of(row.get("role")) or "user"
    written = row.get("created_at") or row.get("timestamp")
    time = instant(written, naive)
    text, facts = _text(row)
    key = key_of(PRAISONAI.name, session_id, _identity(row, role, time))
    metadata = mapping(row.get("metadata"))
    if metadata.get("compaction"):
        return [Skip(Reason.SUMMARY, key)]
    if role in {"system", "developer"} and not hidden:
        return [Skip(Reason.SYSTEM_PROMPT, key)]
    title = name(session.get("name"))
    return items_of(
        Message,
        key,
        text,
        session_id=session_id,
        session_title=None if title == f"Session {session_id}" else title,
        role=role,
        author=name(session.get("agent_id")) if role == "assistant" else None,
        # Its word for "nobody said who"
        user_id=None if session.get("user_id") == "default" else name(session.get("user_id")),
        created_at=time or instant(session.get("created_at"), naive) or UNKNOWN,
        metadata={
            "source": PRAISONAI.name,
            **facts,
            "id": name(row.get("id")),
            "agent": name(session.get("agent_id")),
            "time_estimated": time is None or None,
        },
    )


def _identity(row: dict[str, Any], role: str, time: datetime | None) -> str:
    """Return what two copies of a message share, whoever gave them their ids."""
    if time is None and row.get("id"):
        return text_of(row["id"])  # without a time, equal turns of a session would be one
    micros = round(time.timestamp() * 1e6) if time else 0
    return short_hash(role, row.get("content") or listing(row.get("tool_calls")), micros)


def _text(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text of a turn and what is known of the tool in it, in all three encodings."""
    content = row.get("content")
    calls = [c for c in listing(row.get("tool_calls")) if isinstance(c, dict)]
    if calls:
        functions = [mapping(c.get("function")) or c for c in calls]
        lines = [call(f.get("name"), f.get("arguments")) for f in functions]
        named = [text_of(f.get("name")) for f in functions]
        ids = [text_of(c.get("id")) for c in calls]
        return joined(flatten(content), *lines), {"tool": ", ".join(named), "call_id": ids}
    if row.get("role") == "tool":
        result = parsed(content) if text_of(content).lstrip().startswith("{") else None
        tool = name(mapping(row.get("metadata")).get("tool_name"))
        facts = {"tool": tool, "call_id": name(row.get("tool_call_id"))}
        if isinstance(result, dict) and "tool" in result:
            line = call(result["tool"], result.get("args"))
            return joined(line, short_json(result.get("result"))), {**facts, "tool": result["tool"]}
        return flatten(content), facts
    return flatten(content), {}
