"""PraisonAI's store in MySQL or MariaDB; TEST_MYSQL_URL names a server to make databases on."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from sources_reading import read, sample

from recall.errors import SourceUnreadable
from recall.sources import tables
from recall.sources.recognition import recognise
from recall.sources.registry import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

pymysql = pytest.importorskip("pymysql", reason="PyMySQL is the extra recall[mysql]")

TABLES = (
    "create table praison_sessions (session_id varchar(255) primary key, user_id varchar(255), "
    "agent_id varchar(255), name varchar(255), state json, metadata json, created_at double, "
    "updated_at double)",
    "create table praison_messages (id varchar(255) primary key, session_id varchar(255), "
    "role varchar(50), content text, tool_calls json, tool_call_id varchar(255), metadata json, "
    "created_at double)",
)


@pytest.fixture
def mysql() -> Iterator[tuple[str, Any]]:
    """The URL of an empty database, and a cursor in it."""
    server = os.environ.get("TEST_MYSQL_URL")
    if not server:
        pytest.skip("TEST_MYSQL_URL names no server")
    parts, name = urlsplit(server), f"t_{uuid.uuid4().hex[:12]}"
    with closing(
        pymysql.connect(
            host=parts.hostname, port=parts.port, user=parts.username, charset="utf8mb4"
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(f"create database {name} character set utf8mb4")
        cursor.execute(f"use {name}")
        for table in TABLES:
            cursor.execute(table)
        connection.commit()
        yield f"mysql+pymysql://{parts.username}@{parts.hostname}:{parts.port}/{name}", connection
        cursor.execute(f"drop database {name}")


def test_the_samples_rows_are_the_same_from_mysql(mysql: tuple[str, Any]) -> None:
    url, connection = mysql
    path = sample("praisonai-sqlite.db")
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as source:
        for table, width in (("praison_sessions", 8), ("praison_messages", 8)):
            rows = source.execute(f"select * from {table}").fetchall()
            marks = ", ".join(["%s"] * width)
            connection.cursor().executemany(f"insert into {table} values ({marks})", rows)
    connection.commit()
    assert recognise(url).name == "praisonai"
    here, there = read(open_source(url)), read(open_source(path))
    assert here.rows == 5
    assert here.memories == there.memories


def test_pages_of_mysql_leave_nothing_out(
    mysql: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "FIRST_PAGE", 7)
    monkeypatch.setattr(tables, "LARGEST_PAGE", 11)
    url, connection = mysql
    rows = [
        (f"m{i}", "s", "user", f"100% 😀 {i}", None, None, json.dumps({}), None if i % 5 else i / 3)
        for i in range(60)
    ]
    marks = ", ".join(["%s"] * 8)
    connection.cursor().executemany(f"insert into praison_messages values ({marks})", rows)
    connection.commit()
    reading = read(open_source(url), positions=60)
    assert sorted(reading.texts) == sorted(row[3] for row in rows)
    query = "select id as `key`, content from praison_messages where content like '100% %'"
    assert len(read(open_source(url, "sql", query=query)).memories) == 60


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SourceUnreadable, match=r"mysql://127.0.0.1:1/x cannot be read"):
        list(open_source("mysql://ann:secret@127.0.0.1:1/x", "praisonai").read())
