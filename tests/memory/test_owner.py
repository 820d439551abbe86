"""The database's owner is no superuser on Neon; everything works for such a role too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import make_home, remove_home

from recall.base.settings import Settings
from recall.contract.values import Message, Question
from recall.database.units import Database
from recall.embedded import keeper
from recall.indexing import profiles
from recall.indexing.recipe import RECIPE
from recall.indexing.worker import Worker
from recall.memory import keys, memories
from recall.memory.forget import forget_session
from recall.retrieval.search import Searcher
from recall.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.embedding import Model

pytestmark = pytest.mark.anyio


@pytest.fixture
def plain_owner() -> Iterator[str]:
    """The URL of a database on a server of its own, as an owner with the rights of Neon's.

    Roles belong to a server: on the shared one a superuser has made recall's already.
    """
    home = make_home()
    use = keeper.start(home)
    url = use.server.url()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension vector")  # trusted on Neon, so its owner may
        connection.execute("create role plain login createrole createdb")
        connection.execute("alter database recall owner to plain")
    yield url.replace("postgres@", "plain@")
    use.release()
    remove_home(home)


async def test_a_role_without_superuser_migrates_indexes_and_asks(
    plain_owner: str, model: Model
) -> None:
    assert migrate.migrate(plain_owner)
    assert migrate.migrate(plain_owner) == []
    settings = Settings.load(database_url=plain_owner)
    database = Database(plain_owner, settings)
    await database.open()
    try:
        profile = await profiles.ensure_profile(database, model.embedder.identity, RECIPE)
        ours, theirs = [await keys.caller_of(database, name) for name in ("ours", "theirs")]
        said = Message(session_id="s", role="user", content="The lamp is green.")
        await memories.save_messages(database, ours, [said])
        await Worker(database, model.documents, profile, settings).drain()
        searcher = Searcher(database, profile, model.questions)
        found = await searcher.recall(ours, Question(query="green lamp"))
        assert [hit.content for hit in found.results] == ["The lamp is green."]
        assert (await searcher.recall(theirs, Question(query="green lamp"))).results == ()
        deleted = await forget_session(database, ours, "s")
        assert deleted == 1
    finally:
        await database.close()
