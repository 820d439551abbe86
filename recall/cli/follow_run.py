"""`recall follow`: one source until Ctrl-C, or the registered ones that every worker follows."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from rich.console import Console

from recall.database.bell import SOURCES
from recall.memory import keys
from recall.runtime.parts import FOLLOW, STORE, listen_alone
from recall.runtime.reach import open_database
from recall.runtime.service import open_service
from recall.schema import migrate
from recall.sync.follow import Follower
from recall.sync.intake import News
from recall.sync.register import add_to_register, read_register, remove_from_register

if TYPE_CHECKING:
    from recall.base.settings import Settings
    from recall.sync.followed import Followed

console = Console(highlight=False)

SOON = 0.5  # seconds between the first news and the line that tells them


async def follow_source(settings: Settings, tenant: str, followed: Followed, index: bool) -> None:
    """Follow one source until the process is told to stop.

    Raises what opening the source and the service raise; later errors are told and survived.
    """
    source = await asyncio.to_thread(followed.open)
    hears = (listen_alone,) if followed.trigger else ()
    async with open_service(settings, FOLLOW if index else (*STORE, *hears)) as service:
        ticker = NewsTicker()

        def tell(news: News) -> None:
            if index:
                service.nudge()
            ticker.add(news)

        caller = await keys.caller_of(service.database, tenant)
        follower = Follower(service.database, caller, followed, tell)
        if followed.trigger:
            service.wakes[SOURCES] = follower.nudge
            await asyncio.to_thread(followed.install)
            service.closing.push_async_callback(asyncio.to_thread, followed.uninstall)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, follower.stop)
        console.print(
            f"Following {source.system.name}: {source.origin}; Ctrl-C ends it", soft_wrap=True
        )
        await follower.run()
        ticker.say()


class NewsTicker:
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


async def register_source(settings: Settings, tenant: str, followed: Followed) -> None:
    """Register a source."""
    async with open_database(settings) as database:
        await add_to_register(database, await keys.caller_of(database, tenant), followed)
    console.print(
        f"{followed.target} is followed by a `recall serve` or `recall worker`: by one that "
        "runs within seconds, by one that starts at once",
        soft_wrap=True,
    )


async def unregister_source(settings: Settings, tenant: str, target: str) -> bool:
    """Take a source off the register; return whether it was there."""
    async with open_database(settings) as database:
        caller = await keys.known_caller(database, tenant)
        followed = await remove_from_register(database, caller, target)
    if followed:
        await asyncio.to_thread(followed.uninstall)
    return followed is not None


async def list_followed(settings: Settings) -> None:
    """Print what is registered."""
    async with open_database(settings, migrate.check) as database:
        rows = await read_register(database)
    for tenant, followed in rows:
        console.print(f"{tenant}  {followed.kind}  {followed.target}", soft_wrap=True)
    if not rows:
        console.print("No source is registered.")
