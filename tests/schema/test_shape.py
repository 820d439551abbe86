"""What a whole schema consists of, and that nothing of it is lost without a word."""

from __future__ import annotations

import re
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from recall.base.queries import SQL, query
from recall.contract.errors import Misconfigured, SchemaRefused
from recall.contract.values import Note
from recall.indexing import doctor, graph
from recall.memory import memories
from recall.schema import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from recall.base.settings import Settings
    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.embedded import keeper
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio


def parts_of(url: str) -> list[str]:
    """Return the parts of a database with one profile, as sql/schema/shape.sql writes them."""
    with psycopg.connect(url) as connection:
        connection.execute(query("enter_migration"))
        parts = [row[0] for row in connection.execute(query("parts")).fetchall()]
    return [
        re.sub(r"\b(chunk|embedding)_1(?=\b|_)", r"\1_{profile}", part)
        .replace("FOR VALUES IN ('1')", "FOR VALUES IN ('{profile}')")
        .replace("public.halfvec", "halfvec")
        + ";\n"
        for part in parts
    ]


def test_the_list_of_parts_is_what_migrations_make(database_url: str, tmp_path: Path) -> None:
    """When this fails, the second half of the file that it names is the list as it should be."""
    text = (SQL / "schema" / "shape.sql").read_text(encoding="utf-8")
    prose, blank, listed = text.partition("\n\n")
    right = "".join(parts_of(database_url))
    (tmp_path / "shape.sql").write_text(prose + blank + right, encoding="utf-8")
    changes = unified_diff(listed.splitlines(), right.splitlines(), "listed", "made", n=0)
    assert not list(changes), tmp_path / "shape.sql"


def take(owner: psycopg.Connection[Any], loss: str) -> None:
    """Take away what LOSSES says; some of it only a superuser may."""
    (row,) = owner.execute("select current_schemas(false)")
    try:
        owner.execute(LOSSES[loss][0].format(functions=row[0][0]).encode())
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("only a superuser may do this")


async def test_a_whole_database_lacks_nothing_and_grants_nothing_more(database_url: str) -> None:
    assert migrate.differences(database_url) == ([], [])
    assert migrate.migrate(database_url) == []


#: What somebody or a restore takes away, and what the doctor then says is lost.
LOSSES = {
    "a policy": ("drop policy own_rows on memory", "create policy own_rows on recall.memory"),
    "all of a table's security": (
        "alter table memory disable row level security",
        "alter table recall.memory enable row level security",
    ),
    "a policy's condition": (
        "alter policy own_rows on session using (true)",
        "create policy own_rows on recall.session",
    ),
    "a policy's role": (
        "alter policy own_rows on job to public",
        "create policy own_rows on recall.job",
    ),
    "rights on a table": (
        "revoke all on memory from recall_service",
        "grant select on table recall.memory to recall_service",
    ),
    "a right on a sequence": (
        "revoke all on sequence chunk_id from recall_service",
        "grant usage on sequence recall.chunk_id",
    ),
    "the schema's right": (
        "revoke usage on schema recall from recall_service",
        "grant usage on schema recall",
    ),
    "the way to a version's functions": (
        "revoke usage on schema {functions} from recall_service",
        ".evidence",
    ),
    "a right on a function": (
        "revoke execute on function evidence from recall_service",
        ".evidence",
    ),
    "a function's privacy": ("grant execute on function compact to public", ".compact"),
    "a function": ("drop function evidence", ".evidence"),
    "every function": ("drop schema {functions} cascade", ".evidence"),
    "the tenant's function": (
        "drop function recall.current_tenant() cascade",
        "CREATE OR REPLACE FUNCTION recall.current_tenant()",
    ),
    "the privacy of what policies call": (
        "grant execute on function recall.current_tenant() to public",
        "revoke execute on function recall.current_tenant() from public",
    ),
    "a trigger": (
        "drop trigger count_deleted on chunk",
        "CREATE OR REPLACE TRIGGER count_deleted",
    ),
    "triggers switched off": (
        "alter table chunk disable trigger count_inserted",
        "CREATE OR REPLACE TRIGGER count_inserted",
    ),
    "an index": ("drop index memory_by_session", "CREATE INDEX memory_by_session"),
    "an index of a profile": (
        "drop index chunk_1_words_idx",
        "CREATE INDEX chunk_1_words_idx",
    ),
    "an index's validity": (
        "update pg_index set indisvalid = false where indexrelid = 'memory_by_user'::regclass",
        "CREATE INDEX memory_by_user",
    ),
    "a key": (
        "alter table memory drop constraint memory_tenant_id_key_key",
        "add constraint memory_tenant_id_key_key",
    ),
    "a primary key with all that refers to it": (
        "alter table memory drop constraint memory_pkey cascade",
        "add constraint memory_pkey",
    ),
    "a foreign key": (
        "alter table job drop constraint job_memory_id_fkey",
        "add constraint job_memory_id_fkey",
    ),
    "a check": (
        "alter table memory drop constraint memory_kind_check",
        "add constraint memory_kind_check",
    ),
    "a default": (
        "alter table memory alter column metadata drop default",
        "alter column metadata set default",
    ),
    "not null": (
        "alter table memory alter column content drop not null",
        "alter table recall.memory alter column content set not null",
    ),
    "an identity": (
        "alter table memory alter column id drop identity",
        "alter table recall.memory alter column id add generated",
    ),
    "a sequence": ("drop sequence job_token", "create sequence recall.job_token"),
    "a partition": ("drop table chunk_1", "create table recall.chunk_1"),
    "a partition's place": (
        "alter table embedding detach partition embedding_1",
        "attach partition recall.embedding_1",
    ),
    "vectors": ("drop table embedding cascade", "create table recall.embedding"),
    "the queue": ("drop table job", "create table recall.job"),
    "counts": ("drop table word_count", "create table recall.word_count"),
    "a table's storage": (
        "alter table chunk_1 reset (toast_tuple_target)",
        "alter table recall.chunk_1 set (toast_tuple_target=8160)",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_is_lost_is_named_and_mended_by_the_doctor(
    loss: str,
    database: Database,
    worker: Worker,
    settings: Settings,
    caller: Caller,
    owner: psycopg.Connection[Any],
) -> None:
    notes = [Note(content="The lamp is green.", key="k"), Note(content="The harbour is shut.")]
    await memories.save_notes(database, caller, notes)
    await worker.drain()
    take(owner, loss)
    named = LOSSES[loss][1]
    found = await doctor.examine(database, fix=False)
    assert any(named in f.counts and f.found and not f.repaired for f in found), found
    with pytest.raises(SchemaRefused, match=r"has lost \d+ parts of recall"):
        migrate.check(settings.pooled_url)
    mended = await doctor.examine(database, fix=True)
    assert all(f.repaired for f in mended if f.found), mended
    await graph.examine_graph(database, settings, fix=True)
    await worker.drain()
    assert not any(f.found for f in await doctor.examine(database, fix=False))
    assert migrate.differences(settings.pooled_url) == ([], [])


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_made_again_at_a_start(
    loss: str, database_url: str, owner: psycopg.Connection[Any]
) -> None:
    take(owner, loss)
    assert migrate.migrate(database_url) == []
    assert migrate.differences(database_url) == ([], [])


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("drop table memory cascade", "lacks memory as recall made it, and only a backup"),
        ("alter table memory drop column content", r"lacks memory\.content as recall"),
        ('alter table source drop column "position"', r"lacks source\.position as recall"),
        ("drop table tenant, session cascade", "lacks session, tenant as recall"),
    ],
)
def test_truth_that_is_lost_is_not_made_up(
    taken: str, said: str, database_url: str, owner: psycopg.Connection[Any]
) -> None:
    owner.execute(taken.encode())
    with pytest.raises(SchemaRefused, match=said):
        migrate.migrate(database_url)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("alter table memory alter column author type varchar", r"lacks memory\.author as recall"),
        (
            "alter table memory drop constraint memory_kind_check;"
            "insert into memory (tenant_id, kind, content, created_at, session_id)"
            " values (1, 'fax', 'x', now(), null)",
            r"cannot be made again \(.*memory_kind_check.*: check constraint",
        ),
    ],
)
def test_what_cannot_be_made_again_is_said_and_nothing_changes(
    changed: str, said: str, database_url: str, owner: psycopg.Connection[Any]
) -> None:
    owner.execute(changed.encode())
    owner.execute("drop policy own_rows on memory")
    before = migrate.differences(database_url)
    with pytest.raises(SchemaRefused, match=said):
        migrate.migrate(database_url)
    assert migrate.differences(database_url) == before


@pytest.mark.parametrize(
    "opened",
    [
        "grant select on chunk_1 to recall_service",
        "grant select on api_key to recall_service",
        "create policy more on memory to recall_service using (true)",
        "create policy more on memory to public using (true)",
    ],
)
async def test_what_lets_a_tenant_see_more_is_named(
    opened: str, database: Database, owner: psycopg.Connection[Any]
) -> None:
    owner.execute(opened.encode())
    found = [f for f in await doctor.examine(database, fix=True) if f.found]
    assert [f.repaired for f in found] == [False]
    assert found[0].counts.startswith("not recall's own: ")


async def test_sequences_that_lag_behind_are_advanced(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_notes(database, caller, [Note(content=f"note {n}") for n in range(5)])
    await worker.drain()
    owner.execute("select setval('memory_id_seq', 1), setval('chunk_id', 2)")
    (found,) = [f for f in await doctor.examine(database, fix=False) if f.found]
    assert (found.counts, found.found) == ("sequences that lag behind their rows", 2)
    await doctor.examine(database, fix=True)
    await memories.save_notes(database, caller, [Note(content="one more")])
    await worker.drain()
    assert not any(f.found for f in await doctor.examine(database, fix=False))


async def test_an_index_that_is_older_than_its_text_is_found_and_made_again(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    notes = [Note(content=f"note {n}", title="t", user_id="u") for n in range(4)]
    await memories.save_notes(database, caller, notes)
    await worker.drain()
    owner.execute("update memory set content = 'changed behind recall' where content = 'note 0'")
    owner.execute("update memory set user_id = 'v' where content = 'note 1'")
    owner.execute("update memory set created_at = '2001-01-01' where content = 'note 2'")
    (found,) = [f for f in await doctor.examine(database, fix=False) if f.found]
    assert (found.counts, found.found) == ("memories whose index is older than the text", 3)
    await doctor.examine(database, fix=True)
    assert not any(f.found for f in await doctor.examine(database, fix=False))  # they wait
    await worker.drain()
    assert not any(f.found for f in await doctor.examine(database, fix=False))


async def test_chunks_of_no_memory_go_with_their_counts(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_notes(database, caller, [Note(content="one"), Note(content="two")])
    await worker.drain()
    owner.execute("alter table chunk drop constraint chunk_memory_id_fkey")
    owner.execute("delete from memory where content = 'one'")
    found = {f.counts for f in await doctor.examine(database, fix=False) if f.found}
    assert "chunks of no memory" in found
    await doctor.examine(database, fix=True)
    assert not any(f.found for f in await doctor.examine(database, fix=False))


async def test_large_tables_without_statistics_are_analyzed(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    owner.execute(
        "insert into memory (tenant_id, kind, content, created_at)"
        " select %s, 'note', repeat(md5(n::text), 30), now() from generate_series(1, 10000) as n",
        [caller.tenant],
    )
    owner.execute("insert into job (memory_id, tenant_id) select id, tenant_id from memory")
    (found,) = [f for f in await doctor.examine(database, fix=False) if f.found]
    assert (found.counts, found.found) == ("large tables never analyzed", 1)
    await doctor.examine(database, fix=True)
    assert not any(f.found for f in await doctor.examine(database, fix=False))


def test_a_schema_of_somebody_else_is_refused(postgres: keeper.Server) -> None:
    url = postgres.url("squatted")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        for statement in (
            "create database squatted",
            "create role squatter",
            "create role ann login",
        ):
            admin.execute(statement.encode())
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("create extension vector")
        admin.execute("create schema recall authorization squatter")
    try:
        with pytest.raises(Misconfigured, match="belongs to squatter, whom the role"):
            migrate.migrate(url.replace("postgres@", "ann@"))
    finally:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
            for statement in ("drop database squatted", "drop role squatter", "drop role ann"):
                admin.execute(statement.encode())
