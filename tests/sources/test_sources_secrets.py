"""What must not be stored: secrets, what is encrypted, bytes of files; counted, never told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from made_exports import ROOT, claude, node, said, talk, written
from sources_reading import Reading, database, read

from recall.sources.opening import open_source

if TYPE_CHECKING:
    from pathlib import Path

#: Stands wherever a system keeps what is not for others.
HUSH = "hush-hush-hush"
BYTES = f"data:image/png;base64,{'QUFB' * 100}"
ENCRYPTED = {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": HUSH}
ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_image", "image_url": BYTES}]},
    {"type": "reasoning", "summary": [], "encrypted_content": HUSH},
    {"type": "compaction", "encrypted_content": HUSH},
    {"type": "local_shell_call", "action": {"command": ["ls"], "env": {"KEY": HUSH}}},
    {"type": "image_generation_call", "result": HUSH, "revised_prompt": "a cat"},
    ENCRYPTED,
]


def openzess(folder: Path) -> str:
    return database(
        folder / "chat.db",
        "create table sessions (id text, title text, created_at text)",
        "create table messages (id integer primary key, session_id text, role text, content text,"
        " created_at text)",
        "create table mcp_servers (server_id text, name text, command text, args_json text,"
        " env_json text)",
        rows={
            "messages": [(1, "s", "user", f"see {BYTES}", "2026-01-01")],
            "mcp_servers": [("fs", "files", "npx", f'["{HUSH}"]', f'{{"KEY": "{HUSH}"}}')],
        },
    )


def agents(folder: Path) -> str:
    return database(
        folder / "agents.db",
        "create table agent_sessions (session_id text, created_at text)",
        "create table agent_messages (id integer primary key, session_id text, message_data text,"
        " created_at text)",
        rows={
            "agent_messages": [
                (n, "s", json.dumps(item), "2026-01-01") for n, item in enumerate(ITEMS)
            ]
        },
    )


def chatkit(folder: Path) -> str:
    file: dict[str, Any] = {"id": "a", "name": "a.pdf", "mime_type": "x", "type": "file"}
    file["upload_descriptor"] = {"url": f"https://x/?sig={HUSH}"}
    items: list[dict[str, Any]] = [
        {"type": "user_message", "id": "1", "content": [], "attachments": [file]},
        {"type": "sdk_hidden_context", "id": "2", "content": HUSH},
        {"type": "hidden_context_item", "id": "3", "content": {"key": HUSH}},
        {"type": "generated_image", "id": "4", "image": {"id": "i", "url": BYTES}},
    ]
    return database(
        folder / "chatkit.db",
        "create table threads (id text, user_id text, data text)",
        "create table items (id text, thread_id text, data text)",
        rows={
            "threads": [("t", "ann", "{}")],
            "items": [(item["id"], "t", json.dumps(item)) for item in items],
        },
    )


def moltnet(folder: Path) -> str:
    return database(
        folder / "moltnet.db",
        "create table messages (id text, network_id text, target_kind text, room_id text,"
        " thread_id text, dm_id text, target_json text, from_json text, parts_json text,"
        " mentions_json text, created_at text)",
        "create table agents (agent_id text, network_id text, credential_key text)",
        rows={
            "messages": [
                ("m", "n", "room", "r", None, None, "{}", '{"type": "agent", "id": "x"}',
                 '[{"kind": "text", "text": "hi"}, {"kind": "image", "filename": "cat.png"}]',
                 "null", "2026-01-01T00:00:00Z")
            ],
            "agents": [("x", "n", HUSH)],
        },
    )  # fmt: skip


def moltnet_json(folder: Path) -> str:
    store = {
        "rooms": {"r": {"members": ["x"]}},
        "room_messages": {"r": [{"id": "m", "from": {"id": "x"}, "parts": [{"text": "hi"}]}]},
        "agents": {"x": {"agent_id": "x", "credential_key": HUSH}},
    }
    path = folder / "moltnet.json"
    path.write_text(json.dumps(store))
    return str(path)


def praisonai(folder: Path) -> str:
    return database(
        folder / "praison.db",
        "create table praison_sessions (session_id text, user_id text, agent_id text, name text,"
        " state text, metadata text, created_at real)",
        "create table praison_messages (id text, session_id text, role text, content text,"
        " tool_calls text, tool_call_id text, metadata text, created_at real)",
        rows={
            "praison_sessions": [
                ("s", "u", "a", "n", f'{{"key": "{HUSH}"}}', f'{{"key": "{HUSH}"}}', 1.7e9)
            ],
            "praison_messages": [("m", "s", "user", "hi", None, None, "{}", 1.7e9)],
        },
    )


def chatgpt(folder: Path) -> str:
    context = {"content_type": "user_editable_context", "user_profile": HUSH}
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": HUSH, "content": HUSH}]}
    image = {"content_type": "image_asset_pointer", "asset_pointer": f"file://{HUSH}"}
    picture = {"content_type": "multimodal_text", "parts": [image, "look"]}
    nodes = (node("a", None, context), node("b", "a", thoughts), node("c", "b", picture))
    return written(folder / "conversations.json", talk(*nodes, current_node="c"))


def claude_export(folder: Path) -> str:
    blocks = [{"type": "thinking", "thinking": HUSH}, {"type": "text", "text": "hi"}]
    return written(folder / "conversations.json", claude(said("q", blocks, ROOT, text=HUSH)))


@pytest.mark.parametrize(
    ("made", "told", "skipped"),
    [
        (openzess, ["see [image/png]"], {}),
        (agents, ["ls", "a cat"], {"empty": 1, "reasoning": 1, "encrypted": 2}),
        (chatkit, ["a.pdf"], {"hidden context": 2, "no text": 1}),
        (moltnet, ["hi\ncat.png"], {}),
        (moltnet_json, ["hi"], {}),
        (praisonai, ["hi"], {}),
        (chatgpt, ["look"], {"hidden context": 1, "reasoning": 1}),
        (claude_export, ["hi"], {}),
    ],
)
def test_nothing_of_a_secret_is_read_and_what_is_left_out_is_counted(
    made: Any, told: list[str], skipped: dict[str, int], tmp_path: Path
) -> None:
    reading: Reading = read(open_source(made(tmp_path)))
    assert HUSH not in str(reading.items) and "QUFB" not in str(reading.items)
    assert reading.texts == told
    assert reading.skipped == skipped
