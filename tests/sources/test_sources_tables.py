"""OpenZess, Agents SDK, Moltnet and PraisonAI: the traps that the samples do not hold."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sources_reading import database, read

from recall.contract.limits import LONGEST_CONTENT
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.source import Found

if TYPE_CHECKING:
    from pathlib import Path

OPENZESS = (
    "create table sessions (id varchar not null primary key, title varchar, created_at datetime)"
)
MESSAGES = (
    "create table messages (id integer not null primary key, session_id varchar, role varchar, "
    "content varchar, {time} datetime)"
)


def openzess(path: Path, *messages: tuple[Any, ...], time: str = "created_at") -> str:
    session = ("s", "A talk", "2026-01-01 00:00:00.000000")
    return database(
        path,
        OPENZESS,
        MESSAGES.format(time=time),
        rows={"sessions": [session], "messages": messages},
    )


def test_openzess_survives_what_its_columns_allow(tmp_path: Path) -> None:
    path = openzess(
        tmp_path / "chat_history.db",
        (1, "s", "user", "no time", None),
        (2, None, None, "no session, no role", "2026-01-01 10:00:00"),
        (3, "s", "agent:SwarmJudge", None, "2026-01-01 10:00:00"),
        (4, "s", "agent", " \n", "2026-01-01 10:00:00"),
        (5, "s", "user", "a\x00b", "not a time"),
        (6, "gone", "user", b"bytes \xff", "2026-01-01 10:00:00.5"),
    )
    reading = read(open_source(path))
    assert reading.texts == ["no time", "no session, no role", "ab", "bytes \ufffd"]
    assert reading.skipped == {"empty": 2}
    first, second, *_ = reading.messages
    assert first.created_at == datetime(2026, 1, 1, tzinfo=UTC), "as old as its session"
    assert first.metadata["time_estimated"] is True
    assert (second.session_id, second.role) == ("openzess", "user")


def test_openzess_reads_the_column_that_its_guide_names(tmp_path: Path) -> None:
    path = openzess(
        tmp_path / "a.db", (1, "s", "user", "hi", "2026-01-01 10:00:00"), time="timestamp"
    )
    (message,) = read(open_source(path)).messages
    assert message.created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    (message,) = read(open_source(path, assume_tz="+02:00")).messages
    assert message.created_at == datetime(2026, 1, 1, 8, tzinfo=UTC)


def test_two_openzess_databases_do_not_collide_and_one_in_two_places_does(tmp_path: Path) -> None:
    row = (1, "telegram_7", "user", "hi", "2026-01-01 10:00:00.000001")
    (tmp_path / "b").mkdir()
    here, copy = openzess(tmp_path / "a.db", row), openzess(tmp_path / "b" / "c.db", row)
    other = openzess(tmp_path / "d.db", (*row[:4], "2026-01-01 10:00:00.000002"))
    keys = [list(open_source(path).ids()) for path in (here, copy, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_message_of_five_megabytes_becomes_consecutive_memories(tmp_path: Path) -> None:
    text = "".join(chr(97 + n % 26) for n in range(1_050_000))
    path = openzess(tmp_path / "a.db", (1, "s", "user", text, None), (2, "s", "agent", "ok", None))
    reading = read(open_source(path))
    pieces = [m for m in reading.messages if m.role == "user"]
    assert "".join(m.content for m in pieces) == text
    assert len(pieces) == 6 and max(len(m.content) for m in pieces) == LONGEST_CONTENT
    assert [m.key for m in pieces[1:]] == [f"{pieces[0].key}#{n}" for n in range(2, 7)]
    assert reading.rows == open_source(path).count() == 2


def test_a_file_inlined_in_a_text_is_left_out(tmp_path: Path) -> None:
    text = f"see ![](data:image/png;base64,{'A' * 5000}) and data:text/plain;base64,QQ=="
    path = openzess(tmp_path / "a.db", (1, "s", "user", text, None))
    assert read(open_source(path)).texts == ["see ![]([image/png]) and data:text/plain;base64,QQ=="]


def test_names_longer_than_recalls_limit_stay_different(tmp_path: Path) -> None:
    rows = [(n, "s" * 300 + str(n), "agent:" + "p" * 400, "hi", None) for n in (1, 2)]
    messages = read(open_source(openzess(tmp_path / "a.db", *rows))).messages
    assert len({m.session_id for m in messages}) == len({m.key for m in messages}) == 2
    assert all(len(m.author or "") == 255 for m in messages)


AGENTS = (
    "create table agent_sessions (session_id text primary key, created_at timestamp)",
    "create table agent_messages (id integer primary key autoincrement, session_id text, "
    "message_data text, created_at timestamp)",
)


def test_agents_sdk_dispatches_on_the_type_and_keeps_what_is_shut_shut(tmp_path: Path) -> None:
    data: list[Any] = [
        {
            "id": "__fake_id__",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "one"}],
        },
        {
            "id": "__fake_id__",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "two"}],
        },
        {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "gAAAA"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "compaction", "encrypted_content": "gAAAA"},
        {"type": "brand_new_type"},
        {"role": "developer", "content": "be brief"},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "three"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA"},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,AA",
                }
            ],
        },
        {"type": "web_search_call", "action": {"type": "search", "query": "neon"}},
        {
            "type": "code_interpreter_call",
            "code": "print(1)",
            "outputs": [{"type": "logs", "logs": "1"}],
        },
        {
            "type": "local_shell_call",
            "action": {"type": "exec", "command": ["ls", "-l"], "env": {"KEY": "secret"}},
        },
        {"type": "image_generation_call", "result": "AAAA", "revised_prompt": "a cat"},
        {"type": "mcp_call", "name": "f", "arguments": "{}", "output": "done"},
        {"type": "mcp_list_tools", "tools": [{"name": "f"}]},
        [1],
    ]
    rows: list[tuple[int, str, str, str | None]] = [
        (n, "s", json.dumps(d), "2026-01-01 10:00:00") for n, d in enumerate(data, 1)
    ]
    rows.append((len(rows) + 1, "s", "{not json", None))
    path = database(tmp_path / "a.db", *AGENTS, rows={"agent_messages": rows})
    reading = read(open_source(path))
    assert reading.texts == [
        "one",
        "two",
        "three",
        "no",
        "a.pdf",
        "neon",
        "print(1)\n1",
        "ls -l",
        "a cat",
        "f {}\ndone",
    ]
    assert reading.skipped == {
        "encrypted": 2,
        "reasoning": 1,
        "unknown type": 1,
        "system prompt": 1,
        "tool list": 1,
        "not JSON": 1,
        "not an object": 1,
    }
    assert "secret" not in str(reading.items) and "gAAAA" not in str(reading.items)


def test_agents_sdk_tables_have_any_name(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        *(statement.replace("agent_", "my_") for statement in AGENTS),
        rows={"my_messages": [(1, "s", '{"role": "user", "content": "hi"}', None)]},
    )
    assert recognise(path).name == "openai-agents"
    assert read(open_source(path)).texts == ["hi"]


MOLTNET = (
    "create table messages (id text primary key, network_id text, target_kind text, room_id text, "
    "thread_id text, dm_id text, target_json text, from_json text, parts_json text, "
    "mentions_json text, created_at text {origin})"
)


def moltnet(path: Path, times: list[str], origin: str | None = None) -> str:
    more = () if origin is None else (json.dumps({"network_id": origin, "message_id": "relayed"}),)
    rows = [
        (
            f"m{n}",
            "here",
            "room",
            "r",
            None,
            None,
            '{"kind":"room","room_id":"r"}',
            '{"type":"robot","id":"x"}',
            json.dumps([{"kind": "text", "text": f"at {time}"}]),
            "null",
            time,
            *more,
        )
        for n, time in enumerate(times)
    ]
    column = "" if origin is None else ", origin_json text"
    return database(path, MOLTNET.format(origin=column), rows={"messages": rows})


def test_moltnet_reads_gos_times_in_their_order(tmp_path: Path) -> None:
    times = ["26Z", "26.1Z", "26.12Z", "26.123456789Z", "26.2Z", "27Z"]
    stamps = [f"2026-11-20T23:18:{time}" for time in times]
    path = moltnet(tmp_path / "a.db", sorted(stamps))
    reading = read(open_source(path))
    assert reading.texts == [f"at {stamp}" for stamp in stamps]
    assert {m.role for m in reading.messages} == {"user"}
    first = next(iter(open_source(path).read()))
    rewound = list(open_source(path).read(open_source(path).rewind(first.position)))
    assert len(rewound) == len(stamps)


def test_moltnet_relayed_to_two_networks_is_one_memory(tmp_path: Path) -> None:
    stamp = ["2026-11-20T23:18:26Z"]
    one, two = moltnet(tmp_path / "a.db", stamp, "far"), moltnet(tmp_path / "b.db", stamp, "far")
    old = moltnet(tmp_path / "c.db", stamp)
    assert list(open_source(one).ids()) == list(open_source(two).ids()) == ["moltnet:far/relayed"]
    assert list(open_source(old).ids()) == ["moltnet:here/m0"], "from before there were origins"


def test_moltnet_without_a_time_is_told_as_estimated(tmp_path: Path) -> None:
    (message,) = read(open_source(moltnet(tmp_path / "a.db", ["0001-01-01T00:00:00Z"]))).messages
    assert message.metadata["time_estimated"] is True


def session_file(path: Path, **more: Any) -> None:
    turns = [
        {"role": "system", "content": "[Session Summary]\n…", "metadata": {"compaction": True}},
        {"role": "system", "content": "be helpful", "timestamp": 1795216320.0},
        {"role": "user", "content": "second", "timestamp": 1795216322.5, "metadata": {}},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "3", "tool_call_id": "c"},
        {"role": "user", "content": "again"},
        {"role": "user", "content": "again"},
        "not a turn",
    ]
    archived = [{"role": "user", "content": "first", "timestamp": 1795216321.5}]
    data = {
        "session_id": "2026-a",
        "messages": turns,
        "archived_messages": archived,
        "created_at": "2026-11-20T23:12:00+00:00",
        "agent_name": "Helper",
        "user_id": "ann",
    }
    path.write_text(json.dumps({**data, **more}))


EXPECTED = ["first", "second", "f {}", "3", "again", "again"]
SKIPPED = {"summary": 1, "system prompt": 1, "not an object": 1}


@pytest.mark.parametrize("target", ["2026-a.json", ""])
def test_praisonai_reads_session_files(tmp_path: Path, target: str) -> None:
    session_file(tmp_path / "2026-a.json")
    (tmp_path / "2026-a.json.lock").touch()
    path = str(tmp_path / target)
    assert recognise(path).name == "praisonai"
    reading = read(open_source(path))
    assert (reading.texts, reading.skipped) == (EXPECTED, SKIPPED)
    assert len({m.key for m in reading.memories}) == 6
    assert {m.user_id for m in reading.messages} == {"ann"}
    assert [m.author for m in reading.messages if m.role == "assistant"] == ["Helper"]


def test_praisonai_sessions_db_and_its_files_hold_the_same_memories(tmp_path: Path) -> None:
    session_file(tmp_path / "2026-a.json")
    text = (tmp_path / "2026-a.json").read_text()
    path = database(
        tmp_path / "sessions.db",
        "create table sessions (session_id text primary key, data text, agent_name text, "
        "gateway_session_id text, agent_id text, updated_at text)",
        rows={
            "sessions": [
                ("2026-a", text, "Helper", None, None, "2026-11-20T23:13:00+00:00"),
                (
                    "empty",
                    '{"session_id": "empty", "messages": []}',
                    "",
                    None,
                    None,
                    "2026-11-20T23:14:00+00:00",
                ),
                ("odd", "nonsense", "", None, None, None),
            ]
        },
    )
    assert recognise(path).name == "praisonai"
    reading = read(open_source(path))
    assert sorted(reading.texts) == sorted(EXPECTED)
    assert reading.skipped == {**SKIPPED, "empty session": 1, "not a session": 1}
    files = open_source(str(tmp_path / "2026-a.json"))
    assert sorted(files.ids()) == sorted(open_source(path).ids())


def test_praisonai_json_conversation_store(tmp_path: Path) -> None:
    (tmp_path / "_sessions_index.json").write_text("{}")
    message = {
        "id": "msg-1",
        "session_id": "s",
        "role": "user",
        "content": "hi",
        "created_at": 1.7e9,
    }
    data = {"session": {"session_id": "s", "user_id": "ann", "name": "Talk"}, "messages": [message]}
    (tmp_path / "s.json").write_text(json.dumps(data))
    assert recognise(str(tmp_path)).name == "praisonai"
    (hi,) = read(open_source(str(tmp_path))).messages
    assert (hi.session_id, hi.session_title, hi.user_id) == ("s", "Talk", "ann")


def test_a_session_that_goes_on_is_read_again(tmp_path: Path) -> None:
    session_file(tmp_path / "2026-a.json")
    source = open_source(str(tmp_path))
    *_, last = source.read()
    assert list(source.read(last.position)) == []
    session_file(tmp_path / "2026-a.json", messages=[{"role": "user", "content": "new"}])
    items = source.read(last.position)
    assert [i.memory.content for i in items if isinstance(i, Found)] == ["first", "new"]


def test_praisonai_copied_by_its_own_import_is_known(tmp_path: Path) -> None:
    columns = (
        "session_id text, role text, content text, tool_calls text, tool_call_id text, "
        "metadata text, created_at real"
    )
    rows = [(f"msg-{n}", "s", "user", "hi", None, None, "{}", 1.7e9) for n in range(2)]
    path = database(
        tmp_path / "conversations.db",
        "create table praison_sessions (session_id text primary key, user_id text, agent_id text)",
        f"create table praison_messages (id text primary key, {columns})",
        rows={"praison_messages": rows},
    )
    reading = read(open_source(path))
    assert reading.rows == 2 and len({m.key for m in reading.memories}) == 1


def test_a_database_that_is_being_written_to_is_read(tmp_path: Path) -> None:
    path = openzess(tmp_path / "a.db", (1, "s", "user", "old", None))
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("begin immediate")
        writer.execute("insert into messages values (2, 's', 'user', 'new', null)")
        source = open_source(path)
        assert [m.content for m in read(source).memories] == ["old"]
        seen = source.fingerprint()
        writer.execute("commit")
        assert source.fingerprint() != seen
        assert [m.content for m in read(source).memories] == ["old", "new"]
