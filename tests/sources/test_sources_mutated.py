"""Whatever a row turns into, nothing crashes and every row is found or skipped."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_chatkit import LAYOUTS, TALK
from made_exports import BRANCHES, ROOT, claude, said, talk
from mutations import ITEMS, JSON, TEXT, mutated
from sources_reading import database, read
from strategies import examples

from recall.sources.opening import open_source
from recall.sources.systems.openai.openai_items import openai_utterance

if TYPE_CHECKING:
    from collections.abc import Iterable

CELL = (
    st.none()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=8)
    | JSON.map(json.dumps)
)


def columns(statement: str) -> list[str]:
    """Return the names of the columns that a `create table` makes."""
    inside = statement.split("(", 1)[1].split("primary key (")[0]
    return [part.split()[0] for part in inside.split(",") if part.split()]


OPENZESS = (
    "create table sessions (id varchar, title varchar, created_at datetime)",
    "create table messages (id integer primary key, session_id varchar, role varchar, "
    "content varchar, created_at datetime)",
    "create table notes (id varchar, title varchar, content varchar, category varchar, "
    "created_at datetime, updated_at datetime)",
)  # fmt: skip
AGENTS = (
    "create table agent_sessions (session_id text, created_at timestamp)",
    "create table agent_messages (id integer primary key, session_id text, "
    "message_data text, created_at timestamp)",
)  # fmt: skip
MOLTNET = (
    "create table rooms (id text, name text, visibility text, write_policy text, deleted_at text)",
    "create table room_members (room_id text, member_id text)",
    "create table dm_participants (dm_id text, participant_id text)",
    "create table messages (id text, network_id text, target_kind text, room_id text, "
    "thread_id text, dm_id text, target_json text, from_json text, parts_json text, "
    "mentions_json text, created_at text, origin_json text)",
)  # fmt: skip
PRAISON = (
    "create table praison_sessions (session_id text, user_id text, agent_id text, "
    "name text, metadata text, created_at real)",
    "create table praison_messages (id text, session_id text, role text, content text, "
    "tool_calls text, tool_call_id text, metadata text, created_at real)",
)  # fmt: skip
CHATKIT = tuple(f"create table {LAYOUTS['E'][n]}" for n in (0, 2))


@pytest.mark.parametrize(
    ("name", "statements"),
    [
        ("openzess", OPENZESS),
        ("openai-agents", AGENTS),
        ("moltnet", MOLTNET),
        ("praisonai", PRAISON),
        ("chatkit", CHATKIT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@given(data=st.data())
@examples(25)
def test_tables_of_anything(name: str, statements: tuple[str, ...], data: st.DataObject) -> None:
    rows: dict[str, Iterable[Any]] = {}
    for statement in statements:
        table = statement.removeprefix("create table ").split("(")[0].strip()
        width = len(columns(statement))
        numbered = "id integer primary key" in statement
        cells = st.lists(CELL, min_size=width, max_size=width)
        drawn = data.draw(st.lists(cells, max_size=4))
        rows[table] = [[n, *row[1:]] if numbered else row for n, row in enumerate(drawn)]
    with tempfile.TemporaryDirectory() as folder:
        read(open_source(database(Path(folder, "a.db"), *statements, rows=rows), name))


@given(data=st.data())
@examples(250)
def test_items_of_chatkit(data: st.DataObject) -> None:
    items = [data.draw(mutated(item)) for item in TALK]
    threads, thread, table, _ = LAYOUTS["A"]
    rows = [(f"i{n}", "t", json.dumps(item), None) for n, item in enumerate(items)]
    with tempfile.TemporaryDirectory() as folder:
        path = database(
            Path(folder, "a.db"),
            f"create table {threads}",
            f"create table {table}",
            rows={"chatkit_threads": [thread], "chatkit_thread_items": rows},
        )
        assert read(open_source(path, "chatkit")).rows == len(rows)


@given(st.sampled_from(ITEMS).flatmap(mutated))
@examples(200)
def test_items_of_openai(item: Any) -> None:
    if isinstance(item, dict):
        told = openai_utterance(item)
        assert isinstance(told.text, str) and isinstance(told.role, str) and told.role


GPT = talk(*BRANCHES, current_node="a2")
CLAUDE = claude(
    said("q", "q", ROOT, created_at="2025-10-01T10:00:01Z"),
    said(
        "a", [{"type": "tool_use", "name": "f", "input": {}}], "q", attachments=[{"file_name": "f"}]
    ),
)


@pytest.mark.parametrize(("name", "conversation"), [("chatgpt", GPT), ("claude", CLAUDE)])
@given(data=st.data())
@examples(250)
def test_exports(name: str, conversation: dict[str, Any], data: st.DataObject) -> None:
    conversations = [data.draw(mutated(conversation)) for _ in range(2)]
    # NaN is no JSON, and no exporter writes it.
    text = json.dumps(conversations).replace("NaN", "null").replace("-Infinity", "null")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "conversations.json")
        path.write_text(text.replace("Infinity", "null"))
        reading = read(open_source(str(path), name))
        assert reading.rows >= len(conversations)
        assert reading.rows == sum(expected(name, c) for c in json.loads(path.read_text()))


def expected(name: str, conversation: Any) -> int:
    """Return the rows of a conversation, counted without recall: its messages, else itself."""
    if not isinstance(conversation, dict):
        return 1
    if name == "claude":
        messages = conversation.get("chat_messages")
        return len(messages) or 1 if isinstance(messages, list) else 1
    nodes = conversation.get("mapping")
    nodes = nodes.values() if isinstance(nodes, dict) else []
    return sum(isinstance(n, dict) and isinstance(n.get("message"), dict) for n in nodes) or 1


SESSION = {
    "session_id": "s",
    "messages": [{"role": "tool", "content": '{"tool": "f"}', "timestamp": 1.7e9}],
    "archived_messages": [{"role": "user", "content": "x", "metadata": {"compaction": True}}],
}
STORE = {
    "rooms": {"r": {"members": ["a"], "visibility": "private"}},
    "removed_rooms": {"gone": "0001-01-01T00:00:00Z"},
    "room_messages": {"r": [{"id": "m", "parts": [{"kind": "text", "text": "x"}], "from": {}}]},
    "direct_members": {"d": {"a": {}}},
    "direct_messages": {"d": [{"id": "n", "target": {"kind": "dm"}, "parts": []}]},
}


@given(mutated(SESSION))
@examples(250)
def test_session_files_of_praisonai(session: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "s.json").write_text(json.dumps(session))
        assert read(open_source(folder, "praisonai")).rows >= 1


@given(
    st.sampled_from(["room_messages", "direct_messages", "direct_members", "removed_rooms"]),
    st.data(),
)
@examples(250)
def test_the_json_store_of_moltnet(field: str, data: st.DataObject) -> None:
    store = {**STORE, field: data.draw(mutated(STORE[field]))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.json")
        path.write_text(json.dumps(store))
        read(open_source(str(path), "moltnet"))


LINE = {"type": "message", "session_id": "s", "role": "user", "content": "x", "metadata": {"a": 1}}


@given(st.lists(mutated(LINE) | JSON, max_size=5))
@examples(250)
def test_lines(lines: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_text("\n".join(json.dumps(line) for line in lines))
        assert read(open_source(str(path), "jsonl")).rows == len(lines)


QUERY = (
    "select a as key, b as session_id, c as role, d as content, e as created_at, f as metadata, g"
    " from t"
)


@pytest.mark.parametrize("query", [QUERY, QUERY.replace("a as key, ", "a, ")])
@given(rows=st.lists(st.lists(CELL, min_size=7, max_size=7), max_size=5))
@examples(60)
def test_queries(query: str, rows: list[list[Any]]) -> None:
    for number, row in enumerate(rows):
        row[0] = f"{number}" if row[0] is not None else None  # whoever names keys, names them apart
    with tempfile.TemporaryDirectory() as folder:
        table = "create table t (a text, b, c, d, e, f, g)"
        path = database(Path(folder, "a.db"), table, rows={"t": rows})
        assert read(open_source(path, "sql", query=query)).rows == len(rows)


MESSAGES = [
    {"type": "human", "content": "x", "id": "1"},
    {
        "type": "ai",
        "content": [{"type": "text", "text": "x"}],
        "tool_calls": [{"name": "f", "args": {"q": "x"}, "id": "c"}],
        "additional_kwargs": {"summary": True},
    },
    {"type": "tool", "content": "x", "tool_call_id": "c", "name": "f"},
    {"kwargs": {"content": "x", "type": "system"}},
    ["user", "x"],
]


@given(messages=st.lists(st.sampled_from(MESSAGES).flatmap(mutated), min_size=1, max_size=4))
@examples(100)
def test_messages_of_langgraph(messages: list[Any]) -> None:
    base = pytest.importorskip("langgraph.checkpoint.base", reason="is the extra recall[langgraph]")
    sqlite = pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs its SQLite saver")
    checkpoint = {**base.empty_checkpoint(), "channel_values": {"messages": messages}}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "checkpoints.db"))
        with sqlite.SqliteSaver.from_conn_string(path) as saver:
            thread = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            saver.put(thread, checkpoint, {}, {})
        assert read(open_source(path, "langgraph")).rows == len(messages)
