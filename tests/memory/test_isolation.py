"""Nothing crosses a tenant: enforced by the database, not by a WHERE."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

import psycopg
import pytest

from recall.contract.errors import Broken, NotFound
from recall.contract.values import Message, Mode, Note, Question
from recall.database.caller import OWNER, Caller
from recall.memory import keys, memories, sessions
from recall.memory.forget import forget_memory, forget_session, forget_user
from recall.runtime.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.database.caller import Owner
    from recall.database.units import Connection, Database
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher


@contextmanager
def refused() -> Iterator[None]:
    """The database refuses the right, whatever recall calls that."""
    with pytest.raises(Broken) as raised:
        yield
    assert isinstance(raised.value.__cause__, psycopg.errors.InsufficientPrivilege)


pytestmark = pytest.mark.anyio

#: Tables that hold rows of tenants, and how a row of another tenant would be written.
TABLES = ("source", "session", "memory", "job", "chunk", "embedding", "word_count", "corpus_count")
SECRET = "The vault opens with the word xylophone."


@pytest.fixture
async def theirs(database: Database, worker: Worker) -> Caller:
    """A tenant with one row at least in every table."""
    caller = await keys.caller_of(database, "theirs")
    await memories.save_messages(
        database,
        caller,
        [
            Message(
                session_id="s",
                role="user",
                content=SECRET,
                key="k",
                user_id="u",
                author="Ada",
                metadata={"topic": "vault"},
            )
        ],
    )
    await worker.drain()
    await memories.save_notes(database, caller, [Note(content=SECRET, key="waiting")])

    async def source(connection: Connection) -> None:
        await connection.execute(
            "insert into source (tenant_id, name) values (%s, 's')", [caller.tenant]
        )

    await database.as_caller(caller, source)
    return caller


@pytest.fixture
async def ours(database: Database) -> Caller:
    return await keys.caller_of(database, "ours")


async def fetch(database: Database, who: Caller | Owner, statement: str) -> list[Any]:
    async def work(connection: Connection) -> list[Any]:
        return await (await connection.execute(statement.encode())).fetchall()

    if isinstance(who, Caller):
        return await database.as_caller(who, work)
    return await database.as_owner(work)


async def test_every_table_with_a_tenant_is_known_here(database: Database) -> None:
    rows = await fetch(
        database,
        OWNER,
        "select c.relname from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
        " where c.relnamespace = 'recall'::regnamespace and a.attname = 'tenant_id'"
        " and c.relkind in ('r', 'p') and not c.relispartition",
    )
    assert {row[0] for row in rows} == {*TABLES, "api_key"}


async def test_a_unit_of_work_cannot_bypass_policies(database: Database, ours: Caller) -> None:
    """On the embedded server the connection itself is a superuser's."""
    (row,) = await fetch(
        database,
        ours,
        "select current_user, rolsuper, rolbypassrls from pg_roles where rolname = current_user",
    )
    assert row == ("recall_service", False, False)


@pytest.mark.parametrize("table", [*TABLES, "tenant"])
async def test_row_security_is_on(table: str, database: Database) -> None:
    (row,) = await fetch(
        database,
        OWNER,
        f"select relrowsecurity from pg_class where oid = 'recall.{table}'::regclass",
    )
    assert row == (True,)


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_another_tenant_cannot_be_seen(
    table: str, database: Database, theirs: Caller, ours: Caller
) -> None:
    assert await fetch(database, theirs, f"select from {table}")
    assert await fetch(database, ours, f"select from {table}") == []


async def test_partitions_are_no_way_around(
    database: Database, theirs: Caller, ours: Caller
) -> None:
    for partition in ("chunk_1", "embedding_1"):
        with refused():
            await fetch(database, ours, f"select from {partition}")


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_another_tenant_cannot_be_deleted(
    table: str, database: Database, theirs: Caller, ours: Caller
) -> None:
    deleted = await fetch(database, ours, f"delete from {table} returning 1")
    assert deleted == []
    assert await fetch(database, theirs, f"select from {table}")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into source (tenant_id, name) values ({}, 'x')",
        "insert into session (tenant_id, key, last_at) values ({}, 'x', now())",
        "insert into memory (tenant_id, kind, content, created_at) values ({}, 'note', 'x', now())",
        "insert into word_count values (1, {}, 'x', 1)",
        "insert into corpus_count values (1, {}, 1, 1)",
        "insert into job (memory_id, tenant_id) values (1, {})",
        "insert into tenant (name) values ('x{}')",
        "insert into api_key (tenant_id, name, digest) values ({}, 'x', '')",
        "select from api_key where tenant_id = {}",
    ],
)
async def test_rows_of_another_tenant_cannot_be_written(
    statement: str, database: Database, theirs: Caller, ours: Caller
) -> None:
    with refused():
        await fetch(database, ours, statement.format(theirs.tenant))


async def test_a_memory_cannot_be_given_to_another_tenant(
    database: Database, theirs: Caller, ours: Caller
) -> None:
    await memories.save_notes(database, ours, [Note(content="mine")])
    with refused():
        await fetch(database, ours, f"update memory set tenant_id = {theirs.tenant}")


async def test_a_unit_without_a_tenant_sees_nothing(database: Database, theirs: Caller) -> None:
    async def work(connection: Connection) -> list[Any]:
        await connection.execute("select set_config('recall.tenant', '', true)")
        return await (await connection.execute("select from memory")).fetchall()

    assert await database.as_caller(theirs, work) == []


async def test_the_role_and_the_tenant_end_with_the_unit(
    database: Database, theirs: Caller, ours: Caller
) -> None:
    async def look(connection: Connection) -> list[Any]:
        return await (await connection.execute("select from memory")).fetchall()

    assert await database.as_caller(theirs, look)
    assert await database.read(theirs, look)
    (row,) = await fetch(
        database, OWNER, "select current_user, current_setting('recall.tenant', true)"
    )
    assert row == ("postgres", "")


async def test_a_read_is_one_transaction(database: Database, theirs: Caller) -> None:
    async def work(connection: Connection) -> list[tuple[Any, ...]]:
        asked = [await connection.execute("select now(), current_tenant()") for _ in range(2)]
        return [row for cursor in asked for row in await cursor.fetchall()]

    first, second = await database.read(theirs, work)
    assert first == second
    assert first[1] == theirs.tenant


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"session_ids": ["s"]},
        {"exclude_session_ids": ["other"]},
        {"user_id": "u"},
        {"authors": ["Ada"]},
        {"metadata": {"topic": "vault"}},
    ],
    ids=str,
)
async def test_no_question_finds_another_tenants_memories(
    mode: Mode,
    scope: dict[str, Any],
    database: Database,
    searcher: Searcher,
    theirs: Caller,
    ours: Caller,
) -> None:
    question = Question(query='vault word "xylophone"', mode=mode, **scope)
    assert (await searcher.recall(theirs, question)).results
    answer = await searcher.recall(ours, question)
    assert answer.results == ()
    assert answer.pending == 0


async def test_a_tenants_words_weigh_by_its_own_corpus(
    database: Database, searcher: Searcher, worker: Worker, theirs: Caller, ours: Caller
) -> None:
    """How common a word is with others says nothing here, and cannot be measured from here."""
    mine = [
        Message(session_id="s", role="user", content=text)
        for text in ("xylophone lessons", "piano lessons", "piano lessons on Monday")
    ]
    await memories.save_messages(database, ours, mine)
    await worker.drain()
    question = Question(query="xylophone lessons", mode="keyword", explain=True)
    before = [(h.score, h.explain) for h in (await searcher.recall(ours, question)).results]
    many = [Message(session_id="s", role="user", content=f"xylophone {n}") for n in range(40)]
    await memories.save_messages(database, theirs, many)
    await worker.drain()
    assert [(h.score, h.explain) for h in (await searcher.recall(ours, question)).results] == before


async def test_what_is_another_tenants_does_not_exist(
    database: Database, theirs: Caller, ours: Caller
) -> None:
    (note,) = (await memories.save_notes(database, theirs, [Note(content=SECRET)])).ids
    ((message,),) = await fetch(database, theirs, "select id from memory where kind = 'message'")
    assert (await sessions.list_sessions(database, ours, None, 10)).rows == ()
    for attempt in (
        sessions.list_messages(database, ours, "s", None, 10),
        memories.read_note(database, ours, note),
        memories.replace_note(database, ours, note, Note(content="taken")),
        forget_memory(database, ours, "note", note),
        forget_memory(database, ours, "message", message),
        forget_session(database, ours, "s"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await forget_user(database, ours, "u") == 0
    assert (await memories.read_note(database, theirs, note))["content"] == SECRET
    assert len((await sessions.list_messages(database, theirs, "s", None, 10)).rows) == 1


async def test_keys_and_sessions_of_one_name_are_two(
    database: Database, theirs: Caller, ours: Caller
) -> None:
    stored = await memories.save_messages(
        database, ours, [Message(session_id="s", role="user", content="mine", key="k")]
    )
    assert stored.accepted == 1
    page = await sessions.list_messages(database, ours, "s", None, 10)
    assert [row["content"] for row in page.rows] == ["mine"]


async def test_status_counts_only_ones_own(
    database: Database, profile: Profile, theirs: Caller, ours: Caller
) -> None:
    mine = await read_status(database, ours, profile)
    assert (mine["memories"], mine["chunks"], mine["pending"], mine["failed"]) == (0, 0, 0, 0)
    their = await read_status(database, theirs, profile)
    assert (their["memories"], their["chunks"], their["pending"]) == (2, 1, 1)
