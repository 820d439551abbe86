"""A role that may create in `public`, as on Postgres 14 everybody may, runs nothing as recall.

It plants an operator for every operator of Postgres's and every pair of types that recall's SQL
knows, where Postgres has none of exactly that pair, and a function beside every function that
recall calls. An exact match anywhere on the path beats Postgres's own that takes anything, or that
converts; so one path that leads through `public` would spring one of these traps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from recall.base.queries import SQL
from recall.base.settings import Settings
from recall.contract.values import Message, Note, Question
from recall.database.units import Database
from recall.indexing import doctor, graph, profiles
from recall.indexing.languages import set_language
from recall.indexing.recipe import RECIPE
from recall.indexing.worker import Worker
from recall.memory import keys, memories
from recall.memory.forget import forget_session
from recall.retrieval.search import Searcher
from recall.schema import functions, migrate, preflight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.embedded import keeper
    from recall.embedding import Model

pytestmark = pytest.mark.anyio

TYPES = (
    *("smallint", "integer", "bigint", "real", "double precision", "numeric", "boolean", "text"),
    *("name", "oid", "regclass", "jsonb", "tsvector", "tsquery", "timestamptz", "interval"),
    *("halfvec", "smallint[]", "integer[]", "bigint[]", "real[]", "double precision[]", "text[]"),
    *("boolean[]", "timestamptz[]", "halfvec[]", '"char"', "aclitem[]", "oid[]", "uuid"),
)
#: Every call in recall's SQL, its functions and its migrations, that Postgres's own could be.
CALLED = sorted(
    set(
        re.findall(
            r"\b([a-z_]+)\(", "".join(f.read_text(encoding="utf-8") for f in SQL.rglob("*.sql"))
        )
    )
)

PLANT = """
do $$
declare
  types text[] := %(types)s;
  l text;
  r text;
  o text;
  f text;
begin
  foreach l in array types loop
    execute format('create function public.trap(%%s) returns %%s language plpgsql as $t$
                    begin perform public.spring(); return null; end $t$', l, l);
    foreach r in array types loop
      execute format('create function public.trap(%%s, %%s) returns boolean language plpgsql as $t$
                      begin perform public.spring(); return null; end $t$', l, r);
      for o in select distinct oprname from pg_catalog.pg_operator
               where oprname in ('||', '=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '@@',
                                 '@>', '?', '->', '->>', '~', '<=>', '%%') loop
        begin
          execute format('create operator public.%%s (leftarg = %%s, rightarg = %%s,
                          function = public.trap)', o, l, r);
        exception when others then null;  -- pgvector's own lie here
        end;
      end loop;
    end loop;
    execute format('create function public.set_config(%%s, %%s, boolean) returns text
                    language plpgsql as $t$ begin perform public.spring(); return null; end $t$',
                   l, l);
    foreach f in array %(called)s loop
      begin
        execute format('create function public.%%I(%%s) returns text language plpgsql as $t$
                        begin perform public.spring(); return null; end $t$', f, l);
      exception when others then null;
      end;
      foreach r in array array['text', 'integer', 'bigint', 'boolean', l] loop
        begin
          execute format('create function public.%%I(%%s, %%s) returns text language plpgsql as $t$
                          begin perform public.spring(); return null; end $t$', f, l, r);
        exception when others then null;
        end;
      end loop;
    end loop;
  end loop;
end $$
"""


@pytest.fixture(scope="module")
def mined(postgres: keeper.Server) -> Iterator[str]:
    """The URL of a database in whose `public` another role has planted its traps."""
    url = postgres.url("mined")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute("create database mined")
        admin.execute("create role app login")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("create extension vector")
        admin.execute("grant create on schema public to public")  # as on Postgres 14
    with psycopg.connect(url.replace("postgres@", "app@"), autocommit=True) as app:
        app.execute("create sequence public.sprung")
        app.execute("grant usage on sequence public.sprung to public")
        app.execute(
            "create function public.spring() returns void language sql"
            " as $$ select pg_catalog.nextval('public.sprung'::pg_catalog.regclass) $$"
        )
        types = "array[" + ", ".join(f"'{name}'" for name in TYPES) + "]"
        called = "array[" + ", ".join(f"'{name}'" for name in CALLED) + "]"
        app.execute((PLANT % {"types": types, "called": called}).encode())
    yield url
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute("drop database mined with (force)")
        admin.execute("drop role app")


def safely(url: str) -> psycopg.Connection[Any]:
    """Return a connection that does not look into `public` either."""
    return psycopg.connect(url, autocommit=True, options="-c search_path=pg_catalog")


def sprung(url: str) -> bool:
    """Return whether any trap was sprung since this was asked last."""
    with safely(url) as connection:
        (row,) = connection.execute("select is_called from public.sprung")
        connection.execute("alter sequence public.sprung restart")
        return bool(row[0])


@pytest.mark.parametrize(
    "statement",
    [
        "select '{1}'::bigint[] || '{2}'::bigint[]",
        "select quote_ident('x'::name)",
        "select hashtextextended('x'::name, 0)",
        "select 1::bigint % 2::smallint",
    ],
)
def test_the_traps_work_on_a_path_through_public(mined: str, statement: str) -> None:
    with psycopg.connect(mined, autocommit=True) as connection:
        connection.execute(statement.encode())
    assert sprung(mined)


async def test_nothing_that_recall_does_springs_a_trap(mined: str, model: Model) -> None:
    settings = Settings.load(database_url=mined)
    await preflight.check_server(mined, mined)
    assert migrate.migrate(mined)
    migrate.check(mined)
    assert not sprung(mined), "at a first start"

    database = Database(mined, settings)
    await database.open()
    try:
        profile = await profiles.ensure_profile(database, model.embedder.identity, RECIPE)
        ours = await keys.caller_of(database, "ours")
        await keys.create_key(database, "ours", "laptop")
        worker = Worker(database, model.documents, profile, settings)
        said = [
            Message(session_id=f"s{n % 3}", role="user", user_id="u", content=f"hello there {n}")
            for n in range(30)
        ]
        await memories.save_messages(database, ours, said)
        await memories.save_notes(database, ours, [Note(content="alone", metadata={"a": 1})])
        await worker.drain()
        assert not sprung(mined), "while it stores and indexes"

        searcher = Searcher(database, profile, model.questions)
        scope: dict[str, Any] = {
            "user_id": "u",
            "session_ids": ["s1"],
            "exclude_session_ids": ["s2"],
            "kinds": ["message"],
            "roles": ["user"],
            "metadata": {"a": 1},
            "since": "2020-01-01T00:00:00Z",
        }
        for mode in ("hybrid", "semantic", "keyword"):
            for given in ({}, *({name: value} for name, value in scope.items())):
                asked = Question(query='hello "hello there" -seven alone', mode=mode, **given)
                await searcher.recall(ours, asked)
        assert not sprung(mined), "while it answers"

        with safely(mined) as connection:
            for taken in (
                "drop policy own_rows on recall.memory",
                f"drop function {functions.read_functions('public').schema}.evidence",
                f"drop index recall.embedding_{profile.id}_hnsw",
                "delete from recall.embedding where chunk_id % 2 = 0",
                "update recall.word_count set chunks = 9",
                "create role opened",
                "grant create on schema recall to opened",
            ):
                connection.execute(taken.encode())
        mended = await doctor.examine(database, fix=True)
        assert all(f.repaired for f in mended if f.found), mended
        assert (await graph.examine_graph(database, settings, fix=True)).repaired
        await set_language(database, ours, "german")
        await worker.drain()
        await forget_session(database, ours, "s1")
        migrate.prune(mined)
        assert not any(f.found for f in await doctor.examine(database, fix=False))
        assert not sprung(mined), "while it is looked after"
    finally:
        await database.close()
        with safely(mined) as connection:
            connection.execute("drop role if exists opened")


def test_no_privileged_function_looks_where_others_may_create(mined: str) -> None:
    migrate.migrate(mined)
    with safely(mined) as connection:
        found = connection.execute(
            "select p.proname, p.proconfig from pg_proc as p"
            " join pg_namespace as n on n.oid = p.pronamespace"
            " where n.nspname ~ '^recall' and p.prosecdef order by 1"
        ).fetchall()
    path = f"search_path={functions.read_functions('public').path}"
    assert [(name, config) for name, config in found] == [
        ("compact", [path]),
        ("evidence", [path]),
    ]


def test_what_belongs_to_recall_is_called_by_nobody_else(mined: str) -> None:
    migrate.migrate(mined)
    schema = functions.read_functions("public").schema
    with safely(mined) as admin:
        admin.execute("grant usage on schema recall to app")  # for `--trigger`
    with psycopg.connect(mined.replace("postgres@", "app@"), autocommit=True) as app:
        for call in (
            f"{schema}.compact()",
            f"{schema}.copies()",
            "recall.current_tenant()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(f"select {call}".encode())
