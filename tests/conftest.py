"""The real Postgres, the real model and the real server, each started once and shared.

One embedded server serves the whole run. A migrated database with its profile is made once and
cloned for every test, so a test meets an empty recall and leaves nothing behind.

    TEST_NEON=1              what is tested reaches that server as it would Neon: traffic through a
                             front with TLS and PgBouncer, migrations through a front with TLS
    TEST_DATABASE_URL=URL    it reaches a server elsewhere, where databases are made and dropped;
                             what is about the embedded server still runs on one

`settings` has the pooled URL; `database_url`, `empty_url` and `owner` go the direct way.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import hypothesis
import psycopg
import pytest

from recall.base import urls
from recall.base.settings import Settings
from recall.base.supervisor import supervised
from recall.chaos import pooler
from recall.chaos.neon import Neon
from recall.database.units import Database
from recall.embedded import keeper
from recall.embedding import Model, open_embedder
from recall.embedding.identity import ModelIdentity, open_folder
from recall.indexing import profiles
from recall.indexing.recipe import RECIPE
from recall.indexing.worker import Worker
from recall.memory import keys
from recall.retrieval.search import Searcher
from recall.schema import functions, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import numpy as np

    from recall.database.caller import Caller
    from recall.embedding import Embedder
    from recall.embedding.embedder import Vectors
    from recall.indexing.profiles import Profile

for name in list(os.environ):
    if name.startswith(("RECALL_", "DATABASE_", "PG")):
        del os.environ[name]

# Several workers share few cores: torch's threads sleep while they wait, instead of spinning.
os.environ["OMP_WAIT_POLICY"] = "passive"

#: The engine that most machines choose, taken at its word; test_embedding.py tries the others.
ENGINE = "cpu-int8"
DIMENSION = 384  # of the packaged model's vectors

#: A developer's own `.env` is not for tests.
Settings.model_config["env_file"] = None

hypothesis.settings.register_profile(
    "default",
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
# pytest --hypothesis-profile explore
hypothesis.settings.register_profile(
    "explore", hypothesis.settings.get_profile("default"), max_examples=500, derandomize=False
)
# make test-fast
hypothesis.settings.register_profile(
    "fast", hypothesis.settings.get_profile("default"), max_examples=3
)
hypothesis.settings.load_profile("default")


#: The files that work or wait for longest. They begin first, so that none is left for a worker
#: alone when the others have done everything else (`--no-loadscope-reorder`).
LONGEST = (
    "chaos/test_chaos.py",
    "embedding/test_embedding.py",
    "test_notebooks.py",
    "embedded/test_keeper.py",
    "bench/test_bench.py",
    "chaos/test_front_service.py",
    "schema/test_shape.py",
    "database/test_units.py",
    "runtime/test_start.py",
    "retrieval/test_search.py",
    "sources/test_sources_mutated.py",
    "indexing/test_worker.py",
    "test_journeys.py",
    "schema/test_restore.py",
)


#: Where servers and models come from: a test that needs none of these fixtures is light.
HEAVY = {
    *("home", "models", "own_home", "made", "sleeper"),  # here and of the embedded server
    *("here", "elsewhere", "plain_owner"),  # clusters of a file's own
    *("shelf", "packaged"),  # models of a file's own
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if HEAVY.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("light")


def pytest_configure(config: pytest.Config) -> None:
    # The keeper of an embedded Postgres outlives, on purpose, the process that started it.
    ignored = r"ignore:subprocess \d+ is still running:ResourceWarning"
    config.addinivalue_line("filterwarnings", ignored)
    # A shell that starts a run in the background has it ignore Ctrl-C, and all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say which Postgres and which pgvector the tests meet."""
    spec = find_spec(keeper.WHEEL)
    assert spec is not None and spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall18"
    version = subprocess.run(
        [installed / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    (control,) = installed.rglob("vector.control")
    vector = re.search(r"default_version = '([\d.]+)'", control.read_text())
    return f"database: {version.stdout.strip()}, pgvector {vector[1] if vector else '?'}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def make_home() -> Path:
    """Return a fresh RECALL_HOME that root's Postgres account may enter."""
    home = Path(tempfile.mkdtemp(prefix="recall-tests-"))
    home.chmod(0o711)
    return home


def remove_home(home: Path) -> None:
    """Wait until the home's keeper left its post, then remove the home."""
    deadline = time.monotonic() + 20
    pid = home / "postgres" / "data" / "postmaster.pid"
    while pid.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is derived from models, once for all workers: the first derives and the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def home(models: Path) -> Iterator[Path]:
    """RECALL_HOME of the whole run."""
    home = make_home()
    (home / "models").symlink_to(models)
    yield home
    remove_home(home)


@pytest.fixture(scope="session")
def postgres(home: Path) -> Iterator[keeper.Server]:
    """The embedded server of the whole run."""
    use = keeper.start(home)
    forget_crashes(use.server)
    yield use.server
    use.release()


def forget_crashes(server: keeper.Server) -> None:
    """Let a server be quick: nothing on it outlives the run, nor the machine."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("alter system set fsync = off")
        connection.execute("alter system set autovacuum = off")
        connection.execute("select pg_reload_conf()")


class Way(Protocol):
    """How what is tested reaches a database of the run, by its name."""

    def pooled_url(self, database: str) -> str: ...
    def direct_url(self, database: str) -> str: ...


@dataclass(frozen=True)
class Straight:
    """To the embedded server, by its socket."""

    server: keeper.Server

    def pooled_url(self, database: str) -> str:
        return self.server.url(database)

    direct_url = pooled_url


@dataclass(frozen=True)
class Elsewhere:
    """To a server that somebody else runs, by a URL of any of its databases."""

    url: str

    def pooled_url(self, database: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    def direct_url(self, database: str) -> str:
        return urls.direct(self.pooled_url(database))


@pytest.fixture(scope="session")
def way(request: pytest.FixtureRequest, home: Path) -> Iterator[Way]:
    """As TEST_NEON and TEST_DATABASE_URL say; straight without them."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Elsewhere(url)
        return
    straight = Straight(request.getfixturevalue("postgres"))
    if not os.environ.get("TEST_NEON"):
        yield straight
        return
    with Neon(home) as neon:
        yield neon


def name_of(url: str) -> str:
    """Return the name of a URL's database."""
    return urlsplit(url).path.lstrip("/")


_numbers = count(1)


@dataclass(frozen=True)
class Databases:
    """Makes and drops databases on the shared server."""

    way: Way
    maintenance: str  # the URL of a database that stays

    def create(self, template: str = "template1") -> str:
        """Return the direct URL of a new database."""
        # Several runs may share a server elsewhere; one of its own needs no checkpoint to copy.
        elsewhere = isinstance(self.way, Elsewhere)
        name = f"test_{os.getpid()}_{next(_numbers)}" if elsewhere else f"test_{next(_numbers)}"
        how = "" if elsewhere else "strategy file_copy"
        self._execute(f"create database {name} template {template} {how}")
        return self.way.direct_url(name)

    def drop(self, url: str) -> None:
        """Drop the database of `url`, whoever still uses it."""
        self._execute(f"drop database if exists {name_of(url)} with (force)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.maintenance, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, way: Way) -> Databases:
    if isinstance(way, Elsewhere):
        return Databases(way, urls.direct(way.url))
    postgres: keeper.Server = request.getfixturevalue("postgres")
    return Databases(way, postgres.url("postgres"))


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """The URL of a database that recall has never seen."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def identity() -> ModelIdentity:
    """The packaged model's, told from its files: a database is made ready without a model."""
    folder = open_folder(Settings().model)
    return ModelIdentity(folder.name, folder.revision, DIMENSION)


@pytest.fixture(scope="session")
def embedder(home: Path, identity: ModelIdentity) -> Embedder:
    """The packaged model, loaded once."""
    opened = open_embedder(Settings().model, home, ENGINE)
    assert opened.identity == identity
    return Remembering(opened)


@pytest.fixture
def prepared_home(models: Path, embedder: Embedder) -> Iterator[Path]:
    """A home of the test's own, without a Postgres yet, its model derived already."""
    prepared = make_home()
    (prepared / "models").symlink_to(models)
    yield prepared
    remove_home(prepared)


class Remembering:
    """An embedder that computes no document twice: tests say the same things again and again."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._known: dict[str, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known.update(zip(new, self._model.embed_documents(new), strict=True))
        if not texts:
            return np.empty((0, self._model.dimension), np.float32)
        return np.stack([self._known[text] for text in texts])


@pytest.fixture(scope="session")
def template(databases: Databases, identity: ModelIdentity) -> str:
    """The name of a migrated database with its profile, to be cloned."""
    return prepare(databases, identity)


def prepare(databases: Databases, identity: ModelIdentity) -> str:
    """Make a migrated database with its profile and return its name."""
    url = databases.create()
    migrate.migrate(url)

    async def ensure() -> None:
        database = Database(url, Settings())
        await database.open()
        await profiles.ensure_profile(database, identity, RECIPE)
        await database.close()

    asyncio.run(ensure())
    return name_of(url)


@pytest.fixture
def database_url(databases: Databases, template: str) -> Iterator[str]:
    """The URL of an empty recall of this test's own."""
    url = databases.create(template)
    yield url
    databases.drop(url)


@dataclass(frozen=True)
class Sleeper:
    """A server of its own that may be suspended and cut off, behind a pooler and fronts."""

    neon: Neon
    databases: Databases

    def heal(self) -> None:
        """Let what a test did to the network, or to the server, be over."""
        for front in (self.neon.pooled, self.neon.direct):
            front.heal()
            front.cut()
        self.neon.wake()


@pytest.fixture(scope="session")
def sleeper() -> Iterator[Sleeper]:
    """Where PgBouncer is not installed, its traffic goes straight to the server, through TLS."""
    home = make_home()
    with Neon(home, pooler=pooler.installed()) as neon:
        forget_crashes(neon.server)
        yield Sleeper(neon, Databases(neon, neon.server.url("postgres")))
    remove_home(home)


@pytest.fixture(scope="session")
def sleeping_template(sleeper: Sleeper, identity: ModelIdentity) -> str:
    """The template on the server that may sleep."""
    return prepare(sleeper.databases, identity)


@pytest.fixture
def sleeping_url(sleeper: Sleeper, sleeping_template: str) -> Iterator[str]:
    """The direct URL of an empty recall on the server that may sleep, and be cut off."""
    url = sleeper.databases.create(sleeping_template)
    yield url
    sleeper.heal()
    sleeper.databases.drop(url)


@pytest.fixture
def sleeping_settings(sleeper: Sleeper, sleeping_url: str, home: Path) -> Settings:
    return Settings.load(
        database_url=sleeper.neon.pooled_url(name_of(sleeping_url)),
        database_direct_url=sleeping_url,
        home=home,
        port=0,
        engine=ENGINE,
        statement_timeout=1.5,
    )


@pytest.fixture
def settings(database_url: str, way: Way, home: Path) -> Settings:
    return Settings.load(
        database_url=way.pooled_url(name_of(database_url)),
        database_direct_url=database_url,
        home=home,
        port=0,
        engine=ENGINE,
    )


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A plain connection of the database's owner, which no policy binds."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        path = f"{functions.read_functions('public').path}, public"
        connection.execute("select set_config('search_path', %s, false)", [path])
        yield connection


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.pooled_url, settings)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def profile(database: Database) -> Profile:
    found = await profiles.active_profile(database)
    assert found is not None
    return found


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await keys.caller_of(database, "default")


@pytest.fixture
async def model(embedder: Embedder) -> AsyncIterator[Model]:
    model = Model(embedder)
    yield model
    await model.aclose()


@pytest.fixture
def searcher(database: Database, profile: Profile, model: Model) -> Searcher:
    return Searcher(database, profile, model.questions)


@pytest.fixture
def worker(database: Database, model: Model, profile: Profile, settings: Settings) -> Worker:
    return Worker(database, model.documents, profile, settings)


@asynccontextmanager
async def running_worker(worker: Worker) -> AsyncIterator[None]:
    """Run `worker` beside the block; it gives back what is not done when the block ends."""
    async with supervised() as supervisor:
        worker.start(supervisor)
        yield


@dataclass
class Running:
    """A server in a thread of this process, reached over its real socket."""

    url: str
    stop: Callable[[], None]


@pytest.fixture
def serve(
    settings: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Running]]:
    """Start `recall serve`'s application under uvicorn; settings may be overridden."""
    import uvicorn

    from recall.api import Connection, create_app

    # The model is the run's own; opening it again for every server would take seconds.
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)
    started: list[Running] = []

    def start(**overrides: Any) -> Running:
        own = settings.model_copy(update=overrides)
        everywhere = own.host == "0.0.0.0"
        listening = socket.create_server((own.host if everywhere else "127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(own), http=Connection, log_config=None, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)

        def run() -> None:
            with suppress(SystemExit):  # what uvicorn makes of a failed start
                server.run(sockets=[listening])

        thread = threading.Thread(target=run)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join()
            listening.close()

        running = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", stop)
        while not server.started:
            if not thread.is_alive():
                listening.close()
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def server(serve: Callable[..., Running]) -> Running:
    return serve()


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
