"""The samples by kind: what each holds by its own count, and what becomes of it."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sources_reading import sample

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Sample:
    """A file of the samples, and where it is loaded to be read."""

    file: str
    #: Its rows by kind, counted by the source's own query; a JSON file is counted in Python.
    query: str
    rows: dict[str, int]
    #: Rows that become memories, by kind, and why others do not.
    stored: dict[str, int]
    skipped: dict[str, int] = field(default_factory=dict)
    where: str = "file"  # or "postgres", "mysql"

    @property
    def name(self) -> str:
        """What it is read as."""
        return self.file.rsplit("-", 1)[0]

    @property
    def read(self) -> int:
        """How many rows it holds."""
        return sum(self.rows.values())

    def __str__(self) -> str:
        return f"{self.file} in {self.where}" if self.where == "mysql" else self.file


OPENZESS = {"message": 3, "note": 1}
COUNT_OPENZESS = (
    "select 'message', count(*) from messages union all select 'note', count(*) from notes"
)
CHATKIT = {
    "user_message": 1, "assistant_message": 1, "task": 1, "client_tool_call": 1, "workflow": 1,
    "hidden_context_item": 1, "end_of_turn": 1,
}  # fmt: skip
CHATKIT_SKIPPED = {"reasoning": 1, "hidden context": 1, "no text": 1}
AGENTS = {"message": 3, "function_call": 1, "function_call_output": 1}
MOLTNET = {"room": 7, "thread": 1, "dm": 1}
MOLTNET_SKIPPED = {"removed room": 1, "empty": 1}
PRAISON = {"user": 1, "assistant": 2, "tool": 2}
PRAISON_BOTH = {"user": 3, "assistant": 3, "tool": 2}
COUNT_PRAISON = "select role, count(*) from praison_messages group by 1"
COUNT_BOTH = (
    "select role, count(*) from (select role from praison_messages union all"
    " select role from direct_messages) as both_prefixes group by 1"
)

SAMPLES = [
    Sample("openzess-sqlite.db", COUNT_OPENZESS, OPENZESS, OPENZESS),
    Sample("openzess-postgres.sql", COUNT_OPENZESS, OPENZESS, OPENZESS, where="postgres"),
    Sample(
        "chatkit-sqlite.db",
        "select json_extract(data, '$.type'), count(*) from items group by 1",
        CHATKIT,
        {"message": 4},
        CHATKIT_SKIPPED,
    ),
    Sample(
        "chatkit-postgres.sql",
        "select type, count(*) from (select data ->> 'type' as type from official.items union all"
        " select type from seed.chatkit_thread_items) as both_layouts group by 1",
        CHATKIT,
        {"message": 4},
        CHATKIT_SKIPPED,
        "postgres",
    ),
    Sample(
        "openai-agents-sqlite.db",
        "select coalesce(json_extract(message_data, '$.type'), 'message'), count(*)"
        " from agent_messages group by 1",
        AGENTS,
        {"message": 5},
    ),
    Sample(
        "openai-agents-postgres.sql",
        "select coalesce(message_data::json ->> 'type', 'message'), count(*)"
        " from agent_messages group by 1",
        AGENTS,
        {"message": 5},
        where="postgres",
    ),
    Sample(
        "moltnet-sqlite.db",
        "select target_kind, count(*) from messages group by 1",
        MOLTNET,
        {"message": 7},
        MOLTNET_SKIPPED,
    ),
    Sample("moltnet-json.json", "", MOLTNET, {"message": 7}, MOLTNET_SKIPPED),
    Sample("praisonai-sqlite.db", COUNT_PRAISON, PRAISON, {"message": 5}),
    Sample("praisonai-sqlite.db", COUNT_PRAISON, PRAISON, {"message": 5}, where="mysql"),
    Sample(
        "praisonai-postgres.sql", COUNT_BOTH, PRAISON_BOTH, {"message": 8}, where="postgres"
    ),
    Sample("praisonai-postgres.sql", COUNT_BOTH, PRAISON_BOTH, {"message": 8}, where="mysql"),
]  # fmt: skip


@contextmanager
def opened(each: Sample, url: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Give the target of a sample, and its rows by kind by its own count.

    A dump is loaded into the empty database `url`, and from there into MySQL when it is wanted.
    """
    path = sample(each.file)
    if each.file.endswith(".sql"):
        load(url, path)
    if each.where == "mysql":
        rows = _praisonai_of(path if each.file.endswith(".db") else url)
        with mysql(rows) as (target, connection), connection.cursor() as cursor:
            cursor.execute(each.query)
            yield target, dict(cursor.fetchall())
    elif each.where == "postgres":
        with psycopg.connect(url) as connection:
            counted: list[tuple[str, int]] = connection.execute(each.query.encode()).fetchall()
        yield url, dict(counted)
    elif each.query:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            yield path, dict(connection.execute(each.query).fetchall())
    else:
        data = json.loads(Path(path).read_bytes())
        lists = (("room", "room"), ("thread", "thread"), ("dm", "direct"))
        yield (
            path,
            {kind: sum(map(len, data[f"{field}_messages"].values())) for kind, field in lists},
        )


def load(url: str, path: str) -> None:
    """Load a dump of pg_dump into an empty database, by whatever way `url` leads there."""
    # What psql is told, by lines with a backslash, is not for the server.
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    statements: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        given = iter(lines)
        for line in given:
            if line.startswith("COPY "):
                cursor.execute("".join(statements).encode())
                statements.clear()
                with cursor.copy(line.encode()) as copy:
                    for row in iter(lambda: next(given), "\\.\n"):
                        copy.write(row)
            elif not line.startswith("\\"):
                statements.append(line)
        cursor.execute("".join(statements).encode())


#: As PraisonAI makes them, but for a text of 64 kB and more, which it could not store.
PRAISON_SESSIONS = (
    "(session_id varchar(255) primary key, user_id varchar(255), agent_id varchar(255), "
    "name varchar(255), state json, metadata json, created_at double, updated_at double)"
)
PRAISON_MESSAGES = (
    "(id varchar(255) primary key, session_id varchar(255), role varchar(50), content longtext, "
    "tool_calls json, tool_call_id varchar(255), metadata json, created_at double)"
)


@contextmanager
def mysql(tables: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    """Give the URL of a MySQL or MariaDB with PraisonAI's tables, and a connection to it."""
    pymysql = pytest.importorskip("pymysql", reason="PyMySQL is the extra recall[mysql]")
    server = os.environ.get("TEST_MYSQL_URL")
    if not server:
        pytest.skip("TEST_MYSQL_URL names no server")
    parts, name = urlsplit(server), f"t_{uuid.uuid4().hex[:12]}"
    with closing(
        pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            charset="utf8mb4",
            autocommit=True,
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(f"create database {name} character set utf8mb4")
        cursor.execute(f"use {name}")
        _fill(cursor, tables)
        yield f"mysql+pymysql://{parts.username}@{parts.hostname}:{parts.port}/{name}", connection
        cursor.execute(f"drop database {name}")


def _praisonai_of(place: str) -> dict[str, list[Any]]:
    """Return the rows of PraisonAI's tables in a file or a Postgres, JSON as text."""
    session = "session_id, user_id, agent_id, name, {state}, {metadata}, created_at, updated_at"
    message = "id, session_id, role, content, {tool_calls}, tool_call_id, {metadata}, created_at"
    found = {}
    if "://" not in place:
        plain = {name: name for name in ("state", "metadata", "tool_calls")}
        with closing(sqlite3.connect(f"file:{place}?immutable=1", uri=True)) as source:
            for table, columns in (("sessions", session), ("messages", message)):
                query = f"select {columns.format(**plain)} from praison_{table}"
                found[f"praison_{table}"] = source.execute(query).fetchall()
        return found
    text = {name: f"{name}::text" for name in ("state", "metadata", "tool_calls")}
    with psycopg.connect(place) as connection:
        for prefix in ("praison", "direct"):
            for table, columns in (("sessions", session), ("messages", message)):
                query = f"select {columns.format(**text)} from {prefix}_{table}"
                found[f"{prefix}_{table}"] = connection.execute(query.encode()).fetchall()
    return found


def _fill(cursor: Any, tables: dict[str, list[Any]]) -> None:
    for table, rows in tables.items():
        columns = PRAISON_SESSIONS if table.endswith("sessions") else PRAISON_MESSAGES
        cursor.execute(f"create table {table} {columns}")
        marks = ", ".join(["%s"] * 8)
        cursor.executemany(f"insert into {table} values ({marks})", rows)
