"""The items of OpenAI's Responses API: what a conversation holds, and what the Agents SDK stores.

Dispatch is on the item's `type`, never on a class: the client reads an unknown type as a message.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from recall.sources.reading.content import (
    attached,
    call,
    compact,
    flatten,
    joined,
    listing,
    mapping,
    words,
)

#: Items that only a model can read, or that say nothing.
SKIPPED = {
    "reasoning": "reasoning",
    "compaction": "encrypted",
    "compaction_summary": "encrypted",
    "mcp_list_tools": "tool list",
    "tool_search_call": "tool list",
    "tool_search_output": "tool list",
    "additional_tools": "tool list",
    "configuration_update": "no text",
    "item_reference": "no text",
}
ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
HIDDEN = {"system", "developer"}


class Said(NamedTuple):
    """What an item says, or the `reason` why it is no memory."""

    role: str
    text: str
    facts: dict[str, Any]
    reason: str | None = None


def said(item: dict[str, Any], hidden: bool = False) -> Said:
    """Return what `item` says; `hidden` lets system prompts and summaries of reasoning through."""
    kind = words(item.get("type")) or "message"
    facts = {
        "type": kind,
        "item_id": words(item.get("id")),
        "call_id": words(item.get("call_id")),
        "tool": words(item.get("name")),
        "status": words(item.get("status")) if item.get("status") != "completed" else "",
    }
    if "__enc__" in item:
        return Said("assistant", "", facts, "encrypted")
    if kind == "message":
        return _message(item, facts, hidden)
    if kind == "reasoning" and hidden:
        return Said("assistant", joined(flatten(item.get("summary"))), facts)
    if kind in SKIPPED:
        return Said("assistant", "", facts, SKIPPED[kind])
    if kind.endswith(("_output", "_response")):
        return Said("tool", _output(item), facts)
    if kind.endswith("_call") or kind in {"mcp_approval_request", "program"}:
        return Said("assistant", _call(kind, item), facts)
    text = flatten(item.get("content"))
    return Said("assistant", text, facts, None if text.strip() else "unknown type")


def _message(item: dict[str, Any], facts: dict[str, Any], hidden: bool) -> Said:
    role = words(item.get("role"))
    if role in HIDDEN and not hidden:
        return Said("system", "", facts, "system prompt")
    # The Chat Completions shape keeps calls beside an empty content.
    calls = [mapping(mapping(c).get("function")) for c in listing(item.get("tool_calls"))]
    lines = [call(c.get("name"), c.get("arguments")) for c in calls]
    text = joined(flatten(item.get("content")), *lines)
    if not role and not text.strip():
        return Said("assistant", "", facts, "unknown type")
    named = "system" if role in HIDDEN else ROLES.get(role, "assistant" if role else "user")
    return Said(named, text, facts)


def _output(item: dict[str, Any]) -> str:
    output = item.get("output")
    if output is None:
        output = item.get("reason")  # of an approval that was given or refused
    if isinstance(output, dict) and output.get("type") == "computer_screenshot":
        return attached(output)
    texts = [_logged(part) for part in output] if isinstance(output, list) else [_logged(output)]
    return joined(*texts)


def _logged(part: Any) -> str:
    """Return a part of an output: text, a file's name, or what a shell wrote."""
    if isinstance(part, dict) and ("stdout" in part or "stderr" in part):
        return joined(words(part.get("stdout")), words(part.get("stderr")))
    if isinstance(part, dict) and "logs" in part:
        return words(part["logs"])
    return flatten(part) or (attached(part) if isinstance(part, dict) else "")


def _call(kind: str, item: dict[str, Any]) -> str:
    action = item.get("action")
    if kind == "web_search_call":
        asked = mapping(action)
        found = [attached(s) for s in listing(asked.get("sources")) if isinstance(s, dict)]
        query = words(asked.get("query")) or flatten(asked.get("queries"))
        return joined(query or words(asked.get("url")), *found)
    if kind == "file_search_call":
        results = [mapping(result) for result in listing(item.get("results"))]
        lines = [joined(words(r.get("filename")), words(r.get("text"))) for r in results]
        return joined(flatten(item.get("queries")), *lines)
    if kind == "code_interpreter_call":
        logs = [_logged(part) for part in listing(item.get("outputs"))]
        return joined(words(item.get("code")), *logs)
    if kind == "image_generation_call":
        return words(item.get("revised_prompt"))  # its result is the image, in base64
    if kind == "apply_patch_call":
        patch = mapping(item.get("operation"))
        return joined(words(patch.get("path")), words(patch.get("diff")))
    if isinstance(action, dict):
        command = action.get("command") or action.get("commands")
        return _command(command) or compact({k: v for k, v in action.items() if k != "env"})
    arguments = item.get("arguments", item.get("input", item.get("code")))
    line = call(item.get("name"), arguments)
    return joined(line, *([compact(item["output"])] if item.get("output") else []))


def _command(command: Any) -> str:
    if isinstance(command, list):
        return " ".join(c if isinstance(c, str) else json.dumps(c) for c in command)
    return words(command)
