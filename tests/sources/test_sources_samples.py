"""Every file that the real software wrote: rows in the source = found + skipped by reason."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from samples import SAMPLES, Sample, opened
from sources_reading import counted, read, sample

from recall.contract.values import Message, Note
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.source import Found


@pytest.mark.parametrize("each", SAMPLES, ids=str)
def test_rows_in_the_sample_are_found_or_skipped(each: Sample, empty_url: str) -> None:
    with opened(each, empty_url) as (place, counted):
        source = open_source(place)
        reading = read(source)
        assert source.system.name == each.name
        assert recognise(place).why.endswith(".")
    assert counted == each.rows
    assert reading.rows == each.read
    assert reading.skipped == each.skipped
    assert len({memory.key for memory in reading.memories}) == len(reading.memories)
    first = Counter(
        type(item.memory).__name__.lower()
        for item in reading.items
        if isinstance(item, Found) and item.row
    )
    assert first == each.stored


def test_reasons_of_the_samples_are_the_tables_own() -> None:
    chatkit = sample("chatkit-sqlite.db")
    kinds = "select count(*) from items where json_extract(data, '$.type')"
    assert counted(chatkit, f"{kinds} = 'hidden_context_item'") == 1
    assert counted(chatkit, f"{kinds} = 'end_of_turn'") == 1
    assert counted(chatkit, f"{kinds} = 'workflow'") == 1
    moltnet = sample("moltnet-sqlite.db")
    removed = "select count(*) from messages join rooms r on r.id = room_id where deleted_at > ''"
    assert counted(moltnet, removed) == 1
    assert counted(
        moltnet, """select count(*) from messages where parts_json = '[{"kind":"text"}]'"""
    )


def test_openzess_keeps_titles_personas_and_categories() -> None:
    messages = read(open_source(sample("openzess-sqlite.db"))).memories
    user, agent, persona, note = messages
    assert isinstance(user, Message) and isinstance(agent, Message)
    assert isinstance(persona, Message) and isinstance(note, Note)
    assert (user.role, user.session_title) == ("user", "First chat")
    assert (agent.role, agent.author) == ("assistant", None)
    assert (persona.role, persona.author) == ("assistant", "Gandalf")
    assert (note.title, note.category) == ("pgvector", "Databases")
    assert user.created_at == datetime(2026, 11, 20, 23, 22, 28, 368134, UTC)


def test_openzess_reads_personas_on_request_and_never_the_secrets() -> None:
    reading = read(open_source(sample("openzess-sqlite.db"), personas=True))
    assert [m.title for m in reading.memories if isinstance(m, Note)] == ["pgvector", "Gandalf"]
    assert "server-filesystem" not in str(reading.items)


def test_chatkit_finds_quotes_tags_attachments_and_sources() -> None:
    reading = read(open_source(sample("chatkit-sqlite.db")))
    assert reading.texts == [
        "> quoted bit\nwhich index for Neon?\npgvector\na.pdf",
        "HNSW it is.\npgvector https://example.org",
        "Lookup\nran",
        'open {"p": 1}',
    ]
    assert {(m.user_id, m.session_title) for m in reading.messages} == {("u1", "pgvector chat")}
    assert [m.role for m in reading.messages] == ["user", "assistant", "assistant", "tool"]


def test_chatkit_times_are_read_in_the_servers_zone() -> None:
    path = sample("chatkit-sqlite.db")
    utc = read(open_source(path)).memories[0].created_at
    berlin = read(open_source(path, assume_tz="Europe/Berlin")).memories[0].created_at
    assert utc and berlin and (utc - berlin).total_seconds() == 3600
    keys = [list(open_source(path, assume_tz=zone).ids()) for zone in ("UTC", "+05:00")]
    assert keys[0] == keys[1], "a key does not change with the zone"


def test_hidden_context_is_read_on_request() -> None:
    reading = read(open_source(sample("chatkit-sqlite.db"), include_hidden=True))
    assert reading.skipped == {"no text": 1}
    assert '{"clicked": "x"}' in reading.texts


def test_agents_sdk_stores_calls_and_no_image() -> None:
    reading = read(open_source(sample("openai-agents-sqlite.db")))
    assert [(m.role, m.content) for m in reading.messages] == [
        ("user", "Which Neon branch?"),
        ("assistant", 'lookup {"q":"neon"}'),
        ("tool", "found 3 rows for neon"),
        ("assistant", "The branch is br-cool-1."),
        ("user", "look at this"),
    ]
    assert "base64" not in str(reading.items)


@pytest.mark.parametrize("file", ["moltnet-sqlite.db", "moltnet-json.json"])
def test_moltnet_keeps_who_may_read(file: str) -> None:
    reading = read(open_source(sample(file)))
    assert (len(reading.memories), reading.skipped) == (7, {"removed room": 1, "empty": 1})
    by_text = {message.content: message for message in reading.messages}
    dm = by_text["psst: private"]
    assert dm.session_id == "molt://local/dms/dm-1"
    assert (dm.metadata["access"], dm.metadata["members"]) == ("dm", ["orchestrator", "writer"])
    thread = by_text["br-cool-1"]
    assert thread.session_id == "molt://local/threads/thr-1"
    assert (thread.metadata["room_id"], thread.metadata["access"]) == ("research", "private")
    file_text = next(text for text in by_text if "spec.pdf" in text)
    assert "https://example.org/spec.pdf" in file_text and '"score": 0.5' in file_text
    assert (by_text[file_text].role, by_text[file_text].author) == ("user", "Alice")
    assert "nul  byte and 😀" in by_text
    removed = read(open_source(sample(file), include_removed=True))
    assert removed.skipped == {"empty": 1}


def test_moltnet_json_holds_as_many_messages_as_its_lists() -> None:
    path = sample("moltnet-json.json")
    data = json.loads(Path(path).read_bytes())
    fields = ("room_messages", "thread_messages", "direct_messages")
    messages = sum(len(place) for field in fields for place in data[field].values())
    assert read(open_source(path)).rows == open_source(path).count() == messages == 9


def test_praisonai_reads_all_three_encodings_of_a_tool() -> None:
    reading = read(open_source(sample("praisonai-sqlite.db")))
    assert [(m.role, m.content) for m in reading.messages[1:4]] == [
        ("assistant", 'search {"q":"neon"}'),
        ("tool", "3 results found"),
        ("tool", 'search {"q": "neon"}\n{\'hits\': 3}'),
    ]
    assert [m.metadata.get("tool") for m in reading.messages[1:4]] == ["search", None, "search"]
    assert reading.messages[0].user_id is None, "default is its word for nobody"


def test_an_sqlite_url_is_the_file() -> None:
    path = sample("openzess-sqlite.db")
    assert list(open_source(f"sqlite:///{path}").ids()) == list(open_source(path).ids())
    assert open_source(f"sqlite+aiosqlite:///{path}").origin == path


@pytest.mark.parametrize("name", ["cranfield-notes.jsonl", "locomo-dev.jsonl"])
def test_evaluation_sets_are_read_without_their_questions(name: str) -> None:
    path = Path(sample("../evaluation/" + name))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    source = open_source(str(path))
    reading = read(source, positions=3)
    assert source.count() == len(lines)
    questions = sum(line["type"] == "question" for line in lines)
    blank = sum(not line.get("content", "x").strip() for line in lines)
    expected = {"question": questions} | ({"empty": blank} if blank else {})
    assert reading.skipped == expected
    assert len(reading.memories) == len(lines) - questions - blank
