"""ChatKit's items in every layout that an app made up for them."""

from __future__ import annotations

import json
from typing import Any

TIME = "2026-11-20T23:15:30.923576"


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"{kind}-1", "thread_id": "t", "created_at": TIME, "type": kind, **fields}


USER = item("user_message", content=[{"type": "input_text", "text": "hello"}], attachments=[])


ASSISTANT = item("assistant_message", content=[{"type": "output_text", "text": "hi there"}])


TOOL = item("client_tool_call", name="open", arguments={"p": 1}, output={"ok": True}, call_id="c")


THREAD = {"id": "t", "created_at": TIME, "title": "a talk", "metadata": {"user_id": "ann"}}


TALK = (USER, ASSISTANT, TOOL)


TEXTS = ["hello", "hi there", 'open {"p": 1}\n{"ok": true}']


def short(kind: str) -> str:
    return {"user_message": "user", "assistant_message": "assistant"}.get(kind, "tool_call")


#: Layout of sources.md §4d: the threads table, its row, the items table, and a row of an item.
LAYOUTS: dict[str, tuple[str, tuple[Any, ...], str, Any]] = {
    "official": (
        "threads(id text primary key, user_id text, created_at text, data text)",
        ("t", "ann", TIME, json.dumps(THREAD)),
        "items(id text primary key, thread_id text, user_id text, created_at text, data text)",
        lambda i, n: (i["id"], "t", "ann", TIME, json.dumps(i)),
    ),
    "wrapped": (
        "threads(id text primary key, user_id text, created_at text, data text)",
        ("t", "ann", TIME, json.dumps({"thread": THREAD})),
        "items(id text primary key, thread_id text, user_id text, created_at text, data text)",
        lambda i, n: (i["id"], "t", "ann", TIME, json.dumps({"item": i})),
    ),
    "copied sample": (
        "chatkit_threads(id text primary key, user_id text, metadata text, created_at text)",
        ("t", "ann", json.dumps({"title": "a talk"}), TIME),
        "chatkit_thread_items(id text primary key, thread_id text, type text, content text, "
        "metadata text, created_at text)",
        lambda i, n: (i["id"], "t", short(i["type"]), TEXTS[n], "{}", TIME),
    ),
    "A": (
        "chatkit_threads(id text primary key, data json, created_at text, updated_at text)",
        ("t", json.dumps(THREAD), TIME, TIME),
        "chatkit_thread_items(id text primary key, thread_id text, data json, created_at text)",
        lambda i, n: (i["id"], "t", json.dumps(i), TIME),
    ),
    "B": (
        "chatkit_threads(id text, user_id text, title text, metadata_json text)",
        ("t", "ann", "a talk", "{}"),
        "chatkit_thread_items(id text, thread_id text, item_json text, sort_key int, "
        "created_at text)",
        lambda i, n: (i["id"], "t", json.dumps(i), n, TIME),
    ),
    "C": (
        "chatkit_threads(id text, user_id text, title text, thread_metadata json)",
        ("t", "ann", "a talk", "{}"),
        "chatkit_thread_items(id text, thread_id text, item_type text, content text, "
        "created_at datetime)",
        lambda i, n: (
            i["id"],
            "t",
            i["type"],
            json.dumps(i.get("content", i)),
            TIME,
        ),
    ),
    "D": (
        "chatkit_threads(id text, title text, status json, metadata json, created_at text)",
        ("t", "a talk", "{}", json.dumps({"user_id": "ann"}), TIME),
        "chatkit_thread_items(id text, thread_id text, type text, data json, created_at text)",
        lambda i, n: (
            i["id"],
            "t",
            i["type"],
            json.dumps({k: v for k, v in i.items() if k not in {"id", "type", "thread_id"}}),
            TIME,
        ),
    ),
    "E": (
        "chatkit_threads(id text, user_id text, metadata json, created_at datetime)",
        ("t", "ann", json.dumps({"title": "a talk"}), TIME),
        "chatkit_thread_items(id text, thread_id text, item_type text, role text, content text, "
        "tool_name text, tool_arguments text, tool_output text, task_title text, "
        "created_at datetime, sequence_number integer)",
        lambda i, n: (
            i["id"],
            "t",
            i["type"],
            "user" if n == 0 else "assistant",
            TEXTS[n] if n < 2 else None,
            i.get("name"),
            json.dumps(i.get("arguments")),
            json.dumps(i.get("output")),
            None,
            TIME,
            n,
        ),
    ),
    "F": (
        "chatkit_threads(id text, user_id text, metadata json, created_at datetime)",
        ("t", "ann", json.dumps({"title": "a talk"}), TIME),
        "chatkit_items(thread_id text, id text, created_at text, json text, "
        "primary key (thread_id, id))",
        lambda i, n: ("t", i["id"], TIME, json.dumps(i)),
    ),
    "G": (
        "chatkit_threads(id text, user_id text, title text, created_at integer)",
        ("t", "ann", "a talk", 1795216530),
        "chatkit_thread_items(id text, thread_id text, object text, type text, data json, "
        "item_index integer, created_at real)",
        lambda i, n: (
            i["id"],
            "t",
            "chatkit.thread_item",
            f"chatkit.{i['type']}",
            json.dumps({k: v for k, v in i.items() if k not in {"type", "created_at"}}),
            n,
            1795216530.0,
        ),
    ),
}
