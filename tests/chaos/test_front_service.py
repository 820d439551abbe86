"""The service while its database sleeps, is cut off, or is silent: every request ends, in truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from conftest import name_of

from recall.chaos import pooler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Running, Sleeper

    from recall.base.settings import Settings
    from recall.chaos.front import Front
    from recall.chaos.neon import Neon

PATIENCE = 20.0  # seconds; everything here is quick unless the machine is busy
#: The deadline of a request in the database, and what may come on top on a busy machine.
DEADLINE, SLACK = 1.5, 6.0


@pytest.fixture
def database_url(sleeping_url: str) -> str:
    return sleeping_url


@pytest.fixture
def settings(sleeping_settings: Settings) -> Settings:
    return sleeping_settings.model_copy(update={"statement_timeout": DEADLINE})


@pytest.fixture
def neon(sleeper: Sleeper) -> Neon:
    return sleeper.neon


@pytest.fixture
def front(neon: Neon) -> Front:
    return neon.pooled


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=32)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
        yield client


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("/recall", json={"query": "where is the lamp", "mode": "keyword"})


def post(client: httpx.Client, content: str, **more: Any) -> httpx.Response:
    message = {"session_id": "s", "role": "user", "content": content, **more}
    return client.post("/messages", json={"messages": [message]})


def contents(url: str) -> list[str]:
    with psycopg.connect(url, options="-c search_path=recall") as connection:
        found = connection.execute("select content from memory order by content")
        return [text for (text,) in found]


def at_once(action: Callable[[int], Any], times: int) -> list[tuple[Any, float]]:
    """Return what each of so many threads was answered, and the seconds it took."""

    def timed(number: int) -> tuple[Any, float]:
        began = time.monotonic()
        return action(number), time.monotonic() - began

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(timed, range(times)))


def either(client: httpx.Client, number: int) -> httpx.Response:
    return post(client, f"number {number}", key=str(number)) if number % 2 else ask(client)


def test_the_first_request_after_a_suspend_is_answered(client: httpx.Client, neon: Neon) -> None:
    assert ask(client).status_code == 200
    neon.suspend()
    assert ask(client).status_code == 200
    neon.suspend()
    assert post(client, "good morning").status_code == 202


def test_eight_requests_after_a_suspend_are_all_answered(
    client: httpx.Client, neon: Neon, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once(lambda n: either(client, n), 8)
    neon.suspend()
    began = time.monotonic()
    neon.wake()
    wake = time.monotonic() - began
    neon.suspend()
    answers = at_once(lambda n: either(client, n + 8), 8)
    assert [answer.status_code for answer, _ in answers] == [200, 202] * 4
    with capsys.disabled():
        print(f"\n  a wake takes {wake:.2f} s; slowest of eight {max(t for _, t in answers):.2f} s")


def test_a_request_that_is_cut_off_in_the_middle_is_answered_all_the_same(
    client: httpx.Client, neon: Neon, database_url: str
) -> None:
    lock = "select pg_advisory_lock(1); lock table recall.memory in exclusive mode"
    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as thread:
        holder.execute(lock)
        waiting = thread.submit(post, client, "held up")
        blocked = "select count(*) from pg_locks where not granted"
        with psycopg.connect(database_url, autocommit=True) as watch:
            wait_for(lambda: (watch.execute(blocked).fetchone() or (0,))[0] > 0)
        neon.suspend()  # the holder's lock goes with the server
        assert waiting.result().status_code == 202
        holder.close()
    assert contents(database_url) == ["held up"]


@pytest.mark.parametrize("reached", [True, False])
def test_a_message_whose_acknowledgement_was_lost_is_there_once(
    client: httpx.Client, front: Front, database_url: str, *, reached: bool
) -> None:
    front.lose(reached=reached)
    answer = post(client, "once")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert front.losses_left == 0
    assert contents(database_url) == ["once"]


@pytest.mark.parametrize("reached", [True, False])
def test_an_erasure_whose_acknowledgement_was_lost_is_answered_as_done(
    client: httpx.Client, front: Front, database_url: str, *, reached: bool
) -> None:
    (one,) = post(client, "one", user_id="ann").json()["ids"]
    post(client, "two", user_id="ann")
    post(client, "three", user_id="ann")
    front.lose(reached=reached)
    assert client.delete(f"/messages/{one}").json() == {"deleted": 1}
    front.lose(reached=reached)
    assert client.delete("/users/ann").json() == {"deleted": 2}
    assert front.losses_left == 0
    assert contents(database_url) == []
    assert client.delete(f"/messages/{one}").status_code == 404


@pytest.mark.parametrize("fault", ["mute", "deafen", "vanish"])
def test_every_request_ends_in_time_and_service_returns_with_the_network(
    client: httpx.Client, front: Front, database_url: str, fault: str
) -> None:
    at_once(lambda n: either(client, n), 16)  # every connection of the pool is open
    getattr(front, fault)()
    answers = at_once(lambda n: either(client, n), 16)
    for answer, took in answers:
        assert took < DEADLINE + SLACK
        if answer.status_code == 503:
            assert answer.json()["error"]["message"].endswith(".")
        else:  # what vanished is found out, and a new connection is made in time
            assert fault == "vanish"
            assert answer.status_code in {200, 202}
    assert client.get("/health").status_code == 200
    front.heal()
    began = time.monotonic()
    wait_for(lambda: ask(client).status_code == 200)
    assert time.monotonic() - began < 5.0
    answers = at_once(lambda n: either(client, n), 16)
    assert {answer.status_code for answer, _ in answers} <= {200, 202}
    assert contents(database_url) == sorted(f"number {n}" for n in range(1, 16, 2))


def test_a_network_that_refuses_is_said_to_be_out_of_reach(
    client: httpx.Client, front: Front
) -> None:
    assert ask(client).status_code == 200
    front.refuse()
    front.cut()
    answer = ask(client)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "unavailable"
    assert answer.json()["error"]["message"].endswith(".")
    assert client.get("/ready").status_code == 503
    front.heal()
    wait_for(lambda: client.get("/ready").status_code == 200)


def test_who_is_idle_sends_nothing_and_lets_the_database_sleep(
    client: httpx.Client, neon: Neon, database_url: str
) -> None:
    assert post(client, "the last for a while").status_code == 202
    wait_for(lambda: client.get("/status").json()["pending"] == 0)
    fronts = (neon.pooled, neon.direct)
    time.sleep(2.5)  # rings are heard, what was appended is folded
    # Past the fronts, what Neon looks at: new sessions, and when a client's state last changed.
    sessions = "select sessions, now() from pg_stat_database where datname = %s"
    active = """
        select count(*) from pg_stat_activity where datname = %s
        and (state <> 'idle' or state_change > %s) and backend_type = 'client backend'
    """
    name = name_of(database_url)
    with psycopg.connect(neon.server.url("postgres"), autocommit=True) as watch:
        before, since = watch.execute(sessions, [name]).fetchone() or (None, None)
        traffic = [front.traffic for front in fronts]
        time.sleep(3.0)
        assert client.get("/health").status_code == 200
        assert [front.traffic for front in fronts] == traffic
        assert watch.execute(active, [name, since]).fetchone() == (0,)
        assert (watch.execute(sessions, [name]).fetchone() or (None,))[0] == before


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_ends_when_told_to_though_the_network_is_mute(
    command: str, neon: Neon, settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = os.environ | {
        "DATABASE_URL": settings.pooled_url,
        "DATABASE_DIRECT_URL": settings.direct_url,
        "RECALL_HOME": str(settings.home),
        "RECALL_ENGINE": settings.engine,
        "RECALL_PORT": "0",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recall", command],
            env=environment,
            stdout=output,
            stderr=output,
            cwd=tmp_path,
        )
    try:
        runs = {"serve": "Serving on", "worker": "Indexing what is queued"}[command]
        wait_for(lambda: runs in log.read_text() or process.poll() is not None, 90.0)
        assert process.poll() is None, log.read_text()
        wait_for(lambda: neon.direct.lines > 0)  # it listens
        time.sleep(1.0)
        for front in (neon.pooled, neon.direct):
            front.mute()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert time.monotonic() - began < 5.0 + 1.0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def wait_for(fact: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_pooler_of_these_tests_is_installed() -> None:
    """Without it all of the above is only about the front; CI has it."""
    if not pooler.installed():
        pytest.skip("PgBouncer is not installed: outages were tried without a pooler")
