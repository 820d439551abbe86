"""Registered sources, followed beside a worker: each by one of all workers, anywhere.

A worker claims what is free by a lease and renews it before it runs out. The lease grows with the
quiet, from half a minute to half an hour, so that an idle database may sleep; whoever stops
releases what it has, and a worker that was killed is late at most once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from recall.bell import listen
from recall.errors import Unavailable
from recall.follow import Follower
from recall.register import claim, release, worker_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from recall.database import Database
    from recall.follow import News
    from recall.register import Claimed

log = logging.getLogger("recall.follow")

FIRST_WAIT, LAST_WAIT = 15.0, 15 * 60.0  # seconds between two claims; a lease is twice as long
STOP_SECONDS = 5.0  # for what is under way when following ends


class Running(NamedTuple):
    """A source that is being followed."""

    claimed: Claimed
    follower: Follower
    task: asyncio.Task[None]


class Followers:
    """The sources that one worker follows."""

    def __init__(
        self, database: Database, name: str, direct_url: str, on_news: Callable[[], None]
    ) -> None:
        self._database = database
        self._name = name
        self._url = direct_url
        self._on_news = on_news
        self._last_news = time.monotonic()
        self._running: dict[int, Running] = {}
        self._listening: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Claim and follow until cancelled."""
        while True:
            wait = min(max(time.monotonic() - self._last_news, FIRST_WAIT), LAST_WAIT)
            try:
                claimed, others = await claim(self._database, self._name, 2 * wait)
                await self._follow(claimed)
                wait = min(wait, max(others, FIRST_WAIT))
            except Unavailable as error:
                log.warning("%s Sources are claimed once it is back.", error)
            except Exception:  # the one boundary: a worker without its followers is still one
                log.exception("Sources could not be claimed")
            await asyncio.sleep(wait)

    async def stop(self) -> None:
        """Stop following and release what was claimed."""
        await self._drop(*self._running)
        if self._listening:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        with suppress(Unavailable):  # the leases run out
            await release(self._database, self._name)

    async def _follow(self, claimed: list[Claimed]) -> None:
        """Follow exactly what is claimed: what is new too, and no more what was lost."""
        await self._drop(*(id for id, each in self._running.items() if each.claimed not in claimed))
        for each in claimed:
            if each.id not in self._running:
                follower = Follower(self._database, each.tenant, each.followed, self._tell)
                task = asyncio.create_task(follower.run())
                self._running[each.id] = Running(each, follower, task)
        if self._listening is None and any(each.followed.trigger for each in claimed):
            self._listening = asyncio.create_task(listen(self._url, self._nudge, "listen_sources"))

    def _tell(self, news: News) -> None:
        self._last_news = time.monotonic()
        self._on_news()

    def _nudge(self) -> None:
        for each in self._running.values():
            if each.claimed.followed.trigger:
                each.follower.nudge()

    async def _drop(self, *ids: int) -> None:
        ended = [self._running.pop(id) for id in ids]
        for each in ended:
            each.follower.stop()
        tasks = [each.task for each in ended]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def following(
    database: Database, direct_url: str, on_news: Callable[[], None], name: str | None = None
) -> AsyncIterator[None]:
    """Follow registered sources beside the block; `on_news` is told of what comes."""
    followers = Followers(database, name or worker_name(), direct_url, on_news)
    task = asyncio.create_task(followers.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await followers.stop()
