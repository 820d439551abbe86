"""Three ways to the database: what each may see, what each may change, and who may take it."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from recall.contract.errors import Broken, Forbidden
from recall.contract.values import Message, Note
from recall.database.caller import ALL_RIGHTS, OWNER, Caller
from recall.indexing.languages import set_language
from recall.memory import keys, memories, sessions
from recall.memory.forget import forget_memory, forget_user

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import psycopg

    from recall.database.caller import Right
    from recall.database.units import Connection, Database

pytestmark = pytest.mark.anyio

WHO = (
    "select current_user::text, current_setting('recall.tenant'), current_setting('recall.user'),"
    " current_setting('transaction_read_only')"
)
WRITES = (
    "insert into session (tenant_id, key, last_at) values ({tenant}, 'x', now())",
    "update memory set content = 'x'",
    "delete from memory",
    "select nextval('memory_id_seq')",
    "select id from memory for update",
    "create temporary table x ()",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', true)",
)


def asking(statement: str) -> Callable[[Connection], Awaitable[list[Any]]]:
    async def work(connection: Connection) -> list[Any]:
        return await (await connection.execute(statement.encode())).fetchall()

    return work


def only(caller: Caller, *rights: Right) -> Caller:
    return Caller(caller.tenant, rights=frozenset(rights))


async def test_a_caller_writes_as_its_tenant_and_its_user(
    database: Database, caller: Caller
) -> None:
    tenant = str(caller.tenant)
    seen = await database.as_caller(caller, asking(WHO))
    assert seen == [("recall_service", tenant, "", "off")]
    seen = await database.as_caller(Caller(caller.tenant, "ann"), asking(WHO))
    assert seen == [("recall_service", tenant, "ann", "off")]


async def test_a_caller_reads_as_its_tenant_and_its_user(
    database: Database, caller: Caller
) -> None:
    tenant = str(caller.tenant)
    seen = await database.read(Caller(caller.tenant, "ann"), asking(WHO))
    assert seen == [("recall_service", tenant, "ann", "on")]


async def test_the_owner_is_no_caller(database: Database, owner: psycopg.Connection[Any]) -> None:
    ((me,),) = owner.execute("select current_user::text").fetchall()
    assert await database.as_owner(asking(WHO)) == [(me, "", "", "off")]
    assert await database.read(OWNER, asking(WHO)) == [(me, "", "", "on")]


async def test_nothing_of_a_unit_outlives_it(database: Database, caller: Caller) -> None:
    for _ in range(2 * 10):  # more often than there are connections
        await database.read(Caller(caller.tenant, "ann"), asking(WHO))
    await memories.save_notes(database, caller, [Note(content="written behind what was read")])
    assert await database.as_owner(asking(WHO.replace("current_user", "'x'"))) == [
        ("x", "", "", "off")
    ]


@pytest.mark.parametrize("as_owner", [False, True], ids=["caller", "owner"])
@pytest.mark.parametrize("statement", WRITES)
async def test_what_reads_cannot_write(
    statement: str,
    as_owner: bool,
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
) -> None:
    await memories.save_notes(database, caller, [Note(content="the same")])
    work = asking(statement.format(tenant=caller.tenant))
    with pytest.raises(Broken):
        await database.read(OWNER if as_owner else caller, work)
    assert owner.execute("select content from memory").fetchall() == [("the same",)]
    assert owner.execute("select from session").fetchall() == []


async def test_a_unit_that_forgot_its_caller_sees_nothing(
    database: Database, caller: Caller
) -> None:
    await memories.save_messages(
        database, caller, [Message(session_id="s", role="user", content="mine")]
    )
    for lost in ("''", "null", "'0'"):

        async def work(connection: Connection, lost: str = lost) -> list[Any]:
            forget = f"select set_config('recall.tenant', {lost}, true)"
            await connection.execute(forget.encode())
            tables = ("memory", "session", "job", "tenant")
            return [await asking(f"select from {table}")(connection) for table in tables]

        assert await database.read(caller, work) == [[], [], [], []]


async def test_every_right_is_needed_for_what_it_is_for(database: Database, caller: Caller) -> None:
    note = Note(content="a note")
    (id,) = (await memories.save_notes(database, caller, [note])).ids
    takes: dict[Right, list[Callable[[Caller], Awaitable[Any]]]] = {
        "read": [
            lambda who: memories.read_note(database, who, id),
            lambda who: sessions.list_sessions(database, who, None, 5),
        ],
        "write": [
            lambda who: memories.save_notes(database, who, [note]),
            lambda who: memories.replace_note(database, who, id, note),
        ],
        "admin": [lambda who: set_language(database, who, "german")],
        "erase": [
            lambda who: forget_user(database, who, "nobody"),
            lambda who: forget_memory(database, who, "note", id),
        ],
    }
    assert takes.keys() == ALL_RIGHTS
    for right, attempts in takes.items():
        others = only(caller, *(ALL_RIGHTS - {right}))
        for attempt in attempts:
            with pytest.raises(Forbidden, match=f"lacks the right '{right}'"):
                await attempt(others)
            await attempt(only(caller, right))


@pytest.mark.parametrize("rights", list(combinations(sorted(ALL_RIGHTS), 2)), ids=str)
async def test_what_is_forbidden_reaches_no_database(
    rights: tuple[Right, ...], database: Database, caller: Caller
) -> None:
    who = only(caller, *rights)

    async def never(connection: Connection) -> None:
        raise AssertionError("reached")

    for right in ALL_RIGHTS - who.rights:
        with pytest.raises(Forbidden):
            await database.as_caller(who, never, needs=right)
    if "read" not in rights:
        with pytest.raises(Forbidden):
            await database.read(who, never)


async def test_a_key_lets_in_a_caller_with_every_right(database: Database) -> None:
    key = await keys.create_key(database, "ann", "laptop")
    ann = await keys.caller_by_key(database, keys.key_digest(key))
    assert ann == await keys.known_caller(database, "ann")
    assert ann is not None and ann.rights == ALL_RIGHTS and ann.user is None
