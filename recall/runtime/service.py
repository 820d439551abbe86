"""One process of recall: a list of parts, opened in order and closed in the reverse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from recall.base.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from recall.base.settings import Settings
    from recall.database.units import Database
    from recall.embedding import Model
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

#: The tenant of everybody who needs no key; migration 0001 makes it.
DEFAULT_TENANT = "default"


class Service:
    """What the parts of a process open: each part sets its attributes, once.

    The attributes of a part that was not listed do not exist.
    """

    database: Database
    writes: bool
    model: Model
    profile: Profile
    searcher: Searcher
    worker: Worker

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.supervisor = Supervisor()
        #: What the bell calls when another process rings, by channel.
        self.wakes: dict[str, Callable[[], None]] = {}
        self.closing = AsyncExitStack()

    def nudge(self) -> None:
        """Wake the worker of this process; a ring that came with the commit wakes the others'."""
        self.worker.nudge()


Part = Callable[[Service], Awaitable[None]]


@asynccontextmanager
async def open_service(settings: Settings, parts: Iterable[Part]) -> AsyncIterator[Service]:
    """Open `parts` in their order; at the end what runs stops, then the rest closes in reverse.

    Raises what a part raises; those before it are closed.
    """
    service = Service(settings)
    async with service.closing:
        try:
            for part in parts:
                await part(service)
            yield service
        finally:
            await service.supervisor.close()
