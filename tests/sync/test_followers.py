"""Registered sources: each followed by one worker of all, and triggers that make it immediate."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import running_worker
from following import OPENZESS, made, say, soon

from recall.base.supervisor import supervised
from recall.contract.errors import Invalid, SourceUnreadable
from recall.database.bell import REGISTER, SOURCES, Bell
from recall.memory import keys
from recall.runtime.parts import AT_ONCE
from recall.sync import follow, sweep
from recall.sync import followers as module
from recall.sync.follow import Follower
from recall.sync.followed import Followed
from recall.sync.followers import Followers
from recall.sync.intake import News
from recall.sync.leases import claim_sources, release_sources, worker_name
from recall.sync.register import add_to_register, read_register, remove_from_register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from conftest import Databases

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL", 0.05)
    monkeypatch.setattr(sweep, "SETTLE", 0.05)


@pytest.fixture
def openzess(tmp_path: Path) -> Path:
    return made(tmp_path / "chat_history.db", OPENZESS)


@pytest.fixture
def texts(owner: psycopg.Connection[Any]) -> Callable[[], list[str]]:
    return lambda: [
        row[0] for row in owner.execute("select content from memory order by content").fetchall()
    ]


@asynccontextmanager
async def following(
    database: Database, url: str, on_news: Callable[[], None], name: str | None = None
) -> AsyncIterator[None]:
    """Follow registered sources beside the block."""
    async with supervised() as supervisor:
        followers = Followers(database, supervisor, on_news, name)
        followers.start()
        wakes = {REGISTER: followers.look_again, SOURCES: followers.nudge}
        supervisor.start("The bell", Bell(database, url, wakes, AT_ONCE).listen)
        yield


def nothing() -> None:
    """Be told of news, and let them be."""


async def test_registered_sources_are_followed_beside_a_worker(
    database: Database,
    database_url: str,
    caller: Caller,
    openzess: Path,
    worker: Worker,
    texts: Callable[[], list[str]],
    owner: psycopg.Connection[Any],
) -> None:
    other = await keys.caller_of(database, "other")
    followed = Followed(str(openzess), options={"assume_tz": "UTC"}, longest_wait=5.0)
    await add_to_register(database, other, followed)
    ((name, entry),) = await read_register(database)
    assert name == "other" and entry.kind == "openzess"
    say(openzess, "a")
    async with running_worker(worker), following(database, database_url, worker.nudge):
        await soon(lambda: texts() == ["a"])
        waiting = "select count(*) from job"
        await soon(lambda: owner.execute(waiting).fetchall() == [(0,)])
    assert not await remove_from_register(database, caller, str(openzess)), "another tenant's"
    assert await remove_from_register(database, other, str(openzess))
    assert await read_register(database) == []
    assert texts() == ["a"]


async def test_a_password_is_registered_by_the_name_of_its_variable(
    database: Database, caller: Caller, openzess: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="variable"):
        await add_to_register(
            database, caller, Followed("postgresql://ann:hush@here/chat", "openzess")
        )
    with pytest.raises(Invalid, match="variable"):
        await add_to_register(
            database, caller, Followed("postgresql://ann@here/c?password=hush", "sql")
        )
    with pytest.raises(SourceUnreadable, match="CHAT_URL is not set"):
        await add_to_register(database, caller, Followed("$CHAT_URL", "openzess"))
    monkeypatch.setenv("CHAT_URL", str(openzess))
    await add_to_register(database, caller, Followed("$CHAT_URL", "openzess"))
    assert [entry.target for _, entry in await read_register(database)] == ["$CHAT_URL"]


async def test_a_worker_that_stops_does_not_wait_for_a_source_that_hangs(
    database: Database,
    database_url: str,
    caller: Caller,
    openzess: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await add_to_register(database, caller, Followed(str(openzess)))
    hanging = asyncio.Event()

    async def hang(self: Follower) -> News:
        hanging.set()
        await asyncio.sleep(60)
        return News()

    monkeypatch.setattr(Follower, "look", hang)
    began = time.monotonic()
    async with following(database, database_url, nothing):
        await asyncio.wait_for(hanging.wait(), 10)
    assert time.monotonic() - began < 20


async def claims(database: Database, name: str, seconds: float = 60.0) -> int:
    claimed, _ = await claim_sources(database, name, seconds)
    return len(claimed)


async def test_a_source_is_claimed_by_one_worker_until_its_lease_runs_out(
    database: Database, caller: Caller, openzess: Path, owner: psycopg.Connection[Any]
) -> None:
    await add_to_register(database, caller, Followed(str(openzess)))
    both = await asyncio.gather(*(claims(database, name) for name in ("far:1", "off:1")))
    assert sorted(both) == [0, 1]
    first, second = ("far:1", "off:1") if both[0] else ("off:1", "far:1")
    _, until_free = await claim_sources(database, second, 60.0)
    assert 0 < until_free <= 60
    assert await claims(database, first) == 1, "what it has it keeps"
    owner.execute("update source set followed_until = now()")
    assert await claims(database, second) == 1
    assert await claims(database, first) == 0, "and is told that it lost it"
    await release_sources(database, second)
    assert await claims(database, first) == 1
    await remove_from_register(database, caller, str(openzess))
    assert await claims(database, first) == 0


async def test_what_a_killed_process_of_this_host_had_is_claimed_at_once(
    database: Database, caller: Caller, openzess: Path
) -> None:
    await add_to_register(database, caller, Followed(str(openzess)))
    code = "from recall.sync.leases import worker_name; print(worker_name(), flush=True); input()"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert await claims(database, name) == 1
        assert await claims(database, "other:1") == 0
        process.kill()
    assert await claims(database, "other:1") == 1


async def test_followers_of_two_containers_are_two_whatever_their_processes_are_called(
    database: Database, caller: Caller, openzess: Path
) -> None:
    await add_to_register(database, caller, Followed(str(openzess)))
    assert worker_name() != worker_name(), "and so are two of one process"
    elsewhere = "another-boot/4026531836:999999999:0"
    assert await claims(database, elsewhere) == 1
    assert await claims(database, worker_name()) == 0, "a process there cannot be asked for here"


async def test_what_a_newer_version_registered_is_read_past(
    database: Database, caller: Caller, openzess: Path, owner: psycopg.Connection[Any]
) -> None:
    await add_to_register(database, caller, Followed(str(openzess)))
    owner.execute("update source set followed = followed || '{\"backoff\": 2}'")
    assert [entry.target for _, entry in await read_register(database)] == [str(openzess)]
    assert await claims(database, worker_name()) == 1
    assert await remove_from_register(database, caller, str(openzess)) is not None


async def test_of_several_workers_one_follows_and_another_when_it_stops(
    database: Database,
    database_url: str,
    caller: Caller,
    openzess: Path,
    texts: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(module, "LAST_WAIT", 5.0)
    await add_to_register(database, caller, Followed(str(openzess)))
    told = {"far:1": 0, "off:1": 0}

    def counting(name: str) -> Callable[[], None]:
        def count() -> None:
            told[name] += 1

        return count

    say(openzess, "a")
    async with following(database, database_url, counting("far:1"), "far:1"):
        await soon(lambda: texts() == ["a"])
        async with following(database, database_url, counting("off:1"), "off:1"):
            for text in "bcd":
                say(openzess, text)
                await soon(lambda: texts()[-1] == text)  # noqa: B023
            await soon(lambda: told["far:1"] == 4)  # a text is there before its news are told
            assert told["off:1"] == 0
    say(openzess, "e")
    async with following(database, database_url, counting("off:1"), "off:1"):
        await soon(lambda: texts()[-1] == "e")


CHAT = """
create table sessions (id varchar not null primary key, title varchar, created_at timestamp);
create table messages (id serial primary key, session_id varchar, role varchar, content varchar,
  created_at timestamp);
create table notes (id varchar primary key, title varchar, content varchar, category varchar,
  created_at timestamp, updated_at timestamp);
insert into sessions values ('s', 'Chat', now());
"""
SAY = (
    "insert into public.messages (session_id, role, content, created_at)"
    " values ('s', 'user', %s, now())"
)
TRIGGERS = (
    "select tgrelid::regclass::text from pg_trigger where tgname = 'recall_follow' order by 1"
)


@pytest.fixture
def chat(database_url: str, owner: psycopg.Connection[Any]) -> str:
    """An application's tables in recall's own database."""
    owner.execute("set search_path = public")
    owner.execute(CHAT.encode())
    owner.execute("set search_path = recall, public")
    return database_url


async def test_a_trigger_tells_at_once_what_its_tables_got(
    database: Database,
    caller: Caller,
    chat: str,
    owner: psycopg.Connection[Any],
    texts: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "POLL", 3600.0)
    await add_to_register(database, caller, Followed(chat, trigger=True))
    assert owner.execute(TRIGGERS).fetchall() == [("messages",), ("notes",)]
    async with following(database, chat, nothing):
        # Whatever is said before the bell is heard, the first look finds.
        for text in "abc":
            owner.execute(SAY, [text])
            await soon(lambda: texts()[-1:] == [text])  # noqa: B023
    followed = await remove_from_register(database, caller, chat)
    assert followed is not None
    followed.uninstall()
    assert owner.execute(TRIGGERS).fetchall() == []


async def test_a_trigger_never_fails_what_the_application_says(
    database: Database, caller: Caller, chat: str, owner: psycopg.Connection[Any]
) -> None:
    Followed(chat, trigger=True).install()
    owner.execute("revoke execute on function pg_catalog.pg_notify(text, text) from public")
    owner.execute("create role chat_application")
    try:
        owner.execute("grant insert, delete, update, select on public.messages to chat_application")
        owner.execute("grant usage on sequence public.messages_id_seq to chat_application")
        owner.execute("set role chat_application")
        owner.execute(SAY, ["a"])
        owner.execute("update public.messages set content = 'b'")
        assert owner.execute("delete from public.messages").rowcount == 1
    finally:
        owner.execute("reset role")
        owner.execute("drop owned by chat_application")
        owner.execute("drop role chat_application")


def test_a_trigger_is_refused_where_it_would_tell_nobody(
    databases: Databases, empty_url: str, openzess: Path
) -> None:
    with pytest.raises(SourceUnreadable, match="has no tables in Postgres"):
        Followed(str(openzess), "openzess", trigger=True).install()
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(CHAT.encode())
    with pytest.raises(SourceUnreadable, match="is not recall's own database"):
        Followed(empty_url, "openzess", trigger=True).install()


async def test_the_command_installs_a_trigger_and_takes_it_away(
    database: Database, chat: str, owner: psycopg.Connection[Any], home: Path
) -> None:
    environment = os.environ | {"DATABASE_URL": chat, "RECALL_HOME": str(home)}
    command = [sys.executable, "-c", "from recall.cli import app; app()", "follow", chat]
    command += ["--trigger", "--no-index"]
    with subprocess.Popen(  # noqa: ASYNC220
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith("Following openzess") for line in lines)
        assert owner.execute(TRIGGERS).fetchall()
        owner.execute(SAY, ["hello"])
        assert any("1 stored" in line for line in lines)
        process.terminate()
    assert process.returncode == 0
    assert owner.execute(TRIGGERS).fetchall() == []
