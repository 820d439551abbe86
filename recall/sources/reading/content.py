"""The text inside a message's content: a string, a list of parts, or an object."""

from __future__ import annotations

import json
from typing import Any

#: Where a part keeps its text, whatever its type is called.
_TEXTS = ("text", "refusal", "transcript", "content", "summary", "parts", "result")


def parsed(value: object) -> Any:
    """Return the JSON inside `value` when it is text, `value` itself when it is read already.

    None when the text is no JSON. NaN and infinity, which JSON does not know, become None.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode("utf-8", "replace")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> dict[str, Any]:
    """Return `value` when it is a JSON object or the text of one, else an empty one."""
    read = parsed(value)
    return read if isinstance(read, dict) else {}


def listing(value: object) -> list[Any]:
    """Return `value` when it is a JSON list or the text of one, else an empty one."""
    read = parsed(value)
    return read if isinstance(read, list) else []


def text_of(value: object) -> str:
    """Return a plain value as text; nothing for None, lists and objects."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if value is None or isinstance(value, list | dict):
        return ""
    return str(value)


def name(value: object) -> str | None:
    """Return a plain value as the name or id that it is; None when it is empty."""
    return text_of(value).strip() or None


def short_json(value: object) -> str:
    """Return a value as short JSON, a string as it is, nothing for an empty one."""
    if isinstance(value, str):
        return value
    if value is None or value == {} or value == []:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=str)


def joined(*texts: str) -> str:
    """Return the texts that are not blank, a line or more each."""
    return "\n".join(text for text in texts if text.strip())


def call(function: object, arguments: object) -> str:
    """Return a tool call as one line: its name and its arguments."""
    return " ".join(part for part in (text_of(function), short_json(arguments)) if part)


def attached(part: dict[str, Any]) -> str:
    """Return what a file, image or link is found by: its name and its address.

    The bytes of a file, inlined as base64, are no text.
    """
    inner = part.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else inner
    texts = [
        text_of(part.get(field))
        for field in ("title", "filename", "file_name", "name")
        if field in part
    ]
    texts += [text_of(address) for address in (part.get("url"), part.get("file_url"), url)]
    return " ".join(dict.fromkeys(t for t in texts if t and not t.startswith("data:")))


def flatten(value: object, depth: int = 0) -> str:
    """Return all text in a content: strings, parts of any vendor's naming, lists of them."""
    if depth > 20:
        return ""
    if isinstance(value, list):
        return joined(*(flatten(part, depth + 1) for part in value))
    if not isinstance(value, dict):
        return text_of(value)
    for field in _TEXTS:
        text = flatten(value.get(field), depth + 1)
        if text:
            return text
    return attached(value)
