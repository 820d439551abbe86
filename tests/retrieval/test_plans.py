"""At a hundred thousand memories no statement reads a whole table.

The server's own counters tell which tables were read from end to end and which indexes were used,
inside the transaction that just did it: what happened, not what a plan expected.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pgvector import HalfVector

from recall.base.queries import query
from recall.schema import functions, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Databases

ROWS = 100_000
DIMENSION = 8  # plans depend on how many rows there are, not on how wide a vector is
SESSION = 50  # messages in one

FILL = f"""
set session_replication_role = replica;  -- triggers cost half a minute and change nothing here

insert into session (tenant_id, key, last_at)
select 1, 's' || n, now() from generate_series(1, {ROWS // SESSION}) as n;

insert into memory (tenant_id, kind, session_id, key, role, author, user_id, content, metadata,
                    created_at)
select 1, 'message', 1 + n / {SESSION}, 'k' || n, 'user', 'author' || n % 20, 'user' || n % 1000,
       'content ' || n, jsonb_build_object('n', n % 1000), now() - n * interval '1 minute'
from generate_series(0, {ROWS - 1}) as n;

insert into chunk (id, profile_id, tenant_id, memory_id, piece, kind, thread, role, author,
                   user_id, created_at, starts, ends, length, digest, words)
select m.id, 1, 1, m.id, 0, m.kind, m.session_id, m.role, m.author, m.user_id, m.created_at,
       0, 10, 4, m.id,
       -- One word in every chunk, one in a tenth, one in a hundred, and one of its own.
       array_to_tsvector(array['1:all', '1:ten' || m.id % 10, '1:few' || m.id % 100, '1:w' || m.id])
from memory as m;

insert into embedding (chunk_id, profile_id, tenant_id, meaning)
select m.id, 1, 1, array(select random() - 0.5 + 0 * m.id
                         from generate_series(1, {DIMENSION}))::real[]::halfvec
from memory as m;

insert into word_count select 1, 1, w, count(*)
from chunk cross join unnest(tsvector_to_array(words)) as w group by w;
insert into corpus_count values (1, 1, {ROWS}, 4 * {ROWS});

-- Sparse on purpose: that it is used is asked here, not what it finds.
create index embedding_1_hnsw on embedding_1
  using hnsw ((meaning::halfvec({DIMENSION})) halfvec_cosine_ops) with (m = 4, ef_construction = 8);
"""

SCANS = """
select c.relname, pg_stat_get_xact_numscans(c.oid) as scans
from pg_class as c
where c.relnamespace = 'recall'::regnamespace and c.relkind in ('r', 'i')
  and pg_stat_get_xact_numscans(c.oid) > 0
"""

#: No field of a selection.
SELECTED = dict.fromkeys(("ids", "keys", "kind", "session", "user", "source"))
#: What grows with the memories. The queue is short when it is asked.
LARGE = {"memory", "session", "chunk_1", "embedding_1", "word_count"}


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[str]:
    """The URL of a database with ROWS memories, every one of them indexed."""
    url = databases.create()
    migrate.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"set search_path = {functions.read_functions('public').path}, public".encode()
        )
        connection.execute("select create_profile('tiny', 'r', %s, '1', true)", [DIMENSION])
        connection.execute("drop index embedding_1_hnsw")
        connection.execute(FILL.encode())
        connection.execute("vacuum analyze")
    yield url
    databases.drop(url)


@pytest.fixture
def unit(large: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of tenant 1, as every question runs."""
    with psycopg.connect(large) as connection:
        values = {"tenant": "1", "user": "", "writes": True, "timeout": "30s"}
        values["search_path"] = functions.read_functions("public").path
        connection.execute(query("enter_unit"), values)
        yield connection
        connection.rollback()


def used(unit: psycopg.Connection[Any], statement: str, values: Any) -> set[str]:
    """Return the tables read whole and the indexes used by a named statement."""
    cursor = unit.execute(query(statement), values)
    assert cursor.rowcount, "a statement that met no row proves nothing"
    return {name for name, _ in unit.execute(SCANS).fetchall()}


def evidence(tokens: list[str], *, meaning: bool = True, **scope: Any) -> dict[str, Any]:
    return {
        "profile": 1,
        "meaning": HalfVector([0.5] * DIMENSION).to_text() if meaning else None,
        "tokens": tokens,
        "hints": [],
        "demanded": [],
        "excluded": [],
        "scope": json.dumps(scope),
        "pool": 100,
        "texts": 100,
        "around": 4,
    }


HNSW, GIN = "embedding_1_hnsw", "chunk_1_words_idx"
THREAD = "chunk_1_thread_created_at_memory_id_piece_idx"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (evidence(["few7", "w777"]), {HNSW, GIN, THREAD}),
        (evidence(["all", "ten3", "few7"]), {HNSW, GIN, THREAD}),
        (evidence([]), {HNSW, THREAD}),
        (evidence(["w777"], meaning=False), {GIN, THREAD}),
        (evidence(["few7"], user_id="user7"), {"chunk_1_tenant_id_user_id_created_at_idx"}),
        (evidence(["few7"], session_ids=["s7", "s8"]), {THREAD}),
        (evidence(["few7"], metadata={"n": 7}), {"memory_metadata_idx", "memory_by_metadata"}),
        (evidence(["few7"], roles=["user"]), {HNSW, GIN}),
    ],
    ids=["rare", "common", "semantic", "keyword", "user", "sessions", "metadata", "wide"],
)
def test_a_question_reads_no_whole_table(
    unit: psycopg.Connection[Any], values: dict[str, Any], expected: set[str]
) -> None:
    found = used(unit, "gather", values)
    assert found & LARGE == set()
    assert found & expected, found


ALL, ROLE, TWO_SESSIONS = (
    f"scope_condition(1::smallint, '{scope}')"
    for scope in ("{}", '{"roles": ["user"]}', '{"session_ids": ["s7", "s8"]}')
)
#: Each leg's statement, as the call that returns it, and the index that it goes by.
PIECES = {
    f"by_words_sql({ALL}, quoted('1:few7'), 'c.length::float8')": GIN,
    f"texts_by_words_sql({ALL}, quoted('1:few7'), 'c.length::float8')": GIN,
    "walk_sql(1::smallint)": HNSW,
    f"walk_in_scope_sql(1::smallint, {ROLE})": HNSW,
    f"by_meaning_sql({TWO_SESSIONS})": THREAD,
    f"texts_by_meaning_sql({TWO_SESSIONS})": THREAD,
}


@pytest.mark.parametrize(
    ("piece", "index"), PIECES.items(), ids=lambda text: text.partition("(")[0]
)
def test_a_piece_is_explained_by_itself(
    unit: psycopg.Connection[Any], piece: str, index: str
) -> None:
    unit.execute("reset role")  # the pieces are the owner's
    ((statement,),) = unit.execute(f"select {piece}".encode()).fetchall()
    unit.execute(f"prepare piece (public.halfvec, integer) as {statement}".encode())
    meaning = HalfVector([0.5] * DIMENSION).to_text()
    plan = unit.execute(f"explain (costs off) execute piece ('{meaning}', 100)".encode()).fetchall()
    assert index in "\n".join(line for (line,) in plan)
    unit.execute("deallocate piece")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hits", {"ids": [5, 500, 50_000], "before": 2, "after": 2}),
        ("sessions_page", {"at": None, "id": 0, "limit": 20}),
        ("messages_page", {"session": 7, "at": None, "id": 0, "limit": 20}),
        ("session_by_key", ["s7"]),
        ("ids_by_key", [["k7", "k70000"]]),
        ("unindexed", [[5, 6]]),
        ("hold_sessions", SELECTED | {"user": "user7"}),
        ("hold_memories", SELECTED | {"ids": [5, 6], "kind": "message"}),
        ("hold_memories", SELECTED | {"session": "s7"}),
        ("hold_memories", SELECTED | {"user": "user7"}),
        ("erase_chunks", [[5, 6]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_reads_no_whole_table(
    unit: psycopg.Connection[Any], name: str, values: Any
) -> None:
    assert used(unit, name, values) & LARGE == set()
