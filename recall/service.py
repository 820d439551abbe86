"""Everything opened in the right order, and closed in the reverse: what a process runs on."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall import migrate, profiles
from recall.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from recall.embedding import Embedder, QueryBatcher
    from recall.models import Profile
    from recall.search import Searcher
    from recall.settings import Settings
    from recall.worker import Worker

log = logging.getLogger("recall.service")

#: The tenant of everybody who needs no key; migration 0001 makes it.
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Service:
    """A database with its model: what answers questions and indexes memories."""

    settings: Settings
    database: Database
    embedder: Embedder
    batcher: QueryBatcher
    profile: Profile
    searcher: Searcher
    worker: Worker
    #: Call it after storing: wakes the worker of this process, or those of others.
    nudge: Callable[[], None]

    @property
    def direct_url(self) -> str:
        """The URL of a connection that stays the same, for listening."""
        return self.database.url if self.settings.embedded else self.settings.direct_url


@asynccontextmanager
async def open_database(
    settings: Settings, ground: Callable[[str], object] = migrate.migrate
) -> AsyncIterator[Database]:
    """Open the database, the embedded one when no URL is set, its schema up to date.

    Who only reads gives `migrate.check` as `ground`: it refuses what it cannot read as it is, and
    changes nothing. An embedded database that is new is made ready for readers too.
    """
    async with AsyncExitStack() as stack:
        url, direct = settings.pooled_url, settings.direct_url
        if settings.embedded:
            from recall import embedded

            use = await asyncio.to_thread(embedded.start, settings.home)
            stack.callback(use.release)
            url = direct = use.server.url()
            if await asyncio.to_thread(migrate.untouched, direct):
                ground = migrate.migrate
        await asyncio.to_thread(ground, direct)
        database = Database(url, settings)
        await database.open()
        stack.push_async_callback(database.close)
        yield database


@asynccontextmanager
async def open_service(
    settings: Settings, ground: Callable[[str], object] = migrate.migrate
) -> AsyncIterator[Service]:
    """Open the database (`ground` as for `open_database`) and the model, which must fit it."""
    from recall.bell import Bell
    from recall.embedding import QueryBatcher, open_embedder
    from recall.index import RECIPE
    from recall.rerank import Reranker
    from recall.search import Searcher
    from recall.worker import Worker

    async with AsyncExitStack() as stack:
        # The model loads while Postgres starts.
        opening = asyncio.create_task(
            asyncio.to_thread(
                open_embedder, settings.model, settings.home, settings.engine, settings.threads
            )
        )
        try:
            database = await stack.enter_async_context(open_database(settings, ground))
        except BaseException:
            await asyncio.wait([opening])
            raise
        embedder = await opening
        gc.freeze()  # what is loaded once is no garbage: collections need not walk over it
        profile = await profiles.ensure(database, embedder.identity, RECIPE)
        batcher = QueryBatcher(embedder)
        reranker = Reranker(settings.reranker) if settings.reranker else None
        worker = Worker(database, batcher, profile, settings)
        stack.push_async_callback(batcher.aclose)
        yield Service(
            settings,
            database,
            embedder,
            batcher,
            profile,
            Searcher(database, profile, batcher, reranker),
            worker,
            worker.nudge if settings.worker else Bell(database).ring,
        )


@asynccontextmanager
async def running_worker(worker: Worker) -> AsyncIterator[None]:
    """Run `worker` beside the block; it finishes the batch in hand when the block ends."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def work_alone(service: Service) -> None:
    """Run the service's worker for stores made by other processes, until it is stopped."""
    from recall.bell import listen

    listening = asyncio.create_task(listen(service.direct_url, service.worker.nudge))
    try:
        await service.worker.run()
    finally:
        listening.cancel()
        await asyncio.wait([listening])
