"""`recall follow`: one source until Ctrl-C, or the registered ones that every worker follows."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from recall.base.supervisor import supervised
from recall.database.bell import ALONE, SOURCES, Bell
from recall.memory import keys
from recall.runtime.parts import FOLLOW
from recall.runtime.reach import open_database
from recall.runtime.service import open_service
from recall.schema import migrate
from recall.sync.follow import Follower, News
from recall.sync.register import register, registered, unregister

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recall.base.settings import Settings
    from recall.database.units import Database
    from recall.sync.register import Followed

console = Console(highlight=False)

SOON = 0.5  # seconds between the first news and the line that tells them


async def run(settings: Settings, tenant: str, followed: Followed, index: bool) -> None:
    """Follow one source until the process is told to stop."""
    source = await asyncio.to_thread(followed.open)
    async with AsyncExitStack() as stack:
        worker = None
        if index:
            service = await stack.enter_async_context(open_service(settings, FOLLOW))
            database, worker = service.database, service.worker
        else:
            database = await stack.enter_async_context(open_database(settings))
        said = Said()

        def tell(news: News) -> None:
            if worker:
                worker.nudge()
            said.add(news)

        follower = Follower(database, await keys.caller_of(database, tenant), followed, tell)
        if followed.trigger:
            url = database.url if settings.embedded else settings.direct_url
            await stack.enter_async_context(_told(followed, database, url, follower))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, follower.stop)
        console.print(f"Following {source.name}: {source.origin}; Ctrl-C ends it", soft_wrap=True)
        await follower.run()
        said.say()


@asynccontextmanager
async def _told(
    followed: Followed, database: Database, url: str, follower: Follower
) -> AsyncIterator[None]:
    """Let the source's tables tell when they change, as long as the block runs."""
    await asyncio.to_thread(followed.install)
    bell = Bell(database, url, {SOURCES: follower.nudge}, ALONE)
    try:
        async with _listening("Listening to the source's tables", bell):
            yield
    finally:
        await asyncio.to_thread(followed.uninstall)


@asynccontextmanager
async def _listening(name: str, bell: Bell) -> AsyncIterator[None]:
    async with supervised() as supervisor:
        supervisor.start(name, bell.listen)
        yield


class Said:
    """News, a line for all that came within a moment."""

    def __init__(self) -> None:
        self._news = News()

    def add(self, news: News) -> None:
        """Say it soon, with what comes until then."""
        if not self._news:
            asyncio.get_running_loop().call_later(SOON, self.say)
        self._news += news

    def say(self) -> None:
        """Say what was not said yet."""
        news, self._news = self._news, News()
        if news:
            console.print(
                f"{time.strftime('%H:%M:%S')}  {news.stored:,} stored, {news.changed:,} changed, "
                f"{news.erased:,} erased"
            )


async def add(settings: Settings, tenant: str, followed: Followed) -> None:
    """Register a source."""
    async with open_database(settings) as database:
        await register(database, await keys.caller_of(database, tenant), followed)
    console.print(
        f"{followed.target} is followed by a `recall serve` or `recall worker`: by one that "
        "runs within seconds, by one that starts at once",
        soft_wrap=True,
    )


async def remove(settings: Settings, tenant: str, target: str) -> bool:
    """Take a source off the register; return whether it was there."""
    async with open_database(settings) as database:
        followed = await unregister(database, await keys.known_caller(database, tenant), target)
    if followed:
        await asyncio.to_thread(followed.uninstall)
    return followed is not None


async def show(settings: Settings) -> None:
    """Print what is registered."""
    async with open_database(settings, migrate.check) as database:
        rows = await registered(database)
    for tenant, followed in rows:
        console.print(f"{tenant}  {followed.kind}  {followed.target}", soft_wrap=True)
    if not rows:
        console.print("No source is registered.")
