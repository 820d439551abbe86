"""A dump that was restored, by whomever and into whatever, gives a recall that answers."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import psycopg
import pytest
from conftest import make_home, remove_home

from recall.base.settings import Settings
from recall.contract.errors import Misconfigured, SchemaRefused
from recall.contract.values import Message, Mode, Note, Question
from recall.database.units import Database
from recall.embedded import keeper
from recall.indexing import doctor, graph, profiles
from recall.indexing.recipe import RECIPE
from recall.indexing.worker import Worker
from recall.memory import keys, memories
from recall.memory.forget import forget_session
from recall.retrieval.search import Searcher
from recall.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.embedding import Model

pytestmark = pytest.mark.anyio

SAID = "The lamp of the lighthouse is green."
OWNER = "keeper"


@dataclass(frozen=True)
class Cluster:
    """A server of its own: roles belong to a cluster."""

    server: keeper.Server

    def admin(self, statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.server.url(database), autocommit=True) as connection:
            for statement in statements.split(";"):
                connection.execute(statement.encode())

    def url(self, database: str, user: str = OWNER) -> str:
        return self.server.url(database).replace("postgres@", f"{user}@")

    def program(self, name: str, *arguments: str, user: str = OWNER) -> str:
        """Run one of Postgres's programs as `user` and return what it complained of."""
        done = subprocess.run(
            [self.server.binaries / name, *arguments, "-h", self.server.socket, "-U", user],
            env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr

    def fresh(self, database: str, owner: str = OWNER, vector: str = "public") -> None:
        """Make an empty database of `owner`'s with pgvector, as an administrator would."""
        self.admin(f"drop database if exists {database} with (force)")
        self.admin(f"create database {database} owner {owner}")
        self.admin(f"create schema if not exists {vector}", database)
        self.admin(f"create extension vector schema {vector}", database)
        self.admin(f"grant usage on schema {vector} to public", database)


def cluster() -> Iterator[Cluster]:
    home = make_home()
    use = keeper.start(home)
    made = Cluster(use.server)
    made.admin(f"create role {OWNER} login createrole createdb")
    made.fresh("recall")
    yield made
    use.release()
    remove_home(home)


@pytest.fixture(scope="module")
def here() -> Iterator[Cluster]:
    yield from cluster()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Cluster]:
    """Another cluster, which has never heard of recall."""
    yield from cluster()


@pytest.fixture(scope="module")
def dumps(
    here: Cluster, tmp_path_factory: pytest.TempPathFactory, embedder: Any
) -> dict[str, Path]:
    """The dumps of a recall with memories of two tenants, by what they hold."""
    import asyncio

    from recall.embedding import Model

    async def fill() -> None:
        url = here.url("recall")
        migrate.migrate(url)
        model = Model(embedder)
        async with opened(url) as database:
            profile = await profiles.ensure_profile(database, embedder.identity, RECIPE)
            await remember(database)
            await Worker(
                database, model.documents, profile, Settings.load(database_url=url)
            ).drain()
            await model.aclose()

    asyncio.run(fill())
    folder = tmp_path_factory.mktemp("dumps")
    asked = {
        "all": ["-Fc"],
        "plain": ["-Fp"],
        "schema": ["-Fc", "--schema-only"],
        "rows": ["-Fc", "--data-only"],
        "recall": ["-Fc", "--schema=recall*"],
    }
    for name, options in asked.items():
        complaint = here.program("pg_dump", *options, "-f", str(folder / name), "recall")
        assert not complaint
    return {name: folder / name for name in asked}


class opened:
    """A Database open for the length of a block."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, Settings.load(database_url=url))

    async def __aenter__(self) -> Database:
        await self._database.open()
        return self._database

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()


async def remember(database: Database) -> None:
    ours, theirs = [await keys.caller_of(database, name) for name in ("ours", "theirs")]
    said = [
        Message(session_id="s", role="user", content=SAID, author="Ada", user_id="u"),
        Message(session_id="s", role="assistant", content="Who painted it?"),
    ]
    await memories.save_messages(database, ours, said)
    await memories.save_notes(database, ours, [Note(content="A note on boats.", key="n")])
    await memories.save_messages(
        database, theirs, [Message(session_id="s", role="user", content="Their lamp is red.")]
    )


async def answers(url: str, model: Model) -> None:
    """Assert that the restored recall has all, finds it, takes more, and keeps tenants apart."""
    settings = Settings.load(database_url=url)
    async with opened(url) as database:
        profile = await profiles.ensure_profile(database, model.embedder.identity, RECIPE)
        ours, theirs = [await keys.caller_of(database, name) for name in ("ours", "theirs")]
        found = await doctor.examine(database, fix=True)
        assert all(f.repaired for f in found if f.found), found
        await graph.examine_graph(database, settings, fix=True)
        worker = Worker(database, model.documents, profile, settings)
        await worker.drain()
        searcher = Searcher(database, profile, model.questions)
        for mode in get_args(Mode):
            question = Question(query="green lamp", mode=mode)
            hits = (await searcher.recall(ours, question)).results
            assert hits[0].content == SAID
            assert not any("red" in hit.content for hit in hits)
        (hit, *_) = (await searcher.recall(theirs, Question(query="green lamp"))).results
        assert hit.content == "Their lamp is red."
        for caller in (ours, theirs):
            await memories.save_notes(database, caller, [Note(content="A new lighthouse.")])
        await worker.drain()
        hits = (await searcher.recall(ours, Question(query="new lighthouse"))).results
        assert hits[0].content == "A new lighthouse."
        assert await forget_session(database, ours, "s") == 2
        assert not any(f.found for f in await doctor.examine(database, fix=False))
        assert not (await graph.examine_graph(database, settings, fix=False)).found
    assert migrate.differences(url) == ([], [])


#: How it is restored: options of pg_restore, the role that restores, and the one that then serves.
WAYS = {
    "as a plain owner": ([], OWNER, OWNER),
    "without owners": (["--no-owner"], OWNER, OWNER),
    "without rights": (["--no-privileges"], OWNER, OWNER),
    "without either": (["--no-owner", "--no-acl"], OWNER, OWNER),
    "by an administrator": ([], "postgres", OWNER),
    "by an administrator as the owner": (["--no-owner", f"--role={OWNER}"], "postgres", OWNER),
    "as a whole by an administrator": (["--no-owner", "--no-acl"], "postgres", "postgres"),
    "in parallel": (["--jobs=2"], OWNER, OWNER),
}


@pytest.mark.parametrize(
    ("place", "way"),
    [
        ("here", "as a plain owner"),
        ("here", "without rights"),
        *(("elsewhere", way) for way in WAYS),
    ],
)
async def test_what_was_restored_answers(
    place: str,
    way: str,
    dumps: dict[str, Path],
    model: Model,
    request: pytest.FixtureRequest,
) -> None:
    into: Cluster = request.getfixturevalue(place)
    into.fresh("copy")
    if place == "elsewhere":
        into.admin("drop role if exists recall_service")
    options, restores, serves = WAYS[way]
    into.program("pg_restore", "-d", "copy", *options, str(dumps["all"]), user=restores)
    url = into.url("copy", serves)
    assert migrate.migrate(url) == []
    await answers(url, model)
    into.admin("drop database copy with (force)")


async def test_a_dump_in_plain_sql_answers(
    elsewhere: Cluster, dumps: dict[str, Path], model: Model
) -> None:
    elsewhere.fresh("copy")
    elsewhere.admin("drop role if exists recall_service")
    elsewhere.program("psql", "-q", "-d", "copy", "-f", str(dumps["plain"]))
    assert migrate.migrate(elsewhere.url("copy")) == []
    await answers(elsewhere.url("copy"), model)


async def test_recalls_schemas_alone_answer(
    elsewhere: Cluster, dumps: dict[str, Path], model: Model
) -> None:
    elsewhere.fresh("copy")
    elsewhere.program("pg_restore", "-d", "copy", str(dumps["recall"]))
    assert migrate.migrate(elsewhere.url("copy")) == []
    await answers(elsewhere.url("copy"), model)


async def test_the_schema_and_then_the_rows_answer(
    here: Cluster, dumps: dict[str, Path], model: Model
) -> None:
    here.fresh("copy")
    here.program("pg_restore", "-d", "copy", str(dumps["schema"]))
    here.program("pg_restore", "-d", "copy", str(dumps["rows"]))
    assert migrate.migrate(here.url("copy")) == []
    await answers(here.url("copy"), model)


async def test_rows_without_their_sequences_positions_answer(
    here: Cluster, dumps: dict[str, Path], model: Model, tmp_path: Path
) -> None:
    here.fresh("copy")
    here.program("pg_restore", "-d", "copy", str(dumps["schema"]))
    listed = tmp_path / "list"
    here.program("pg_restore", "--list", "-f", str(listed), str(dumps["rows"]))
    rows = [line for line in listed.read_text().splitlines() if "SEQUENCE SET" not in line]
    listed.write_text("\n".join(rows))
    here.program("pg_restore", "-d", "copy", "-L", str(listed), str(dumps["rows"]))
    assert migrate.migrate(here.url("copy")) == []
    await answers(here.url("copy"), model)


async def test_pgvector_in_another_schema_costs_vectors_that_are_made_again(
    here: Cluster, dumps: dict[str, Path], model: Model
) -> None:
    here.fresh("copy", vector="extensions")
    complaint = here.program("pg_restore", "-d", "copy", str(dumps["all"]))
    assert "halfvec" in complaint
    url = here.url("copy")
    lost, _ = migrate.differences(url)
    assert any(part.startswith("create table recall.embedding (profile_id") for part in lost)
    assert migrate.migrate(url) == []
    await answers(url, model)


async def test_a_restored_database_that_is_not_mended_is_never_called_well(
    elsewhere: Cluster, dumps: dict[str, Path]
) -> None:
    elsewhere.fresh("copy")
    elsewhere.admin("drop role if exists recall_service")
    elsewhere.program("pg_restore", "-d", "copy", "--no-owner", "--no-acl", str(dumps["all"]))
    url = elsewhere.url("copy")
    with pytest.raises(SchemaRefused, match=r"has lost \d+ parts of .*recall migrate"):
        migrate.check(url)
    async with opened(url) as database:
        found = [f.counts for f in await doctor.examine(database, fix=False) if f.found]
    assert "lost: create role recall_service nologin noinherit nobypassrls" in found
    assert sum("create policy own_row" in counts for counts in found) == 9
    assert sum("grant select on table" in counts for counts in found) == 11


async def test_an_owner_who_may_not_act_as_recalls_role_is_told_what_to_do(
    here: Cluster, dumps: dict[str, Path], model: Model
) -> None:
    """Another owner in the same cluster: the role is there, and is not theirs."""
    here.admin("drop role if exists stranger")
    here.admin("create role stranger login")
    here.fresh("copy", owner="stranger")
    restore = ("-d", "copy", "--no-owner", str(dumps["all"]))
    here.program("pg_restore", *restore, user="stranger")
    url = here.url("copy", "stranger")
    with pytest.raises(Misconfigured, match="grant recall_service to"):
        migrate.migrate(url)
    here.admin("grant recall_service to stranger")
    assert migrate.migrate(url) == []
    await answers(url, model)
    here.admin("drop database copy with (force)")
    here.admin("drop role stranger")


async def test_tables_of_another_role_are_told_of(here: Cluster, dumps: dict[str, Path]) -> None:
    here.fresh("copy")
    restore = ("-d", "copy", "--no-owner", str(dumps["all"]))
    here.program("pg_restore", *restore, user="postgres")
    with pytest.raises(
        Misconfigured, match="belongs to postgres, whom the role of the URL may not"
    ):
        migrate.migrate(here.url("copy"))
