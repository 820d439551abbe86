"""Following a source that is made for it: late commits, broken readings, passes that take long."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from following import running, soon
from test_follow import fast, texts

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message
from recall.sources.source import Found
from recall.sources.system import System
from recall.sync import follow, sweep
from recall.sync.follow import Follower
from recall.sync.followed import Followed
from recall.sync.intake import News

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio

__all__ = ["fast", "texts"]


class Late:
    """A source of numbered rows, of which one is committed behind a later one."""

    system, origin = System(name="late", opens="", erases=True), "made://here"

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.reads = 0
        self.broken = False

    def count(self) -> int:
        return len(self.rows)

    def read(self, after: Any = None) -> Iterator[Found]:
        self.reads += 1
        for number, text in sorted(self.rows.items()):
            if number > (after or 0):
                message = Message(session_id="s", role="user", content=text, key=f"late:{number}")
                yield Found(message, number)
        if self.broken:
            raise SourceUnreadable("The source broke.")

    def rewind(self, position: Any) -> Any:
        return position - 2

    def fingerprint(self) -> None:
        return None

    def ids(self) -> Iterator[str]:
        return (f"late:{number}" for number in self.rows)


def follower_of(
    database: Database,
    caller: Caller,
    late: Late,
    on_news: Callable[[News], None] = lambda news: None,
) -> Follower:
    follower = Follower(database, caller, Followed("late"), on_news)
    follower._source = late
    return follower


async def test_a_late_commit_behind_the_position_is_caught(
    database: Database,
    caller: Caller,
    texts: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "PASS", 1000.0)
    late = Late()
    late.rows = {1: "a", 2: "b", 4: "d"}
    follower = follower_of(database, caller, late)
    await follower.look()
    await follower.look()
    late.rows |= {3: "c"}
    assert (await follower.look()).stored == 1
    assert texts() == ["a", "b", "c", "d"]


async def test_nothing_is_erased_while_reading_fails(
    database: Database, caller: Caller, texts: Callable[[], list[str]]
) -> None:
    late = Late()
    late.rows = dict(enumerate("abcdef", 1))
    async with followed_source(database, caller, late) as news:
        await soon(lambda: len(texts()) == 6)
        reads = late.reads
        await soon(lambda: late.reads > reads + 4)
        late.broken = True
        kept, late.rows = late.rows, {1: "a"}
        await asyncio.sleep(0.6)
        assert len(texts()) == 6
        late.rows = kept
        late.broken = False
        await asyncio.sleep(0.6)
    assert sum(news, News()) == News(stored=6)


@asynccontextmanager
async def followed_source(
    database: Database, caller: Caller, late: Late
) -> AsyncIterator[list[News]]:
    news: list[News] = []
    follower = follower_of(database, caller, late, news.append)
    async with running(follower):
        yield news


async def test_a_quiet_server_is_asked_less_and_less(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "ACTIVE", 0.0)
    monkeypatch.setattr(sweep, "PASS", 1000.0)
    late = Late()
    async with followed_source(database, caller, late):
        await asyncio.sleep(2.0)
    # 0.05, 0.1, 0.2, … s apart: far fewer than forty looks.
    assert late.reads < 12


class Slow(Late):
    """A source whose whole reading takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go = threading.Event(), threading.Event()

    def read(self, after: Any = None) -> Iterator[Found]:
        if after is None and self.reads:
            self.reading.set()
            self.go.wait(30)
        yield from super().read(after)


async def test_new_rows_do_not_wait_for_a_pass_that_takes_long(
    database: Database, caller: Caller, texts: Callable[[], list[str]]
) -> None:
    late = Slow()
    late.rows = {1: "a", 2: "b"}
    async with followed_source(database, caller, late):
        await soon(late.reading.is_set)
        late.rows |= {3: "c"}
        await soon(lambda: texts() == ["a", "b", "c"])
        assert not late.go.is_set()
        late.go.set()
        del late.rows[1]
        await soon(lambda: texts() == ["b", "c"], "what is gone is erased all the same")


async def test_following_ends_in_the_middle_of_a_pass(database: Database, caller: Caller) -> None:
    late = Slow()
    late.rows = {1: "a"}
    try:
        async with followed_source(database, caller, late):
            await soon(late.reading.is_set)
    finally:
        late.go.set()
