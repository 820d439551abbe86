"""The items of OpenAI's Responses API: what a conversation holds, and what the Agents SDK stores.

Dispatch is on the item's `type`, never on a class: the client reads an unknown type as a message.
"""

from __future__ import annotations

import json
from typing import Any

from recall.sources.reading.content import (
    attached,
    call,
    flatten,
    joined,
    listing,
    mapping,
    short_json,
    text_of,
)
from recall.sources.reading.utterance import Utterance
from recall.sources.reason import Reason

#: Items that only a model can read, or that say nothing.
_SKIPPED = {
    "reasoning": Reason.REASONING,
    "compaction": Reason.ENCRYPTED,
    "compaction_summary": Reason.ENCRYPTED,
    "mcp_list_tools": Reason.TOOL_LIST,
    "tool_search_call": Reason.TOOL_LIST,
    "tool_search_output": Reason.TOOL_LIST,
    "additional_tools": Reason.TOOL_LIST,
    "configuration_update": Reason.NO_TEXT,
    "item_reference": Reason.NO_TEXT,
}
_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_HIDDEN = {"system", "developer"}


def openai_utterance(item: dict[str, Any], hidden: bool = False) -> Utterance:
    """Return what `item` says; `hidden` lets system prompts and summaries of reasoning through."""
    kind = text_of(item.get("type")) or "message"
    facts = {
        "type": kind,
        "item_id": text_of(item.get("id")),
        "call_id": text_of(item.get("call_id")),
        "tool": text_of(item.get("name")),
        "status": text_of(item.get("status")) if item.get("status") != "completed" else "",
    }
    if "__enc__" in item:
        return Utterance("assistant", "", Reason.ENCRYPTED, facts)
    if kind == "message":
        return _message(item, facts, hidden)
    if kind == "reasoning" and hidden:
        return Utterance("assistant", joined(flatten(item.get("summary"))), None, facts)
    if kind in _SKIPPED:
        return Utterance("assistant", "", _SKIPPED[kind], facts)
    if kind.endswith(("_output", "_response")):
        return Utterance("tool", _output(item), None, facts)
    if kind.endswith("_call") or kind in {"mcp_approval_request", "program"}:
        return Utterance("assistant", _call(kind, item), None, facts)
    text = flatten(item.get("content"))
    return Utterance("assistant", text, None if text.strip() else Reason.UNKNOWN_TYPE, facts)


def _message(item: dict[str, Any], facts: dict[str, Any], hidden: bool) -> Utterance:
    role = text_of(item.get("role"))
    if role in _HIDDEN and not hidden:
        return Utterance("system", "", Reason.SYSTEM_PROMPT, facts)
    # The Chat Completions shape keeps calls beside an empty content.
    calls = [mapping(mapping(c).get("function")) for c in listing(item.get("tool_calls"))]
    lines = [call(c.get("name"), c.get("arguments")) for c in calls]
    text = joined(flatten(item.get("content")), *lines)
    if not role and not text.strip():
        return Utterance("assistant", "", Reason.UNKNOWN_TYPE, facts)
    named = "system" if role in _HIDDEN else _ROLES.get(role, "assistant" if role else "user")
    return Utterance(named, text, None, facts)


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
        return joined(text_of(part.get("stdout")), text_of(part.get("stderr")))
    if isinstance(part, dict) and "logs" in part:
        return text_of(part["logs"])
    return flatten(part) or (attached(part) if isinstance(part, dict) else "")


def _call(kind: str, item: dict[str, Any]) -> str:
    action = item.get("action")
    if kind == "web_search_call":
        asked = mapping(action)
        sources = [attached(s) for s in listing(asked.get("sources")) if isinstance(s, dict)]
        query = text_of(asked.get("query")) or flatten(asked.get("queries"))
        return joined(query or text_of(asked.get("url")), *sources)
    if kind == "file_search_call":
        results = [mapping(result) for result in listing(item.get("results"))]
        lines = [joined(text_of(r.get("filename")), text_of(r.get("text"))) for r in results]
        return joined(flatten(item.get("queries")), *lines)
    if kind == "code_interpreter_call":
        logs = [_logged(part) for part in listing(item.get("outputs"))]
        return joined(text_of(item.get("code")), *logs)
    if kind == "image_generation_call":
        return text_of(item.get("revised_prompt"))  # its result is the image, in base64
    if kind == "apply_patch_call":
        patch = mapping(item.get("operation"))
        return joined(text_of(patch.get("path")), text_of(patch.get("diff")))
    if isinstance(action, dict):
        command = action.get("command") or action.get("commands")
        return _command(command) or short_json({k: v for k, v in action.items() if k != "env"})
    arguments = item.get("arguments", item.get("input", item.get("code")))
    line = call(item.get("name"), arguments)
    return joined(line, *([short_json(item["output"])] if item.get("output") else []))


def _command(command: Any) -> str:
    if isinstance(command, list):
        return " ".join(c if isinstance(c, str) else json.dumps(c) for c in command)
    return text_of(command)
