"""What runs together in one process, beside what it answers: put together in one place.

recall serve      questions and writes · all of this
recall worker     all of this
RECALL_WORKER=0   the embedded server is watched, and nothing else
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from recall.base.supervisor import supervised
from recall.database.bell import ALONE, JOBS, LONGEST, REGISTER, SOURCES, Bell
from recall.embedded import keeper
from recall.indexing import graph
from recall.sync.followers import Followers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recall.base.supervisor import Duty, Supervisor
    from recall.runtime.service import Service

log = logging.getLogger("recall.runtime")

#: Seconds between two looks at the embedded server's process, which cost no statement.
LOOK = 2.0
#: An embedded server never sleeps: who was cut off from it listens again at once.
AT_ONCE = 0.0


@asynccontextmanager
async def duties(service: Service, *, alone: bool = False) -> AsyncIterator[Supervisor]:
    """Run beside the block what the service's settings ask for; `alone`: no requests come here."""
    async with supervised() as supervisor:
        if server := service.database.server:
            watch = partial(_watch, server)
            supervisor.start("The embedded Postgres", watch, needed=True)
        if service.settings.worker or alone:
            _index(service, supervisor, alone)
        yield supervisor


def _index(service: Service, supervisor: Supervisor, alone: bool) -> None:
    """Index, hear of what others store, follow registered sources, and mend the graph."""
    service.worker.start(supervisor)
    followers = Followers(service.database, supervisor, service.worker.nudge)
    followers.start()
    wakes = {
        JOBS: service.worker.nudge,
        REGISTER: followers.look_again,
        SOURCES: followers.nudge,
    }
    longest = AT_ONCE if service.database.server else ALONE if alone else LONGEST
    bell = Bell(service.database, service.direct_url, wakes, longest)
    supervisor.start("Listening to other processes", bell.listen)
    supervisor.start("Building the HNSW index", partial(_mend, service))


async def _watch(server: keeper.Server, duty: Duty) -> None:
    """Start the embedded server again when its process is gone, whoever killed it."""
    while True:
        if not keeper.alive(server):
            await asyncio.to_thread(keeper.revive, server)
        duty.rests()
        await asyncio.sleep(LOOK)


async def _mend(service: Service, duty: Duty) -> None:
    """Build what an interrupted load left missing."""
    if await graph.missing(service.database):
        log.warning("The HNSW index is missing: a load was interrupted. It is built now.")
        await graph.repair(service.settings, log.info)
