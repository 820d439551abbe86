"""What every test of following needs: databases that are written to, and a follower beside them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from recall.sync.follow import Follower


#: As OpenZess's own code creates it, and as SQLAlchemy writes its times.
OPENZESS = """
create table sessions (id varchar not null primary key, title varchar, created_at datetime);
create table messages (id integer not null primary key, session_id varchar, role varchar,
  content varchar, created_at datetime, foreign key (session_id) references sessions (id));
create table notes (id varchar not null primary key, title varchar, content varchar,
  category varchar, created_at datetime, updated_at datetime);
insert into sessions values ('s', 'Chat', '2026-11-20 10:00:00.000000');
"""


#: As the Agents SDK's SQLiteSession creates it.
AGENTS = """
pragma journal_mode = wal;
create table agent_sessions (session_id text primary key,
  created_at timestamp default current_timestamp, updated_at timestamp default current_timestamp);
create table agent_messages (id integer primary key autoincrement, session_id text not null,
  message_data text not null, created_at timestamp default current_timestamp,
  foreign key (session_id) references agent_sessions (session_id) on delete cascade);
create index idx_agent_messages_session_id on agent_messages (session_id, id);
insert into agent_sessions (session_id) values ('user-1');
"""


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def made(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
    return path


def say(path: Path, *texts: str, role: str = "user") -> None:
    """Add messages as OpenZess does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "insert into messages (session_id, role, content, created_at)"
            " values ('s', ?, ?, '2026-11-20 10:00:01.000001')",
            [(role, text) for text in texts],
        )


def add_items(path: Path, *texts: str) -> None:
    """Add items as SQLiteSession.add_items does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert or ignore into agent_sessions (session_id) values ('user-1')")
        connection.executemany(
            "insert into agent_messages (session_id, message_data) values ('user-1', ?)",
            [(json.dumps({"role": "user", "content": text}),) for text in texts],
        )
        connection.execute("update agent_sessions set updated_at = current_timestamp")


@asynccontextmanager
async def running(follower: Follower) -> AsyncIterator[None]:
    """Run `follower` beside the block."""
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        follower.stop()
        await asyncio.wait_for(task, 20)


async def soon(true: Callable[[], bool], what: str = "") -> None:
    """Wait until something is so; fail after half a minute."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what or "it never came"
        await asyncio.sleep(0.02)
