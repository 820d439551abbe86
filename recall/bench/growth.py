"""How latency and size grow, and what other tenants cost one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from statistics import median
from typing import TYPE_CHECKING

from recall.bench.corpus import questions
from recall.bench.figures import Point, Tenants, figure
from recall.bench.floors import plain_connection
from recall.bench.ingest import indexed
from recall.bench.load import Loader, settle, take_away
from recall.bench.quality import measure_quality, with_bare
from recall.bench.questioning import Asking
from recall.evaluate.scratch import scratch_database
from recall.indexing import graph
from recall.memory import keys
from recall.runtime.parts import LOAD
from recall.runtime.service import open_service

if TYPE_CHECKING:
    from recall.base.settings import Settings
    from recall.bench.corpus import Corpus
    from recall.bench.figures import Asked, Figure
    from recall.bench.load import Loaded
    from recall.runtime.service import Service

ROUNDS = 5
INDEX_BYTES = """
select am.amname, sum(pg_relation_size(i.oid))::bigint
from pg_class as i join pg_am as am on am.oid = i.relam
where i.relkind = 'i' and i.relnamespace = 'recall'::regnamespace
group by 1 order by 1
"""
ALL_BYTES = """
select sum(pg_total_relation_size(oid))::bigint from pg_class
where relkind = 'r' and relnamespace = 'recall'::regnamespace
"""


async def measure_point(asking: Asking, questions: int, size: int, loaded: Loaded) -> Point:
    """Return latency, quality and bytes at `size` memories."""
    service, caller = asking.service, asking.caller
    (asked, *_) = await asking.measure("hybrid", 1, questions)
    quality = await measure_quality(service, caller, asking.fresh, questions)
    quality = await with_bare(service, caller, asking.fresh, quality)
    with plain_connection(service) as connection:
        by_method = dict(connection.execute(INDEX_BYTES).fetchall())
        ((everything,),) = connection.execute(ALL_BYTES).fetchall()
    return Point(
        size,
        asked,
        quality,
        round(loaded.stored_per_second, 1),
        indexed(loaded),
        loaded.anew,
        round(loaded.build_seconds, 1),
        by_method,
        round(everything / size, 1),
    )


async def measure_tenants(
    settings: Settings, corpus: Corpus, tenants: int, each: int, asked: int
) -> Tenants:
    """Return a tenant's latency beside other tenants, and as floor the same tenant's alone.

    Both databases exist at once, and the questions go to them in turns.
    """
    async with AsyncExitStack() as stack:
        services = []
        for count in (tenants, 1):
            scratch = stack.enter_context(scratch_database(settings))
            service = await stack.enter_async_context(open_service(scratch, LOAD))
            services.append(service)
            await _populate(service, corpus, count, each)
        fresh = questions(corpus)
        sides = [
            Asking(service, await keys.caller_of(service.database, "tenant/0"), fresh)
            for service in services
        ]
        rounds = [
            [(await side.measure("hybrid", 1, asked // ROUNDS or 1))[0] for side in sides]
            for _ in range(ROUNDS)
        ]
    return _tenants(rounds, tenants, each)


def _tenants(rounds: list[list[Asked]], tenants: int, each: int) -> Tenants:
    def against_alone(part: str) -> Figure:
        beside, alone = (
            median(getattr(round_[side], part).value for round_ in rounds) for side in (0, 1)
        )
        return figure(beside, alone, "ms", "the same tenant alone")

    return Tenants(
        tenants,
        each,
        sum(asked.errors for round_ in rounds for asked in round_),
        *(against_alone(part) for part in ("p50_ms", "p95_ms", "sql_p50_ms")),
    )


async def _populate(service: Service, corpus: Corpus, tenants: int, each: int) -> None:
    loader = Loader(service, corpus, tenants * each)
    for number in range(tenants):
        caller = await keys.caller_of(service.database, f"tenant/{number}")
        await loader.store(caller, number * each, each)
    large = tenants * each > graph.LARGE
    if large:
        take_away(service)
    await loader.drain()
    if large:
        await graph.build_missing(service.settings, lambda said: None)
    settle(service)
