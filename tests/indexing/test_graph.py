"""The vector index behind a first large load, and what an interrupted one leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from histories import History, Torn

from recall.indexing import graph
from recall.sync.backfill import backfill

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from conftest import Running

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio


async def test_a_first_large_load_builds_its_index_behind_the_rows(
    settings: Any,
    database: Database,
    caller: Caller,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph, "LARGE", 20)
    said: list[str] = []
    await backfill(database, caller, History(57))
    async with graph.deferred(settings, said.append):
        assert await graph.missing_graphs(database) == 1
        await worker.drain()
    assert await graph.missing_graphs(database) == 0
    assert said[0].startswith("A first large load") and "vectors" in said[1]
    # Now something is there, and the index stays.
    await backfill(database, caller, History(90, "elsewhere"))
    async with graph.deferred(settings, said.append):
        assert await graph.missing_graphs(database) == 0
    assert len(said) == 3


async def test_a_load_that_was_interrupted_is_repaired(
    settings: Any, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGE", 20)
    await backfill(database, caller, History(57))
    with pytest.raises(Torn):
        async with graph.deferred(settings, lambda said: None):
            # While one process loads, no other builds.
            assert await graph.build_missing(settings, lambda said: None) == 0
            raise Torn
    assert (await graph.examine_graph(database, settings, fix=False)).found == 1
    assert (await graph.examine_graph(database, settings, fix=True)).repaired
    assert (await graph.examine_graph(database, settings, fix=False)).found == 0


async def test_a_service_that_starts_repairs_what_a_load_left(
    serve: Callable[..., Running],
    database: Database,
    owner: psycopg.Connection[Any],
    profile: Profile,
) -> None:
    owner.execute(f"drop index embedding_{profile.id}_hnsw".encode())
    serve()
    for _ in range(600):
        if not await graph.missing_graphs(database):
            break
        await asyncio.sleep(0.05)
    assert await graph.missing_graphs(database) == 0
