"""What runs in a process of each command, by the names of its duties."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from recall.api import create_app, running
from recall.base.settings import Settings
from recall.contract.errors import Misconfigured
from recall.database.bell import ALONE, LONGEST, Bell
from recall.embedded import keeper
from recall.indexing import graph
from recall.runtime import parts
from recall.runtime.parts import ASK, AT_ONCE, FOLLOW, LOAD, STORE, WORK, store_sample, watch_server
from recall.runtime.service import Service, open_service

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from recall.database.units import Database
    from recall.embedding import Embedder
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio

INDEXING = ["Indexing", "Indexing", "Indexing", "The heartbeat of claims"]
FOLLOWING = "Following registered sources"
BELL = "Listening to other processes"
GRAPH = "Building the HNSW index"


@pytest.fixture(autouse=True)
def patience(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each bell was given; the model is the run's."""
    given: list[float] = []

    class Heard(Bell):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            given.append(self._longest)

    monkeypatch.setattr(parts, "Bell", Heard)
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)
    return given


def duties(service: Service) -> list[str]:
    return [duty.name for duty in service.supervisor]


async def test_serve_indexes_follows_listens_and_mends(
    settings: Settings, patience: list[float]
) -> None:
    app = create_app(settings)
    async with running(app, settings):
        assert duties(app.state.service) == [*INDEXING, FOLLOWING, BELL, GRAPH]
        assert all(duty.needed is (duty.name in INDEXING) for duty in app.state.service.supervisor)
    assert patience == [LONGEST]
    assert duties(app.state.service) == [], "all ended with the service"


async def test_serve_without_a_worker_runs_nothing_beside(settings: Settings) -> None:
    own = settings.model_copy(update={"worker": False})
    app = create_app(own)
    async with running(app, own):
        assert duties(app.state.service) == []


async def test_a_worker_runs_the_same_and_listens_for_others_alone(
    settings: Settings, patience: list[float]
) -> None:
    own = settings.model_copy(update={"worker": False})  # which is for recall serve
    async with open_service(own, WORK) as service:
        assert duties(service) == [*INDEXING, FOLLOWING, BELL, GRAPH]
    assert patience == [ALONE]


async def test_who_follows_one_source_follows_no_registered_ones(
    settings: Settings, patience: list[float]
) -> None:
    async with open_service(settings, FOLLOW) as service:
        assert duties(service) == [*INDEXING, BELL, GRAPH]
    assert patience == [ALONE]


async def test_who_asks_measures_or_stores_runs_nothing_beside(settings: Settings) -> None:
    for each in (ASK, LOAD, STORE):
        async with open_service(settings, each) as service:
            assert duties(service) == []


async def test_an_embedded_server_is_watched_and_listened_to_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, patience: list[float]
) -> None:
    revived = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(keeper, "alive", lambda server: False)
    monkeypatch.setattr(keeper, "revive", lambda server: loop.call_soon_threadsafe(revived.set))

    async def embedded(service: Service) -> None:
        server = cast("keeper.Server", object())
        here = SimpleNamespace(server=server, url=database.url, process=0, rang_at=0.0)
        service.database = cast("Database", here)

    everything = (embedded, watch_server, parts.listen_alone)
    async with open_service(Settings(), everything) as service:
        assert duties(service) == ["The embedded Postgres", BELL]
        assert next(iter(service.supervisor)).needed
        await asyncio.wait_for(revived.wait(), 10)
    assert patience == [AT_ONCE]


@pytest.mark.parametrize("parts_of", [WORK, FOLLOW])
async def test_whoever_runs_a_worker_builds_an_index_that_is_missing(
    parts_of: Any, settings: Settings, owner: psycopg.Connection[Any], database: Database
) -> None:
    (name,) = owner.execute(
        "select indexrelid::regclass::text from pg_index join pg_class on oid = indexrelid"
        " where relname like 'embedding_%_hnsw'"
    ).fetchone() or ("",)
    owner.execute(f"drop index {name}".encode())
    owner.commit()
    async with open_service(settings, parts_of), asyncio.timeout(30):
        while await graph.missing_graphs(database):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_the_sample_is_for_an_embedded_database_that_is_empty(
    settings: Settings, database: Database, worker: Worker
) -> None:
    embedded = Settings(home=settings.home)
    loaded = []
    for each in (settings, embedded.model_copy(update={"sample": False}), embedded, embedded):
        service = Service(each)
        service.database, service.worker = database, worker
        await store_sample(service)
        loaded.append(await stored(database))
    nothing, unasked, first, second = loaded
    assert nothing == unasked == 0
    assert first == second > 50


async def stored(database: Database) -> int:
    async def work(connection: psycopg.AsyncConnection[Any]) -> int:
        row = await (await connection.execute("select count(*) from memory")).fetchone()
        return int(row[0]) if row else 0

    return await database.as_owner(work)


async def test_what_was_opened_is_closed_when_a_part_fails(settings: Settings, home: Path) -> None:
    ended: list[str] = []

    async def first(service: Service) -> None:
        service.closing.callback(ended.append, "first")

    async def second(service: Service) -> None:
        async def duty(_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("duty")

        service.supervisor.start("A duty", duty)
        await asyncio.sleep(0)

    async def third(service: Service) -> None:
        raise Misconfigured("It cannot be.")

    with pytest.raises(Misconfigured):
        async with open_service(settings, (first, second, third)):
            pass
    assert ended == ["duty", "first"]
