"""Everything opened in the right order, and closed in the reverse: what a process runs on."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from recall.base.supervisor import supervised
from recall.database.units import Database
from recall.embedded import keeper
from recall.indexing import profiles
from recall.schema import migrate, preflight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from recall.base.settings import Settings
    from recall.embedding import Model
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

log = logging.getLogger("recall.service")

#: The tenant of everybody who needs no key; migration 0001 makes it.
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Service:
    """A database with its model: what answers questions and indexes memories."""

    settings: Settings
    database: Database
    model: Model
    profile: Profile
    searcher: Searcher
    worker: Worker

    def nudge(self) -> None:
        """Wake the worker of this process; those of others heard of it with the commit."""
        self.worker.nudge()

    @property
    def direct_url(self) -> str:
        """The URL of a connection that stays the same, for listening."""
        return self.database.url if self.settings.embedded else self.settings.direct_url


class Place(NamedTuple):
    """Where the database is: the URLs for traffic and for the schema, and the embedded server."""

    url: str
    direct: str
    server: keeper.Server | None


@asynccontextmanager
async def reached(settings: Settings, writes: bool = True) -> AsyncIterator[Place]:
    """Yield where the database is, looked at before; the embedded one is started without a URL.

    `writes` is whether anything will be stored.
    """
    if not settings.embedded:
        await preflight.check(settings.pooled_url, settings.direct_url, writes)
        yield Place(settings.pooled_url, settings.direct_url, None)
        return
    use = await asyncio.to_thread(keeper.start, settings.home)
    try:
        yield Place(use.server.url(), use.server.url(), use.server)
    finally:
        use.release()


@asynccontextmanager
async def open_database(
    settings: Settings, ground: Callable[[str], object] = migrate.migrate
) -> AsyncIterator[Database]:
    """Open the database, the embedded one when no URL is set, its schema up to date.

    Who only reads gives `migrate.check` as `ground`: it refuses what it cannot read as it is, and
    changes nothing. An embedded database that is new is made ready for readers too.
    """
    async with AsyncExitStack() as stack:
        url, direct, server = await stack.enter_async_context(
            reached(settings, writes=ground is migrate.migrate)
        )
        if server:
            ground = await asyncio.to_thread(migrate.first, direct, ground)
        await asyncio.to_thread(ground, direct)
        database = Database(url, settings, server)
        await database.open()
        stack.push_async_callback(database.close)
        yield database


@asynccontextmanager
async def open_service(
    settings: Settings, ground: Callable[[str], object] = migrate.migrate
) -> AsyncIterator[Service]:
    """Open the database (`ground` as for `open_database`) and the model, which must fit it."""
    from recall.embedding import Model, open_embedder
    from recall.indexing.recipe import RECIPE
    from recall.indexing.worker import Worker
    from recall.retrieval.rerank import Reranker
    from recall.retrieval.search import Searcher

    async with AsyncExitStack() as stack:
        # The model second: what is wrong with the database is said before one is loaded.
        database = await stack.enter_async_context(open_database(settings, ground))
        embedder = await asyncio.to_thread(
            open_embedder, settings.model, settings.home, settings.engine, settings.threads
        )
        gc.freeze()  # what is loaded once is no garbage: collections need not walk over it
        make = ground is migrate.migrate
        profile = await profiles.ensure(database, embedder.identity, RECIPE, make)
        model = await stack.enter_async_context(aclosing(Model(embedder)))
        reranker = Reranker(settings.reranker) if settings.reranker else None
        worker = Worker(database, model.documents, profile, settings)
        yield Service(
            settings,
            database,
            model,
            profile,
            Searcher(database, profile, model.questions, reranker),
            worker,
        )


@asynccontextmanager
async def running_worker(worker: Worker) -> AsyncIterator[None]:
    """Run `worker` beside the block; it gives back what is not done when the block ends."""
    async with supervised() as supervisor:
        worker.start(supervisor)
        yield
