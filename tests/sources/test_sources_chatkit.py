"""ChatKit in every layout that apps made up, with every type of item."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from made_chatkit import ASSISTANT, LAYOUTS, TALK, TEXTS, TIME, USER, item
from sources_reading import database, read

from recall.sources.opening import open_source
from recall.sources.recognition import recognise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_talk(name: str, tmp_path: Path) -> None:
    threads, thread, items, row = LAYOUTS[name]
    path = database(
        tmp_path / "chatkit.db",
        f"create table {threads}",
        f"create table {items}",
        rows={
            threads.split("(")[0]: [thread],
            items.split("(")[0]: [row(each, n) for n, each in enumerate(TALK)],
        },
    )
    assert recognise(path).name == "chatkit"
    reading = read(open_source(path))
    assert sorted(reading.texts) == sorted(TEXTS)
    assert {m.user_id for m in reading.messages} == {"ann"}
    assert {m.session_title for m in reading.messages} == {"a talk"}
    roles = {m.content: m.role for m in reading.messages}
    assert [roles[text] for text in TEXTS] == ["user", "assistant", "tool"]
    assert {m.created_at.year for m in reading.messages if m.created_at} == {2026}
    if name in {"B", "E", "G"}:
        assert reading.texts == TEXTS, "the app's own counter orders what has one time"


def store(path: Path, *items: dict[str, Any]) -> str:
    """Make a store of the official layout that holds `items`."""
    threads, thread, table, row = LAYOUTS["F"]
    return database(
        path,
        f"create table {threads}",
        f"create table {table}",
        rows={"chatkit_threads": [thread], "chatkit_items": [row(i, 0) for i in items]},
    )


CASES = [
    (item("widget", widget={"type": "Card"}, copy_text="copied"), "copied"),
    (
        item("widget", widget={"children": [{"value": "a"}, {"markdown": "b"}, {"n": 1}]}),
        "a\nb",
    ),
    (
        item("structured_input", inputs=[{"question": "Size?", "answer": {"values": ["L", "M"]}}]),
        "Size?\nL\nM",
    ),
    (item("task", task={"type": "web_search", "queries": ["neon", "hnsw"]}), "neon\nhnsw"),
    (
        item(
            "workflow",
            workflow={
                "type": "custom",
                "summary": {"title": "Plan"},
                "tasks": [{"type": "custom", "title": "one", "content": "done"}],
            },
        ),
        "Plan\none\ndone",
    ),
    (
        item("chatkit.client_tool_call", name="f", arguments='{"a": 1}', output='"x"'),
        'f {"a": 1}\n"x"',
    ),
    (item("brand_new", content=[{"type": "text", "text": "still text"}]), "still text"),
]


@pytest.mark.parametrize(("one", "text"), CASES, ids=[case[0]["type"] for case in CASES])
def test_every_type_of_item_is_read_for_its_text(
    one: dict[str, Any], text: str, tmp_path: Path
) -> None:
    assert read(open_source(store(tmp_path / "c.db", one))).texts == [text]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (item("hidden_context_item", content={"clicked": "x"}), "hidden context"),
        (item("sdk_hidden_context", content="cancelled"), "hidden context"),
        (item("end_of_turn"), "no text"),
        (
            item("generated_image", image={"id": "i", "url": "data:image/png;base64,AAAA"}),
            "no text",
        ),
        (item("task", task={"type": "thought", "content": "hm"}), "reasoning"),
        (item("workflow", workflow={"type": "reasoning", "tasks": []}), "reasoning"),
        (item("brand_new"), "unknown type"),
        (item("user_message", content=[]), "empty"),
    ],
)
def test_what_is_no_memory_is_counted(one: dict[str, Any], reason: str, tmp_path: Path) -> None:
    reading = read(open_source(store(tmp_path / "c.db", one)))
    assert (reading.memories, reading.skipped) == ([], {reason: 1})


def test_answers_without_an_id_of_their_own_stay_apart(tmp_path: Path) -> None:
    threads, thread, *_ = LAYOUTS["B"]
    path = database(
        tmp_path / "c.db",
        f"create table {threads}",
        "create table chatkit_thread_items(id text, thread_id text, item_json text, sort_key int)",
        rows={
            "chatkit_threads": [thread],
            "chatkit_thread_items": [
                (
                    "__fake_id__",
                    "t",
                    json.dumps(
                        {**ASSISTANT, "id": "__fake_id__", "created_at": f"2026-11-20T23:15:3{n}"}
                    ),
                    n,
                )
                for n in range(3)
            ],
        },
    )
    reading = read(open_source(path))
    assert len({m.key for m in reading.memories}) == reading.rows == 3


def test_an_edit_keeps_the_key_and_changes_the_content(tmp_path: Path) -> None:
    path = store(tmp_path / "c.db", USER)
    source = open_source(path)
    before, fingerprint = read(source).memories[0], source.fingerprint()
    edited = json.dumps({**USER, "content": [{"type": "input_text", "text": "hello, edited"}]})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update chatkit_items set json = ?", [edited])
    after = read(source).memories[0]
    assert (after.key, after.content) == (before.key, "hello, edited")
    assert source.fingerprint() != fingerprint


def test_a_json_that_somebody_typed_stays_text(tmp_path: Path) -> None:
    threads, thread, items, _ = LAYOUTS["copied sample"]
    path = database(
        tmp_path / "c.db",
        f"create table {threads}",
        f"create table {items}",
        rows={
            "chatkit_threads": [thread],
            "chatkit_thread_items": [
                (str(n), "t", "user", text, None, TIME)
                for n, text in enumerate(["[1, 2]", "7", '"quoted"', "plain"])
            ],
        },
    )
    assert read(open_source(path)).texts == ["[1, 2]", "7", '"quoted"', "plain"]
