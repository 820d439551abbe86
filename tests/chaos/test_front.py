"""The front that stands in for Neon's: what it does to a plain client, before recall meets it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import name_of

from recall.chaos import pooler
from recall.chaos.certificate import make_certificate
from recall.chaos.front import Backend, Front
from recall.embedded.cluster import PORT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Sleeper

    from recall.chaos.neon import Neon

    Connection = psycopg.Connection[Any]

PATIENCE = 20.0  # seconds; everything here is quick unless the machine is busy


@pytest.fixture
def database_url(sleeper: Sleeper) -> Iterator[str]:
    """A plain database with a table `line`, on the server that may sleep."""
    url = sleeper.databases.create()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table line (said text)")
    yield url
    sleeper.heal()
    sleeper.databases.drop(url)


@pytest.fixture
def neon(sleeper: Sleeper) -> Neon:
    return sleeper.neon


@pytest.fixture
def pooled(neon: Neon, database_url: str) -> str:
    """The URL of traffic."""
    return neon.pooled_url(name_of(database_url))


def connect(url: str, **more: Any) -> Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None, **more)


def value(connection: Connection, statement: Any = "select 1") -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def rows(sleeper: Sleeper, url: str) -> int:
    """Return how many lines there are, asked past the fronts."""
    with psycopg.connect(sleeper.neon.server.url(name_of(url))) as connection:
        return int(value(connection, "select count(*) from line"))


def insert(connection: Connection, pipelined: bool) -> None:
    with ExitStack() as stack:
        if pipelined:
            stack.enter_context(connection.pipeline())
        stack.enter_context(connection.transaction())
        connection.execute("insert into line values (%s)", ["said"])


@contextmanager
def soon(action: Any, seconds: float = 0.5) -> Iterator[None]:
    """Do `action` a moment after the block has begun."""
    timer = threading.Timer(seconds, action)
    timer.start()
    yield
    timer.join()


@contextmanager
def again_and_again(action: Any, seconds: float = 0.5) -> Iterator[None]:
    """Do `action` every so many seconds until the block ends: once may be too early."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            with suppress(psycopg.Error):  # nothing runs there any more
                action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_tls_ends_at_the_front_and_its_certificate_can_be_verified(
    neon: Neon, pooled: str, tmp_path: Path
) -> None:
    with connect(pooled) as connection:
        assert value(connection) == 1
        assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match="insecure"):
        connect(pooled.replace("verify-full", "disable"))
    stranger = make_certificate(tmp_path)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(pooled, sslrootcert=str(stranger.certificate))


def test_a_login_by_password_passes_untouched(neon: Neon, database_url: str) -> None:
    hba = neon.server.data / "pg_hba.conf"
    with connect(database_url) as connection:
        connection.execute("create role locked login password 'open sesame'")
        before = hba.read_text()
        hba.write_text(f"local all locked scram-sha-256\n{before}")
        connection.execute("select pg_reload_conf()")
        try:
            time.sleep(0.1)
            with connect(database_url, user="locked", password="open sesame") as other:
                assert value(other, "select current_user") == "locked"
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                connect(database_url, user="locked", password="open barley")
        finally:
            hba.write_text(before)
            connection.execute("drop role locked")
            connection.execute("select pg_reload_conf()")


def test_what_goes_by_is_counted(neon: Neon, database_url: str) -> None:
    before = neon.direct.traffic
    with connect(database_url) as connection:
        value(connection, "select repeat('x', 1000)")
        with connection.pipeline():
            connection.execute("select %s", [1])
            connection.execute("select %s", [2])
    after = neon.direct.traffic
    assert after.connections == before.connections + 1
    assert after.statements == before.statements + 3
    assert after.up > before.up + 50
    assert after.down > before.down + 1000


def test_much_passes_in_both_directions(pooled: str) -> None:
    text = "all work and no play " * 200_000
    with connect(pooled) as connection:
        (back,) = connection.execute("select %s", [text]).fetchone() or ("",)
    assert back == text


def test_a_way_takes_as_long_as_it_is_told(neon: Neon, pooled: str) -> None:
    with connect(pooled) as connection:
        neon.pooled.delay(up=0.02, down=0.03)
        began = time.monotonic()
        for _ in range(4):
            value(connection)
        assert time.monotonic() - began >= 4 * 0.05


def test_what_a_mute_network_held_arrives_when_it_is_back(
    neon: Neon, sleeper: Sleeper, database_url: str
) -> None:
    connection = connect(database_url)
    neon.direct.mute()
    connection.pgconn.send_query(b"insert into line values ('late')")
    connection.pgconn.flush()
    connection.close()  # nobody waits for it any more
    time.sleep(0.2)
    assert rows(sleeper, database_url) == 0
    with soon(neon.direct.heal), connect(database_url) as another:
        assert value(another) == 1  # a new connection waited as well
    wait_for(lambda: rows(sleeper, database_url) == 1)


def test_a_deaf_network_brings_requests_and_no_answers(
    neon: Neon, sleeper: Sleeper, database_url: str
) -> None:
    connection = connect(database_url)
    neon.direct.deafen()
    connection.pgconn.send_query(b"insert into line values ('heard')")
    connection.pgconn.flush()
    wait_for(lambda: rows(sleeper, database_url) == 1)
    time.sleep(0.1)
    connection.pgconn.consume_input()
    assert connection.pgconn.is_busy()  # no answer came
    connection.close()


def test_a_connection_that_vanished_says_nothing_and_a_new_one_works(
    neon: Neon, pooled: str
) -> None:
    connection = connect(pooled)
    neon.pooled.vanish()
    connection.pgconn.send_query(b"select 1")
    connection.pgconn.flush()
    with connect(pooled) as another:
        assert value(another) == 1
    time.sleep(0.2)
    connection.pgconn.consume_input()
    assert connection.pgconn.is_busy()
    connection.close()


def test_who_is_refused_is_told_at_once_and_who_was_there_stays(neon: Neon, pooled: str) -> None:
    with connect(pooled) as connection:
        value(connection)
        neon.pooled.refuse()
        with pytest.raises(psycopg.OperationalError):
            connect(pooled)
        assert value(connection) == 1


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize(("reached", "stored"), [(True, 1), (False, 0)])
def test_the_answer_to_commit_is_lost_or_the_commit_itself(
    neon: Neon, sleeper: Sleeper, pooled: str, *, reached: bool, stored: int, pipelined: bool
) -> None:
    with connect(pooled) as connection:
        neon.pooled.lose(reached=reached)
        with pytest.raises(psycopg.OperationalError) as caught:
            insert(connection, pipelined)
        assert caught.value.sqlstate is None
    assert rows(sleeper, pooled) == stored
    with connect(pooled) as connection:
        insert(connection, pipelined)  # once only
    assert rows(sleeper, pooled) == stored + 1
    assert neon.pooled.losses_left == 0


def test_a_commit_may_arrive_when_its_client_is_gone(
    neon: Neon, sleeper: Sleeper, pooled: str
) -> None:
    with connect(pooled) as connection:
        neon.pooled.lose(reached=False, late=0.3)
        with pytest.raises(psycopg.OperationalError):
            insert(connection, True)
    assert rows(sleeper, pooled) == 0
    wait_for(lambda: rows(sleeper, pooled) == 1)


def test_a_cancellation_passes(pooled: str) -> None:
    with connect(pooled) as connection:
        value(connection)
        with again_and_again(connection.cancel_safe), pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")


def test_a_lost_answer_may_leave_silence_behind(neon: Neon, sleeper: Sleeper, pooled: str) -> None:
    connection = connect(pooled)
    neon.pooled.lose(silent=True)
    with soon(neon.pooled.cut), pytest.raises(psycopg.OperationalError):
        insert(connection, True)
    assert rows(sleeper, pooled) == 1
    connection.close()


@pytest.mark.skipif(not pooler.installed(), reason="PgBouncer is not installed")
def test_a_suspend_looks_as_it_does_on_neon(neon: Neon, pooled: str, database_url: str) -> None:
    with connect(pooled) as by_pooler, connect(database_url) as direct:
        value(by_pooler), value(direct)
        neon.suspend()
        with pytest.raises(psycopg.OperationalError) as told:
            value(by_pooler)
        assert told.value.sqlstate is None  # an end of file, nothing more
        with pytest.raises(psycopg.errors.AdminShutdown):
            value(direct)


def test_eight_that_connect_at_once_wake_the_server_once(
    neon: Neon, pooled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    neon.suspend()

    def ask(_: int) -> float:
        began = time.monotonic()
        with connect(pooled) as connection:
            assert value(connection) == 1
        return time.monotonic() - began

    with ThreadPoolExecutor(8) as threads:
        took = sorted(threads.map(ask, range(8)))
    with capsys.disabled():
        print(f"\n  eight woke a server: {took[0]:.2f} to {took[-1]:.2f} s")
    assert took[-1] < PATIENCE


@pytest.mark.anyio
async def test_a_front_stands_in_the_callers_loop_as_well(
    sleeper: Sleeper, anyio_backend: str
) -> None:
    front = Front(Backend(str(sleeper.neon.server.socket), PORT))
    await front.open()
    try:
        url = f"postgresql://postgres@127.0.0.1:{front.port}/postgres?sslmode=disable"
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            assert await (await connection.execute("select 1")).fetchone() == (1,)
            assert front.lines == 1
    finally:
        await front.aclose()


def wait_for(fact: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)
