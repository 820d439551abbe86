"""Everything again behind a real PgBouncer in transaction mode, with fewer servers than clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import name_of

from recall.base.settings import Settings
from recall.contract.values import Message, Question
from recall.database.units import Database
from recall.indexing import doctor
from recall.indexing.worker import Worker
from recall.memory import keys, memories
from recall.retrieval.search import Searcher
from recall.schema import migrate, preflight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from recall.embedded import keeper
    from recall.embedding import Model
    from recall.indexing.profiles import Profile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed"),
]


@pytest.fixture
def pooled(postgres: keeper.Server, database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings whose pooled URL goes through PgBouncer, its direct URL past it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    name = name_of(database_url)
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"""
        [databases]
        {name} = host={postgres.socket} user=postgres
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = 2
        ignore_startup_parameters = extra_float_digits
        """.replace("        ", "")
    )
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:2]:
        folder.chmod(0o755)
    as_other = ["-u", postgres.account] if postgres.account else []
    process = subprocess.Popen(
        ["pgbouncer", "-q", *as_other, str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        _wait(port)
        url = f"postgres://postgres@127.0.0.1:{port}/{name}"
        yield Settings.load(database_url=url, database_direct_url=database_url, port=0)
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


async def test_tenants_stay_apart_while_their_transactions_share_servers(
    pooled: Settings, profile: Profile, model: Model
) -> None:
    database = Database(pooled.pooled_url, pooled)
    await database.open()
    try:
        callers = [await keys.caller_of(database, f"team {n}") for n in range(4)]
        batches = (
            memories.save_messages(
                database,
                caller,
                [
                    Message(session_id="s", role="user", content=f"tenant {caller.tenant} note {n}")
                    for n in range(10)
                ],
            )
            for caller in callers
        )
        await asyncio.gather(*batches)
        worker = Worker(database, model.documents, profile, pooled)
        assert await worker.drain() == 40
        searcher = Searcher(database, profile, model.questions)
        asked = [callers[n % 4] for n in range(40)]
        answers = await asyncio.gather(
            *(searcher.recall(caller, Question(query="tenant note", limit=20)) for caller in asked)
        )
    finally:
        await database.close()
    for caller, answer in zip(asked, answers, strict=True):
        assert len(answer.results) == 10
        assert all(hit.content.startswith(f"tenant {caller.tenant} ") for hit in answer.results)


async def test_a_schema_url_that_leads_through_the_pooler_is_said(
    pooled: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for direct, warned in ((pooled.direct_url, False), (pooled.pooled_url, True)):
        caplog.clear()
        await preflight.check_server(pooled.pooled_url, direct)
        assert ("Set DATABASE_DIRECT_URL to the server itself" in caplog.text) is warned
    caplog.clear()
    await preflight.check_server(pooled.pooled_url, pooled.pooled_url, writes=False)
    assert not caplog.text, "who only reads listens to nobody"


async def test_the_doctor_mends_through_the_pooler(
    pooled: Settings, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("drop policy own_rows on memory")
    owner.execute("drop function evidence")
    database = Database(pooled.pooled_url, pooled)
    await database.open()
    try:
        lost = [f.counts for f in await doctor.examine(database, fix=True) if f.repaired]
        assert len(lost) == 2
        assert not any(f.found for f in await doctor.examine(database, fix=False))
    finally:
        await database.close()
    assert migrate.differences(pooled.pooled_url) == ([], [])
