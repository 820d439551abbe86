"""The items of a ChatKit thread, self-hosted or OpenAI-hosted: who says what in each of them."""

from __future__ import annotations

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

#: Item types that no person wrote or read as text.
SILENT = {"end_of_turn": "no text", "generated_image": "no text", "image_generation": "no text"}
HIDDEN = {"hidden_context_item", "sdk_hidden_context", "hidden_context"}


class Said(NamedTuple):
    """What an item says; a `reason` says why it is no memory unless hidden things are wanted."""

    role: str
    text: str
    reason: str | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012  (a default of a tuple, never changed)


def said(item: dict[str, Any]) -> Said:
    """Return what `item` says, by its type; the type's own fields are tried before any other."""
    kind = words(item.get("type")).removeprefix("chatkit.")
    if kind in SILENT:
        return Said("assistant", "", SILENT[kind])
    if kind in HIDDEN:
        return Said("system", compact(item.get("content")), "hidden context")
    if kind in _READERS:
        return _READERS[kind](item)
    role = role_of(kind) or role_of(words(item.get("role")))
    if role is None:
        return Said("assistant", flatten(item.get("content")), "unknown type")
    reason = "system prompt" if role == "system" else None
    return Said(role, _content(item), reason)


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
    text = flatten(item.get("content")) or words(item.get("text"))
    return joined(text, *_files(item))


def _files(item: dict[str, Any]) -> list[str]:
    return [attached(file) for file in listing(item.get("attachments")) if isinstance(file, dict)]


def _user(item: dict[str, Any]) -> Said:
    quoted = words(item.get("quoted_text"))
    parts = [p for p in listing(item.get("content")) if isinstance(p, dict)]
    tags = [words(part.get("text")) for part in parts if part.get("type") == "input_tag"]
    names = [attached(file) for file in listing(item.get("attachments")) if isinstance(file, dict)]
    facts = {"quoted_text": quoted[:1000], "tags": tags, "attachments": names}
    return Said("user", joined(f"> {quoted}" if quoted else "", _content(item)), None, facts)


def _assistant(item: dict[str, Any]) -> Said:
    texts, titles, urls = [], [], []
    for part in listing(item.get("content")) or [item.get("content")]:
        texts.append(flatten(part))
        for note in listing(part.get("annotations")) if isinstance(part, dict) else []:
            source = mapping(mapping(note).get("source"))
            titles.append(words(source.get("title")) or words(source.get("filename")))
            urls.append(words(source.get("url")))
    sources = dict.fromkeys(" ".join(filter(None, pair)) for pair in zip(titles, urls, strict=True))
    return Said("assistant", joined(*texts, *sources, *_files(item)))


def _tool(item: dict[str, Any]) -> Said:
    # OpenAI-hosted threads keep both as the text of a JSON.
    line = call(item.get("name"), item.get("arguments"))
    facts = {
        "tool": words(item.get("name")),
        "call_id": words(item.get("call_id")),
        "status": words(item.get("status")),
    }
    return Said("tool", joined(line, compact(item.get("output"))), None, facts)


def _widget(item: dict[str, Any]) -> Said:
    copied = words(item.get("copy_text"))
    return Said("assistant", copied or joined(*_leaves(mapping(item.get("widget")))))


def _leaves(tree: Any, depth: int = 0) -> list[str]:
    """Return the texts in a tree of user interface, in its order."""
    if depth > 40:
        return []
    if isinstance(tree, list):
        return [text for branch in tree for text in _leaves(branch, depth + 1)]
    if not isinstance(tree, dict):
        return []
    found = [tree[f] for f in ("title", "label", "text", "value", "markdown") if f in tree]
    texts = [text for text in found if isinstance(text, str)]
    inner = [v for name, v in tree.items() if name not in {"theme", "action"}]
    return texts + [text for value in inner for text in _leaves(value, depth + 1)]


def _inputs(item: dict[str, Any]) -> Said:
    lines = []
    for question in listing(item.get("inputs")):
        asked = mapping(question)
        answer = mapping(asked.get("answer"))
        lines.append(joined(words(asked.get("question")), flatten(answer.get("values"))))
    return Said("user", joined(*lines))


def _task(item: dict[str, Any]) -> Said:
    task = mapping(item.get("task")) or item
    reason = "reasoning" if task.get("type") == "thought" else None
    return Said("assistant", _task_text(task), reason)


def _task_text(task: dict[str, Any]) -> str:
    sources = [attached(s) for s in listing(task.get("sources")) if isinstance(s, dict)]
    queries = flatten(task.get("queries"))
    return joined(words(task.get("title")), flatten(task.get("content")), queries, *sources)


def _workflow(item: dict[str, Any]) -> Said:
    flow = mapping(item.get("workflow"))
    tasks = [task for task in listing(flow.get("tasks")) if isinstance(task, dict)]
    title = words(mapping(flow.get("summary")).get("title"))
    reason = "reasoning" if flow.get("type") == "reasoning" else None
    return Said("assistant", joined(title, *(_task_text(task) for task in tasks)), reason)


def _group(item: dict[str, Any]) -> Said:
    tasks = [task for task in listing(item.get("tasks")) if isinstance(task, dict)]
    return Said("assistant", joined(*(_task_text(task) for task in tasks)))


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
