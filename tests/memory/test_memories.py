"""The write side: what is stored once, what is refused, what is erased."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import texts

from recall.contract.errors import NotFound
from recall.contract.limits import LARGEST_METADATA
from recall.contract.refusals import sentence
from recall.contract.values import Message, Note
from recall.memory import memories
from recall.memory.forget import forget_memory, forget_session, forget_user

if TYPE_CHECKING:
    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio


def said(content: str, **more: Any) -> Message:
    return Message(**{"session_id": "s", "role": "user", "content": content} | more)


def counted(owner: psycopg.Connection[Any], table: str) -> int:
    row = owner.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def refusal(model: type[Message | Note], **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model(**fields)
    return sentence(caught.value)[1]


async def test_a_memory_and_its_job_are_stored_together(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    stored = await memories.save_messages(database, caller, [said("one"), said("two")])
    assert (stored.accepted, stored.duplicates) == (2, 0)
    assert counted(owner, "memory") == counted(owner, "job") == 2


async def test_ids_come_back_in_the_order_given(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    batch = [
        said(f"text {n}", key=f"k{(n * 7) % 20:02}", session_id=f"s{n % 3}") for n in range(20)
    ]
    stored = await memories.save_messages(database, caller, batch)
    rows = dict(owner.execute("select id, content from memory").fetchall())
    assert [rows[id] for id in stored.ids] == [m.content for m in batch]


async def test_the_same_key_twice_is_the_same_memory(database: Database, caller: Caller) -> None:
    first = await memories.save_messages(database, caller, [said("one", key="k")])
    again = await memories.save_messages(database, caller, [said("changed", key="k"), said("new")])
    assert again.ids[0] == first.ids[0]
    assert (again.accepted, again.duplicates) == (1, 1)


async def test_a_key_repeated_in_a_batch_is_stored_once_and_the_first_wins(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    batch = [said("first", key="k"), said("second", key="k"), said("other")]
    stored = await memories.save_messages(database, caller, batch)
    assert stored.ids[0] == stored.ids[1] != stored.ids[2]
    assert (stored.accepted, stored.duplicates) == (2, 1)
    assert owner.execute("select content from memory where key = 'k'").fetchall() == [("first",)]


async def test_a_key_belongs_to_messages_and_notes_alike(
    database: Database, caller: Caller
) -> None:
    message = await memories.save_messages(database, caller, [said("one", key="k")])
    note = await memories.save_notes(database, caller, [Note(content="two", key="k")])
    assert note.ids == message.ids
    assert note.duplicates == 1


async def test_without_a_key_nothing_is_guessed_to_be_the_same(
    database: Database, caller: Caller
) -> None:
    stored = await memories.save_messages(database, caller, [said("one"), said("one")])
    assert stored.accepted == 2


async def test_batches_that_share_keys_at_the_same_time_store_each_key_once(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    keys = [f"k{n}" for n in range(30)]
    batches = [
        [said(f"{name} {key}", key=key, session_id=f"s{turn % 4}") for key in order]
        for turn, (name, order) in enumerate(
            [("a", keys), ("b", keys[::-1]), ("c", keys[15:] + keys[:15]), ("d", keys)]
        )
    ]
    stored = await asyncio.gather(
        *(memories.save_messages(database, caller, batch) for batch in batches)
    )
    assert counted(owner, "memory") == counted(owner, "job") == 30
    assert sum(s.accepted for s in stored) == 30
    known = dict(owner.execute("select key, id from memory").fetchall())
    for batch, answer in zip(batches, stored, strict=True):
        assert [known[message.key] for message in batch] == list(answer.ids)


async def test_a_batch_is_stored_as_a_whole_or_not_at_all(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("alter table memory add check (content <> 'forbidden')")
    with pytest.raises(Exception, match="check"):
        await memories.save_messages(database, caller, [said("fine"), said("forbidden")])
    assert counted(owner, "memory") == counted(owner, "job") == counted(owner, "session") == 0


async def test_turns_without_a_time_keep_the_order_given(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    batch = [said(f"turn {n}", key=f"k{9 - n}") for n in range(10)]
    await memories.save_messages(database, caller, batch)
    rows = owner.execute("select content from memory order by created_at, id").fetchall()
    assert [row[0] for row in rows] == [m.content for m in batch]


async def test_a_session_knows_its_newest_turn_and_its_latest_title(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    late, early = datetime(2025, 5, 2, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC)
    await memories.save_messages(
        database, caller, [said("b", created_at=late, session_title="Old"), said("a")]
    )
    await memories.save_messages(
        database, caller, [said("c", created_at=early, session_title="New")]
    )
    row = owner.execute("select title, last_at > %s from session", [late]).fetchone()
    assert row == ("New", True)


async def test_a_note_is_replaced_as_a_whole_and_queued_again(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    (id,) = (
        await memories.save_notes(database, caller, [Note(content="old", title="T", key="k")])
    ).ids
    owner.execute("delete from job")
    await memories.replace_note(database, caller, id, Note(content="new", category="c"))
    note = await memories.read_note(database, caller, id)
    assert (note["content"], note["title"], note["category"], note["key"]) == (
        "new",
        None,
        "c",
        "k",
    )
    assert counted(owner, "job") == 1


async def test_what_does_not_exist_cannot_be_read_replaced_or_forgotten(
    database: Database, caller: Caller
) -> None:
    (message,) = (await memories.save_messages(database, caller, [said("a message")])).ids
    for id in (message, 999):
        with pytest.raises(NotFound, match=f"no note {id}"):
            await memories.read_note(database, caller, id)
        with pytest.raises(NotFound, match=f"no note {id}"):
            await memories.replace_note(database, caller, id, Note(content="x"))
        with pytest.raises(NotFound, match=f"no note {id}"):
            await forget_memory(database, caller, "note", id)
    with pytest.raises(NotFound, match="no session 'x'"):
        await forget_session(database, caller, "x")
    assert await forget_user(database, caller, "nobody") == 0


@given(texts.filter(lambda text: text.replace("\x00", "")), texts)
async def test_any_text_is_stored_as_it_was_said(
    database: Database, caller: Caller, owner: psycopg.Connection[Any], text: str, title: str
) -> None:
    message = said(text, session_title=title[:1000])
    stored = await memories.save_messages(database, caller, [message])
    row = owner.execute("select content from memory where id = %s", [stored.ids[0]]).fetchone()
    assert row == (text.replace("\x00", ""),)


async def test_nul_and_halves_of_surrogate_pairs_are_taken_out(
    database: Database, caller: Caller
) -> None:
    note = Note(
        content="a\x00b\ud83d", title="\x00t", metadata={"k\x00": ["v\x00", {"x": "\udc00"}]}
    )
    (id,) = (await memories.save_notes(database, caller, [note])).ids
    found = await memories.read_note(database, caller, id)
    assert found["content"] == "ab\ufffd"
    assert found["title"] == "t"
    assert found["metadata"] == {"k": ["v", {"x": "\ufffd"}]}


@given(st.text(max_size=50))
def test_a_clean_text_is_left_as_it_is(text: str) -> None:
    assert said(f"x{text}").content == f"x{text}".replace("\x00", "")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": ""}, "content must have at least 1 character."),
        ({"content": "\x00\x00"}, "content must have at least 1 character."),
        ({"content": "x" * 200_001}, "content must have at most 200,000 characters."),
        ({"session_id": ""}, "session_id must have at least 1 character."),
        ({"session_id": "x" * 256}, "session_id must have at most 255 characters."),
        ({"role": "x" * 256}, "role must have at most 255 characters."),
        ({"key": ""}, "key must have at least 1 character."),
        ({"author": "x" * 256}, "author must have at most 255 characters."),
        ({"user_id": "x" * 256}, "user_id must have at most 255 characters."),
        ({"session_title": "x" * 1001}, "session_title must have at most 1,000 characters."),
        ({"contents": "x"}, "contents is not a field that recall knows."),
        ({"metadata": {"x": float("nan")}}, "metadata must not contain NaN or infinity."),
        ({"created_at": "0000-01-01"}, None),
        ({"created_at": "soon"}, None),
        ({"metadata": [1]}, None),
    ],
)
def test_a_limit_is_said_in_a_sentence_that_names_field_and_limit(
    fields: dict[str, Any], expected: str | None
) -> None:
    given = {"session_id": "s", "role": "user", "content": "c"} | fields
    said = refusal(Message, **given)
    assert said == expected if expected else said.startswith(next(iter(fields)))
    assert said.endswith(".")


def test_what_stands_exactly_on_a_limit_is_taken() -> None:
    said("x" * 200_000, session_id="x" * 255, key="k" * 255, session_title="t" * 1000)
    said("\x00" + "x" * 200_000)
    padding = LARGEST_METADATA - len('{"k": ""}')
    assert said("c", metadata={"k": "x" * padding}).metadata


def test_metadata_is_measured_in_bytes_as_json() -> None:
    given = {"session_id": "s", "role": "user", "content": "c"}
    padding = LARGEST_METADATA - len('{"k": ""}')
    for text in ("x" * (padding + 1), "é" * (padding // 2 + 1)):
        message = refusal(Message, **given, metadata={"k": text})
        assert message.startswith("metadata must take at most 16384 bytes as JSON, not 163")


def test_a_time_without_a_zone_is_utc() -> None:
    assert said("c", created_at="2025-01-01T10:00").created_at == datetime(
        2025, 1, 1, 10, tzinfo=UTC
    )


async def test_the_ends_of_time_come_back(database: Database, caller: Caller) -> None:
    for year in (2, 9998):
        at = datetime(year, 1, 1, 12, tzinfo=UTC)
        (id,) = (
            await memories.save_notes(database, caller, [Note(content="x", created_at=at)])
        ).ids
        assert (await memories.read_note(database, caller, id))["created_at"] == at
