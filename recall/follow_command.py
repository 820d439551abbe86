"""`recall follow`: one source until Ctrl-C, or the registered ones that every worker follows."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from recall import keys
from recall.follow import Follower
from recall.register import register, registered, unregister
from recall.service import open_database, open_service, running_worker

if TYPE_CHECKING:
    from recall.follow import News
    from recall.register import Followed
    from recall.settings import Settings

console = Console(highlight=False)


async def run(settings: Settings, tenant: str, followed: Followed, index: bool) -> None:
    """Follow one source until the process is told to stop."""
    source = await asyncio.to_thread(followed.open)
    async with AsyncExitStack() as stack:
        worker = None
        if index:
            service = await stack.enter_async_context(open_service(settings))
            database, worker = service.database, service.worker
            await stack.enter_async_context(running_worker(worker))
        else:
            database = await stack.enter_async_context(open_database(settings))

        def tell(news: News) -> None:
            if worker:
                worker.nudge()
            console.print(
                f"{time.strftime('%H:%M:%S')}  {news.stored:,} stored, {news.changed:,} changed, "
                f"{news.erased:,} erased"
            )

        follower = Follower(database, await keys.tenant_id(database, tenant), followed, tell)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, follower.stop)
        console.print(f"Following {source.name}: {source.origin}; Ctrl-C ends it", soft_wrap=True)
        await follower.run()


async def add(settings: Settings, tenant: str, followed: Followed) -> None:
    """Register a source."""
    async with open_database(settings) as database:
        await register(database, await keys.tenant_id(database, tenant), followed)
    console.print(
        f"{followed.target} is followed by `recall serve` and `recall worker` from their next "
        "start on",
        soft_wrap=True,
    )


async def remove(settings: Settings, tenant: str, target: str) -> bool:
    """Take a source off the register; return whether it was there."""
    async with open_database(settings) as database:
        return await unregister(database, await keys.tenant_id(database, tenant), target)


async def show(settings: Settings) -> None:
    """Print what is registered."""
    async with open_database(settings) as database:
        rows = await registered(database)
    for _, tenant, followed in rows:
        console.print(f"{tenant}  {followed.kind}  {followed.target}", soft_wrap=True)
    if not rows:
        console.print("No source is registered.")
