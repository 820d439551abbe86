"""The items of a ChatKit thread, self-hosted or OpenAI-hosted: who says what in each of them."""

from __future__ import annotations

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

#: Item types that no person wrote or read as text.
_SILENT = {"end_of_turn", "generated_image", "image_generation"}
_HIDDEN = {"hidden_context_item", "sdk_hidden_context", "hidden_context"}


def chatkit_utterance(item: dict[str, Any]) -> Utterance:
    """Return what `item` says, by its type; the type's own fields are tried before any other."""
    kind = text_of(item.get("type")).removeprefix("chatkit.")
    if kind in _SILENT:
        return Utterance("assistant", "", Reason.NO_TEXT)
    if kind in _HIDDEN:
        return Utterance("system", short_json(item.get("content")), Reason.HIDDEN_CONTEXT)
    if kind in _READERS:
        return _READERS[kind](item)
    role = role_of(kind) or role_of(text_of(item.get("role")))
    if role is None:
        return Utterance("assistant", flatten(item.get("content")), Reason.UNKNOWN_TYPE)
    reason = Reason.SYSTEM_PROMPT if role == "system" else None
    return Utterance(role, _content(item), reason)


def role_of(kind: str) -> str | None:
    """Return the role that a type or role column means, whatever the app calls it."""
    if "tool" in kind or "function" in kind:
        return "tool"
    if kind in {"system", "developer"}:
        return "system"
    for start, role in (("user", "user"), ("human", "user"), ("assistant", "assistant")):
        if kind.startswith(start):
            return role
    return "assistant" if kind in {"agent", "ai", "bot", "message"} else None


def _content(item: dict[str, Any]) -> str:
    text = flatten(item.get("content")) or text_of(item.get("text"))
    return joined(text, *_files(item))


def _files(item: dict[str, Any]) -> list[str]:
    return [attached(file) for file in listing(item.get("attachments")) if isinstance(file, dict)]


def _user(item: dict[str, Any]) -> Utterance:
    quoted = text_of(item.get("quoted_text"))
    parts = [p for p in listing(item.get("content")) if isinstance(p, dict)]
    tags = [text_of(part.get("text")) for part in parts if part.get("type") == "input_tag"]
    names = [attached(file) for file in listing(item.get("attachments")) if isinstance(file, dict)]
    facts = {"quoted_text": quoted[:1000], "tags": tags, "attachments": names}
    return Utterance("user", joined(f"> {quoted}" if quoted else "", _content(item)), None, facts)


def _assistant(item: dict[str, Any]) -> Utterance:
    texts, titles, urls = [], [], []
    for part in listing(item.get("content")) or [item.get("content")]:
        texts.append(flatten(part))
        for note in listing(part.get("annotations")) if isinstance(part, dict) else []:
            source = mapping(mapping(note).get("source"))
            titles.append(text_of(source.get("title")) or text_of(source.get("filename")))
            urls.append(text_of(source.get("url")))
    sources = dict.fromkeys(" ".join(filter(None, pair)) for pair in zip(titles, urls, strict=True))
    return Utterance("assistant", joined(*texts, *sources, *_files(item)))


def _tool(item: dict[str, Any]) -> Utterance:
    # OpenAI-hosted threads keep both as the text of a JSON.
    line = call(item.get("name"), item.get("arguments"))
    facts = {
        "tool": text_of(item.get("name")),
        "call_id": text_of(item.get("call_id")),
        "status": text_of(item.get("status")),
    }
    return Utterance("tool", joined(line, short_json(item.get("output"))), None, facts)


def _widget(item: dict[str, Any]) -> Utterance:
    copied = text_of(item.get("copy_text"))
    return Utterance("assistant", copied or joined(*_leaves(mapping(item.get("widget")))))


def _leaves(tree: Any, depth: int = 0) -> list[str]:
    """Return the texts in a tree of user interface, in its order."""
    if depth > 40:
        return []
    if isinstance(tree, list):
        return [text for branch in tree for text in _leaves(branch, depth + 1)]
    if not isinstance(tree, dict):
        return []
    values = [tree[f] for f in ("title", "label", "text", "value", "markdown") if f in tree]
    texts = [text for text in values if isinstance(text, str)]
    inner = [v for name, v in tree.items() if name not in {"theme", "action"}]
    return texts + [text for value in inner for text in _leaves(value, depth + 1)]


def _inputs(item: dict[str, Any]) -> Utterance:
    lines = []
    for question in listing(item.get("inputs")):
        asked = mapping(question)
        answer = mapping(asked.get("answer"))
        lines.append(joined(text_of(asked.get("question")), flatten(answer.get("values"))))
    return Utterance("user", joined(*lines))


def _task(item: dict[str, Any]) -> Utterance:
    task = mapping(item.get("task")) or item
    reason = Reason.REASONING if task.get("type") == "thought" else None
    return Utterance("assistant", _task_text(task), reason)


def _task_text(task: dict[str, Any]) -> str:
    sources = [attached(s) for s in listing(task.get("sources")) if isinstance(s, dict)]
    queries = flatten(task.get("queries"))
    return joined(text_of(task.get("title")), flatten(task.get("content")), queries, *sources)


def _workflow(item: dict[str, Any]) -> Utterance:
    flow = mapping(item.get("workflow"))
    tasks = [task for task in listing(flow.get("tasks")) if isinstance(task, dict)]
    title = text_of(mapping(flow.get("summary")).get("title"))
    reason = Reason.REASONING if flow.get("type") == "reasoning" else None
    return Utterance("assistant", joined(title, *(_task_text(task) for task in tasks)), reason)


def _group(item: dict[str, Any]) -> Utterance:
    tasks = [task for task in listing(item.get("tasks")) if isinstance(task, dict)]
    return Utterance("assistant", joined(*(_task_text(task) for task in tasks)))


_READERS = {
    "user_message": _user,
    "assistant_message": _assistant,
    "client_tool_call": _tool,
    "widget": _widget,
    "structured_input": _inputs,
    "task": _task,
    "workflow": _workflow,
    "task_group": _group,
}
