"""Following: what is new, edited and deleted elsewhere is so here too, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
from conftest import running_worker
from following import AGENTS, OPENZESS, add_items, made, run, running, say, soon

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Question
from recall.memory import memories
from recall.sync import follow, sweep
from recall.sync.backfill import backfill
from recall.sync.follow import Follower
from recall.sync.followed import Followed
from recall.sync.hashes import Recent
from recall.sync.intake import News

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio


def move(path: Path, to: Path) -> None:
    path.rename(to)


@pytest.fixture
def openzess(tmp_path: Path) -> Path:
    return made(tmp_path / "chat_history.db", OPENZESS)


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    return made(tmp_path / "conversations.db", AGENTS)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL", 0.05)
    monkeypatch.setattr(sweep, "SETTLE", 0.05)
    monkeypatch.setattr(sweep, "PASS", 0.05)
    monkeypatch.setattr(follow, "FILE_WAIT", 0.2)
    monkeypatch.setattr(follow, "FAILING_WAIT", 0.2)


@asynccontextmanager
async def followed(
    database: Database, caller: Caller, path: Path, **more: Any
) -> AsyncIterator[list[News]]:
    """Follow `path` beside the block; yields the news as they come."""
    news: list[News] = []
    async with running(Follower(database, caller, Followed(str(path), **more), news.append)):
        yield news


@pytest.fixture
def texts(owner: psycopg.Connection[Any]) -> Callable[[], list[str]]:
    """Return the texts that are remembered, in order."""
    return lambda: [
        row[0] for row in owner.execute("select content from memory order by content").fetchall()
    ]


async def test_rows_that_openzess_adds_edits_and_deletes_are_followed(
    database: Database, caller: Caller, openzess: Path, texts: Callable[[], list[str]]
) -> None:
    say(openzess, "a", "b")
    async with followed(database, caller, openzess) as news:
        await soon(lambda: texts() == ["a", "b"])
        say(openzess, "c")
        await soon(lambda: texts() == ["a", "b", "c"])
        run(openzess, "insert into notes values ('n', 't', 'note', 'x',"
            " '2026-11-20 10:00:00.0', '2026-11-20 10:00:00.0')")  # fmt: skip
        await soon(lambda: texts() == ["a", "b", "c", "note"])
        run(openzess, "update notes set content = 'noted', updated_at = '2026-11-20 11:00:00.0'")
        await soon(lambda: texts() == ["a", "b", "c", "noted"])
        run(openzess, "delete from messages where content = 'b'")
        await soon(lambda: texts() == ["a", "c", "noted"])
        run(openzess, "update messages set content = 'A' where content = 'a'")
        await soon(lambda: texts() == ["A", "c", "noted"])
        run(openzess, "update messages set content = 'a' where content = 'A'")
        await soon(lambda: texts() == ["a", "c", "noted"], "an edit that is taken back is one")
        run(openzess, "delete from notes")
        await soon(lambda: texts() == ["a", "c"])
    total = sum(news, News())
    assert (total.stored, total.erased) == (4, 2)


async def test_items_that_the_agents_sdk_adds_and_pops_are_followed(
    database: Database, caller: Caller, agents: Path, texts: Callable[[], list[str]]
) -> None:
    add_items(agents, "a")
    async with followed(database, caller, agents):
        for batch in (["b"], ["c", "d"], [f"e{n}" for n in range(9)]):
            add_items(agents, *batch)
            await soon(lambda new=batch: set(new) <= set(texts()))  # type: ignore[misc]
        run(agents, "delete from agent_messages where id = (select max(id) from agent_messages)")
        await soon(lambda: "e8" not in texts())
        assert len(texts()) == 12
        # clear_session: the tables are there, and nothing is in them.
        run(agents, "delete from agent_messages", "delete from agent_sessions")
        await soon(lambda: texts() == [])
        add_items(agents, "again")
        await soon(lambda: texts() == ["again"])


async def test_a_row_is_searchable_soon_after_its_commit_while_rows_keep_coming(
    database: Database,
    caller: Caller,
    agents: Path,
    worker: Worker,
    searcher: Searcher,
) -> None:
    async with running_worker(worker):
        news = followed(database, caller, agents)
        async with news as seen:
            for word in ("harbour", "kitchen", "violin"):
                add_items(agents, f"The {word} is closed.")
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    if seen:
                        worker.nudge()
                    answer = await searcher.recall(caller, Question(query=word, mode="keyword"))
                    if answer.results:
                        break
                    await asyncio.sleep(0.05)
                assert answer.results[0].content == f"The {word} is closed."


async def test_an_edited_memory_is_found_by_its_new_words_only(
    database: Database, caller: Caller, openzess: Path, worker: Worker, searcher: Searcher
) -> None:
    say(openzess, "the harbour")
    follower = Follower(database, caller, Followed(str(openzess)))
    assert (await follower.look()).stored == 1
    await worker.drain()
    run(openzess, "update messages set content = 'the kitchen'")
    assert (await follower.look()).changed == 1
    await worker.drain()
    found = {
        word: len((await searcher.recall(caller, Question(query=word, mode="keyword"))).results)
        for word in ("harbour", "kitchen")
    }
    assert found == {"harbour": 0, "kitchen": 1}


async def test_a_source_that_goes_away_loses_nothing_and_comes_back(
    database: Database,
    caller: Caller,
    openzess: Path,
    texts: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    say(openzess, "a", "b")
    away = openzess.with_suffix(".away")
    with caplog.at_level(logging.WARNING, "recall.base.supervisor"):
        async with followed(database, caller, openzess):
            await soon(lambda: texts() == ["a", "b"])
            move(openzess, away)
            await soon(lambda: "goes on trying" in caplog.text)
            await asyncio.sleep(0.5)
            assert texts() == ["a", "b"]
            say(away, "c")
            move(away, openzess)
            await soon(lambda: texts() == ["a", "b", "c"])
            await soon(lambda: "is well again" in caplog.text)
            run(openzess, "delete from messages where content = 'a'")
            await soon(lambda: texts() == ["b", "c"])
    assert len(caplog.records) == 2, "a line when it goes, a line when it comes"


async def test_a_database_whose_tables_are_gone_is_not_taken_for_an_empty_one(
    database: Database, caller: Caller, openzess: Path, texts: Callable[[], list[str]]
) -> None:
    say(openzess, "a", "b")
    follower = Follower(database, caller, Followed(str(openzess)))
    await follower.look()
    await follower.look()
    run(openzess, "alter table messages rename to old", "alter table sessions rename to olds")
    with pytest.raises(SourceUnreadable, match="no tables of openzess"):
        await follower.look()
    assert texts() == ["a", "b"]


async def test_a_source_that_is_empty_after_a_failure_is_not_believed(
    database: Database, caller: Caller, openzess: Path, texts: Callable[[], list[str]]
) -> None:
    say(openzess, "a", "b")
    async with followed(database, caller, openzess):
        await soon(lambda: texts() == ["a", "b"])
        move(openzess, openzess.with_suffix(".away"))
        await asyncio.sleep(0.5)
        made(openzess, OPENZESS)
        await asyncio.sleep(1.0)
        assert texts() == ["a", "b"]


async def test_other_sources_memories_and_the_callers_own_are_left_alone(
    database: Database,
    caller: Caller,
    openzess: Path,
    tmp_path: Path,
    texts: Callable[[], list[str]],
) -> None:
    own = Message(session_id="s", role="user", content="own")
    await memories.save_messages(database, caller, [own])
    other = made(tmp_path / "other.db", OPENZESS)
    run(other, "update sessions set id = 'else'")
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("insert into messages values (7, 'else', 'user', 'other', '2026-01-01')")
    await backfill(database, caller, Followed(str(other)).open())
    say(openzess, "a", "b")
    async with followed(database, caller, openzess):
        await soon(lambda: texts() == ["a", "b", "other", "own"])
        run(openzess, "delete from messages where content = 'a'")
        await soon(lambda: texts() == ["b", "other", "own"])


async def test_following_goes_on_where_a_backfill_ended(
    database: Database, caller: Caller, openzess: Path, texts: Callable[[], list[str]]
) -> None:
    say(openzess, "a", "b")
    await backfill(database, caller, Followed(str(openzess)).open())
    say(openzess, "c")
    news = await Follower(database, caller, Followed(str(openzess))).look()
    assert news == News(stored=1)
    again = await Follower(database, caller, Followed(str(openzess))).look()
    assert not again, "what is known is no news"


async def test_a_quiet_source_leaves_recalls_database_alone(
    database: Database, caller: Caller, openzess: Path
) -> None:
    say(openzess, "a")
    units = 0
    attempt = database._attempt

    async def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal units
        units += 1
        return await attempt(*arguments, **options)

    database._attempt = counting  # type: ignore[method-assign]
    async with followed(database, caller, openzess):
        await asyncio.sleep(1.5)
        before = units
        await asyncio.sleep(1.5)
    assert before and units == before


async def test_a_user_is_given_to_memories_that_name_none(
    database: Database, caller: Caller, openzess: Path, owner: psycopg.Connection[Any]
) -> None:
    say(openzess, "a")
    await Follower(database, caller, Followed(str(openzess), user="ann")).look()
    assert owner.execute("select user_id from memory").fetchall() == [("ann",)]


async def test_a_source_that_was_erased_meanwhile_is_entered_again(
    database: Database,
    caller: Caller,
    openzess: Path,
    texts: Callable[[], list[str]],
    owner: psycopg.Connection[Any],
) -> None:
    say(openzess, "a")
    async with followed(database, caller, openzess):
        await soon(lambda: texts() == ["a"])
        owner.execute("delete from memory")
        owner.execute("delete from source")
        say(openzess, "b")
        await soon(lambda: texts() == ["a", "b"])


async def test_a_copy_that_is_shorter_forgets_nothing(
    database: Database, caller: Caller, tmp_path: Path, texts: Callable[[], list[str]]
) -> None:
    lines = {n: json.dumps({"content": f"line {n}", "key": str(n)}) for n in range(3)}
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(lines.values()) + "\n")
    async with followed(database, caller, path) as news:
        await soon(lambda: len(texts()) == 3)
        path.write_text(json.dumps({"content": "changed", "key": "1"}) + "\n")
        await soon(lambda: texts() == ["changed", "line 0", "line 2"])
        await asyncio.sleep(0.5)
    assert sum(news, News()) == News(stored=3, changed=1)


def test_what_was_read_lately_is_kept_within_bounds() -> None:
    recent = Recent(2)
    for key in (1, 2, 1, 3):
        recent.put(key, key * 10)
    assert [recent.get(key) for key in (1, 2, 3)] == [10, None, 30]
