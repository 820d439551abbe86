"""Sources in Postgres: the samples' dumps, and the order of pages whatever the columns hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from samples import load
from sources_reading import read, sample

from recall.contract.errors import SourceUnreadable
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.tables import pages
from recall.sources.tables.databases import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from recall.embedded import keeper


@pytest.fixture
def dump(empty_url: str) -> Callable[[str], str]:
    def loaded(file: str) -> str:
        load(empty_url, sample(file))
        return empty_url

    return loaded


def test_postgres_and_sqlite_of_one_history_give_the_same_keys(dump: Callable[[str], str]) -> None:
    url = dump("chatkit-postgres.sql")
    assert list(open_source(url).ids()) == list(open_source(sample("chatkit-sqlite.db")).ids())


def test_a_long_message_of_praisonai_is_whole(dump: Callable[[str], str]) -> None:
    url = dump("praisonai-postgres.sql")
    with psycopg.connect(url) as connection:
        row = connection.execute("select content from direct_messages where id = 'm5'").fetchone()
    texts = [m.content for m in read(open_source(url)).messages if m.metadata["id"] == "m5"]
    assert row and "".join(texts) == row[0]
    users = {m.user_id for m in read(open_source(url)).messages}
    assert users == {"alice", None}


PRAISON = """
create table praison_sessions (session_id text primary key, user_id text, agent_id text,
    name text, state jsonb, metadata jsonb, created_at float8, updated_at float8);
create table praison_messages (id text primary key, session_id text, role text, content text,
    tool_calls jsonb, tool_call_id text, metadata jsonb, created_at float8)"""


def test_pages_leave_nothing_out_where_times_are_missing_and_equal(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_PAGE", 7)
    monkeypatch.setattr(pages, "LARGEST_PAGE", 11)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(PRAISON.encode())
        connection.execute(
            "insert into praison_messages select 'm' || i, 's', 'user', 'text ' || i, null, null, "
            "'{}', case when i % 5 = 0 then null when i % 7 = 0 then 'infinity' "
            "else i / 10 + 0.5::float8 end "
            "from generate_series(1, 150) i"
        )
    reading = read(open_source(empty_url), positions=150)
    assert sorted(reading.texts) == sorted(f"text {i}" for i in range(1, 151))
    estimated = sum(bool(m.metadata.get("time_estimated")) for m in reading.messages)
    assert estimated >= 30


def test_a_page_of_heavy_rows_ends_early(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 1000)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(PRAISON.encode())
        connection.execute(
            "insert into praison_messages select 'm' || i, 's', 'user', repeat('x', i * 100), "
            "null, null, '{}', 1.7e9 + i from generate_series(1, 60) i"
        )
    assert len(read(open_source(empty_url)).memories) == 60


def test_a_follower_sees_new_rows_and_late_ones_behind_the_position(empty_url: str) -> None:
    insert = "insert into messages values (%s, 's', 'user', %s, now()) "
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "create table sessions (id text primary key, title text, created_at timestamp);"
            "create table messages (id int primary key, session_id text, role text, content text,"
            " created_at timestamp); create table notes (id text primary key, title text,"
            " content text, category text, created_at timestamp, updated_at timestamp)"
        )
        connection.execute(insert, [10, "ten"])
        source = open_source(empty_url)
        (first,) = source.read()
        connection.execute(insert, [9, "nine, committed late"])
        connection.execute(insert, [11, "eleven"])
        connection.execute("insert into notes values ('n', 't', 'note', 'c', now(), now())")
        behind = [item.memory.content for item in source.read(first.position)]  # type: ignore[union-attr]
        assert behind == ["eleven", "note"], "every chapter goes on from one position"
        rewound = source.read(source.rewind(first.position))
        assert [item.memory.content for item in rewound] == [  # type: ignore[union-attr]
            "nine, committed late",
            "ten",
            "eleven",
            "note",
        ]
        *_, last = source.read()
        connection.execute("update notes set content = 'edited', updated_at = now()")
        (edited,) = source.read(last.position)
        assert edited.memory.content == "edited"  # type: ignore[union-attr]


def test_sql_reads_any_table_by_named_columns(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "create table chat (no bigint, room uuid, who text, line text, at timestamptz, "
            "extra jsonb, score numeric);"
            "insert into chat select i, '00000000-0000-0000-0000-000000000001', 'ann', "
            "'50% of ' || i, timestamptz '2026-01-01 00:00+02' + i * interval '1 minute', "
            "jsonb_build_object('n', i), 1.5 from generate_series(1, 30) i;"
            "insert into chat (line) values ('nobody knows its key'), ('nor this')"
        )
    query = (
        "select no as key, room as session_id, who as author, line as content, at as created_at, "
        "extra as metadata, score from chat where line not like '50%% of 7' -- a comment"
    )
    reading = read(open_source(empty_url, "sql", query=query))
    assert reading.skipped == {"no key": 2}
    first = reading.messages[0]
    assert first.key == f"sql:{empty_url.split('/')[3].split('?')[0]}.chat:1"
    assert (first.role, first.author, first.content) == ("user", "ann", "50% of 1")
    assert first.metadata == {"source": "sql", "n": 1, "score": "1.5"}
    assert first.created_at and first.created_at.isoformat() == "2025-12-31T22:01:00+00:00"
    plain = open_source(empty_url, "sql", query="select line as content from chat order by no")
    assert read(plain).rows == 32


def test_what_cannot_be_read_is_said_without_the_password(postgres: keeper.Server) -> None:
    url = f"postgresql://ann:secret@127.0.0.1:1/gone?host={postgres.socket}"
    with pytest.raises(SourceUnreadable) as refused:
        list(open_source(url, "openzess").read())
    assert "secret" not in str(refused.value)
    assert origin_of("postgres://ann:secret@db.example:5433/chat?sslmode=require") == (
        "postgresql://db.example:5433/chat"
    )


def test_a_database_that_no_source_knows_names_its_tables(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("create table invoices (id int)")
    with pytest.raises(SourceUnreadable, match=r"has invoices, which no source knows; sql reads"):
        recognise(empty_url)
