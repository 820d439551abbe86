"""The one eraser: what it takes along, what it leaves, and who stores meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from recall.contract.values import Message, Note
from recall.memory import memories
from recall.memory.forget import (
    Erased,
    Selection,
    forget,
    forget_memory,
    forget_session,
    forget_user,
)
from recall.memory.memories import LIVE, store_messages, store_notes

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio


def said(content: str, **more: Any) -> Message:
    return Message(**{"session_id": "s", "role": "user", "content": content} | more)


def counted(owner: psycopg.Connection[Any], table: str) -> int:
    row = owner.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def contents(owner: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in owner.execute("select content from memory order by id").fetchall()]


async def test_forgetting_a_session_erases_it_with_its_messages(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(
        database, caller, [said("a"), said("b"), said("c", session_id="other")]
    )
    assert await forget_session(database, caller, "s") == 2
    assert owner.execute("select key from session").fetchall() == [("other",)]
    assert counted(owner, "memory") == counted(owner, "job") == 1


async def test_forgetting_a_user_erases_the_sessions_that_this_empties(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(
        database,
        caller,
        [
            said("alone", session_id="own", user_id="u"),
            said("with others", session_id="shared", user_id="u"),
            said("the others", session_id="shared", user_id="v"),
        ],
    )
    await memories.save_notes(database, caller, [Note(content="n", user_id="u")])
    assert await forget_user(database, caller, "u") == 3
    assert owner.execute("select key from session").fetchall() == [("shared",)]
    assert owner.execute("select user_id from memory").fetchall() == [("v",)]


async def test_a_forgotten_key_may_be_used_again(database: Database, caller: Caller) -> None:
    (id,) = (await memories.save_messages(database, caller, [said("a", key="k")])).ids
    await forget_memory(database, caller, "message", id)
    again = await memories.save_messages(database, caller, [said("b", key="k")])
    assert again.accepted == 1
    assert again.ids != (id,)


async def test_the_last_message_of_a_session_takes_it_along(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    one, two = (await memories.save_messages(database, caller, [said("a"), said("b")])).ids
    await forget_memory(database, caller, "message", one)
    assert counted(owner, "session") == 1
    await forget_memory(database, caller, "message", two)
    assert counted(owner, "session") == 0


@pytest.mark.parametrize(
    ("selected", "left"),
    [
        (lambda source: Selection(source=source), ["not of it"]),
        (lambda source: Selection(source=source, keys=["a", "c"]), ["b", "n", "not of it"]),
        (lambda source: Selection(source=source, kind="note"), ["a", "b", "not of it"]),
        (lambda source: Selection(source=source, user="ann"), ["b", "n", "not of it"]),
        (lambda source: Selection(keys=["c"]), ["a", "b", "n"]),
        (lambda source: Selection(session="s", user="ann"), ["b", "n", "not of it"]),
        (lambda source: Selection(source=source, ids=[]), ["a", "b", "n", "not of it"]),
        (lambda source: Selection(source=source + 1), ["a", "b", "n", "not of it"]),
    ],
)
async def test_what_fits_every_field_is_erased(
    selected: Callable[[int], Selection],
    left: list[str],
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
) -> None:
    source = 7
    owner.execute("insert into source (id, tenant_id, name) values (7, %s, 's')", [caller.tenant])

    async def store(connection: Connection) -> None:
        turns = [said("a", key="a", user_id="ann"), said("b", key="b")]
        await store_messages(connection, turns, LIVE, source)
        await store_notes(connection, [Note(content="n", key="n")], LIVE, source)
        await store_notes(connection, [Note(content="not of it", key="c")], LIVE)

    await database.as_caller(caller, store)
    erased = await forget(database, caller, selected(source))
    assert contents(owner) == left
    assert erased.memories == 4 - len(left)


async def test_an_erasure_counts_what_it_took(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, [said("a"), said("b", session_id="t")])
    await worker.drain()
    await memories.save_messages(database, caller, [said("waits", session_id="t")])
    assert await forget(database, caller, Selection(kind="message")) == Erased(3, 2, 2)
    tables = ("memory", "job", "chunk", "embedding", "session")
    assert [counted(owner, table) for table in tables] == [0] * len(tables)
    sums = "select coalesce(sum(chunks), 0), coalesce(sum(length), 0) from corpus_count"
    assert owner.execute(sums.encode()).fetchall() == [(0, 0)]
    assert await forget(database, caller, Selection(kind="message")) == Erased(0, 0, 0)


def test_nothing_is_no_selection() -> None:
    with pytest.raises(ValueError, match="everything"):
        Selection()


@pytest.mark.parametrize("selected", [Selection(user="ann"), Selection(session="s")], ids=str)
async def test_a_message_that_is_stored_meanwhile_is_not_lost_with_its_session(
    selected: Selection, database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(database, caller, [said("one", user_id="ann")])
    stored, goes_on = asyncio.Event(), asyncio.Event()

    async def store(connection: Connection) -> None:
        await store_messages(connection, [said("two", user_id="bob")], LIVE)
        stored.set()
        await goes_on.wait()

    storing = asyncio.create_task(database.as_caller(caller, store))
    await stored.wait()
    erasing = asyncio.create_task(forget(database, caller, selected))
    waiting = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 20
    while owner.execute(waiting.encode()).fetchall() == [(0,)]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    goes_on.set()
    await storing
    erased = await erasing
    if selected.session:  # it was stored before the session could be had
        assert erased == Erased(2, 0, 1)
        assert contents(owner) == []
    else:
        assert erased == Erased(1, 0, 0)
        assert contents(owner) == ["two"]
