"""The parts of a process, each a function that opens or starts one; a command is a list of them."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from recall import embedding
from recall.database.bell import ALONE, JOBS, LONGEST, REGISTER, SOURCES, Bell
from recall.embedded import keeper
from recall.indexing import graph, profiles
from recall.indexing.recipe import RECIPE
from recall.indexing.worker import Worker
from recall.memory import keys
from recall.retrieval.rerank import Reranker
from recall.retrieval.search import Searcher
from recall.runtime.reach import open_database
from recall.runtime.sample import load_sample
from recall.runtime.service import DEFAULT_TENANT
from recall.schema import migrate
from recall.sync.followers import Followers

if TYPE_CHECKING:
    from recall.base.supervisor import Duty
    from recall.runtime.service import Part, Service

log = logging.getLogger("recall.runtime")

#: Seconds between two looks at the embedded server's process, which cost no statement.
LOOK = 2.0
#: Seconds: an embedded server never sleeps, so a bell that was cut off listens again at once.
AT_ONCE = 0.0


async def use_database(service: Service) -> None:
    """Open the database, its schema brought up to date; raises what `open_database` raises."""
    service.database = await service.closing.enter_async_context(open_database(service.settings))
    service.writes = True


async def read_database(service: Service) -> None:
    """Open the database as it is; raises what `open_database` raises."""
    opening = open_database(service.settings, migrate.check)
    service.database = await service.closing.enter_async_context(opening)
    service.writes = False


async def load_model(service: Service) -> None:
    """Open the model, and make the searcher and the worker that use it.

    Listed behind the database, whose faults are said before a model takes its seconds to load.
    Raises what `open_embedder` raises, and ModelMismatch where the database's vectors are another
    model's.
    """
    settings, database = service.settings, service.database
    embedder = await asyncio.to_thread(
        embedding.open_embedder, settings.model, settings.home, settings.engine, settings.threads
    )
    gc.freeze()  # modules and model stay for good: collections need not walk over their objects
    profile = await profiles.ensure_profile(database, embedder.identity, RECIPE, service.writes)
    model = await service.closing.enter_async_context(aclosing(embedding.Model(embedder)))
    reranker = Reranker(settings.reranker) if settings.reranker else None
    service.model, service.profile = model, profile
    service.searcher = Searcher(database, profile, model.questions, reranker)
    service.worker = Worker(database, model.documents, profile, settings)


async def store_sample(service: Service) -> None:
    """Store and index the sample history when the embedded database has no memory at all."""
    if not (service.settings.embedded and service.settings.sample):
        return
    default = await keys.caller_of(service.database, DEFAULT_TENANT)
    if loaded := await load_sample(service.database, default):
        # Before anything is served: the first question must find something.
        log.info("Indexing the sample history: %d memories to ask about", loaded)
        await service.worker.drain()


async def watch_server(service: Service) -> None:
    """Start the embedded server again when its process is gone, whoever killed it."""
    if server := service.database.server:
        service.supervisor.start("The embedded Postgres", partial(_watch, server), needed=True)


async def _watch(server: keeper.Server, duty: Duty) -> None:
    while True:
        if not keeper.alive(server):
            await asyncio.to_thread(keeper.revive, server)
        duty.rests()
        await asyncio.sleep(LOOK)


async def run_worker(service: Service) -> None:
    """Index what is queued."""
    service.worker.start(service.supervisor)
    service.wakes[JOBS] = service.worker.nudge


async def follow_registered(service: Service) -> None:
    """Follow registered sources, as one of all workers."""
    followers = Followers(service.database, service.supervisor, service.worker.nudge)
    followers.start()
    service.wakes |= {REGISTER: followers.look_again, SOURCES: followers.nudge}


async def _listen(service: Service, longest: float) -> None:
    """Listen for rings of other processes, and call what the parts before put into `wakes`."""
    settings, database = service.settings, service.database
    url = database.url if settings.embedded else settings.direct_url
    bell = Bell(database, url, service.wakes, AT_ONCE if database.server else longest)
    service.supervisor.start("Listening to other processes", bell.listen)


#: Beside requests a bell that was cut waits for one, which wakes the database anyway; alone, for
#: a quarter of an hour.
listen_beside_requests: Part = partial(_listen, longest=LONGEST)
listen_alone: Part = partial(_listen, longest=ALONE)


async def mend_graph(service: Service) -> None:
    """Build the HNSW index that an interrupted load left missing."""
    service.supervisor.start("Building the HNSW index", partial(_mend, service))


async def _mend(service: Service, duty: Duty) -> None:
    if await graph.missing_graphs(service.database):
        log.warning("The HNSW index is missing: a load was interrupted. It is built now.")
        await graph.build_missing(service.settings, log.info)


#: recall search
ASK = (read_database, load_model)
#: recall follow --no-index, which a worker elsewhere indexes for
STORE = (use_database, watch_server)
#: recall eval, bench, worker --once, and backfill where it indexes: nothing runs beside them.
LOAD = (use_database, load_model)
#: recall follow, which indexes what its one source brings.
FOLLOW = (*LOAD, watch_server, run_worker, listen_alone, mend_graph)
#: recall worker
WORK = (*LOAD, watch_server, run_worker, follow_registered, listen_alone, mend_graph)


def serving(gate: Part, works: bool) -> tuple[Part, ...]:
    """Return the parts of recall serve; `gate` stands before a model is loaded."""
    answers = (use_database, gate, load_model, store_sample, watch_server)
    if not works:
        return answers
    return (*answers, run_worker, follow_registered, listen_beside_requests, mend_graph)
