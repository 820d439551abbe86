"""The journeys of design.md with `recall serve` as its users start it: a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import psycopg
from conftest import ENGINE

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 600
BATCH = 12
PATIENCE = 90.0  # seconds


class Serving:
    """`recall serve` on its embedded Postgres."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        own = {"RECALL_HOME": str(home), "RECALL_ENGINE": ENGINE, "RECALL_SAMPLE": "0"}
        own |= {"RECALL_LEASE": "3"}  # seconds until what a killed worker held is claimed again
        with (home / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recall", "serve", "--port", str(self.port)],
                env=os.environ | own | environment,
                cwd=home,
                stdout=log,
                stderr=log,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(httpx.TransportError):
                if self.client.get("/health").status_code == 200:
                    return
            assert self.process.poll() is None, (home / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self, *numbers: int) -> None:
        """kill -9 of the service and of `numbers`."""
        for number in (self.process.pid, *numbers):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
        self.client.close()

    def stop(self) -> int:
        """Ask the service to end, and return what it ended with."""
        self.process.terminate()
        self.client.close()
        return self.process.wait(timeout=30)


def postgres_of(home: Path) -> list[int]:
    """Return the postmaster and its children."""
    file = home / "postgres" / "data" / "postmaster.pid"
    master = psutil.Process(int(file.read_text().splitlines()[0]))
    return [master.pid, *(child.pid for child in master.children())]


def batch(start: int) -> list[dict[str, Any]]:
    return [
        {"session_id": f"s{n % 9}", "role": "user", "key": f"k{n}", "content": f"Message {n % 40}"}
        for n in range(start, min(start + BATCH, MESSAGES))
    ]


def post_until_it_breaks(serving: Serving, start: int, kill_at: int | None) -> tuple[int, set[str]]:
    """Post batches; return the first that was not acknowledged and the keys that were."""
    acknowledged: set[str] = set()
    while start < MESSAGES:
        given = batch(start)
        if kill_at is not None and start >= kill_at:
            numbers = postgres_of(serving.home)
            with suppress(httpx.TransportError):
                serving.client.post("/messages", json={"messages": given}, timeout=0.02)
            serving.kill(*numbers)
            return start, acknowledged
        answer = serving.client.post("/messages", json={"messages": given})
        assert answer.status_code == 202, answer.text
        assert len(answer.json()["ids"]) == len(given)
        acknowledged |= {message["key"] for message in given}
        start += BATCH
    return start, acknowledged


def test_whatever_dies_every_acknowledged_message_is_there_once_and_indexed(
    prepared_home: Path,
) -> None:
    start, acknowledged = 0, set()
    for kill_at in (200, None):
        serving = Serving(prepared_home)
        start, more = post_until_it_breaks(serving, start, kill_at)
        acknowledged |= more
    deadline = time.monotonic() + PATIENCE
    while (status := serving.client.get("/status").json())["pending"]:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    assert (status["memories"], status["chunks"], status["failed"]) == (MESSAGES, MESSAGES, 0)
    from recall.embedded import keeper

    use = keeper.start(prepared_home)
    with psycopg.connect(use.server.url(), options="-c search_path=recall,public") as connection:
        rows = connection.execute("select key, count(*) from memory group by 1").fetchall()
        chunks = connection.execute("select count(distinct memory_id), count(*) from chunk")
        assert dict(rows) == {f"k{n}": 1 for n in range(MESSAGES)}
        assert acknowledged <= {row[0] for row in rows}
        assert chunks.fetchone() == (MESSAGES, MESSAGES)
    use.release()
    assert serving.stop() in {0, -signal.SIGTERM}


def test_a_message_is_posted_awaited_and_recalled_and_the_sample_answers_at_once(
    prepared_home: Path,
) -> None:
    serving = Serving(prepared_home, RECALL_SAMPLE="1")
    status = serving.client.get("/status").json()
    assert status["memories"] > 100 and status["pending"] == 0
    first = serving.client.post("/recall", json={"query": "Which database did we choose?"}).json()
    assert len(first["results"]) == 10
    turn = {
        "session_id": "new",
        "role": "user",
        "content": "The parrot is called Admiral Crackers.",
    }
    posted = serving.client.post("/messages", json={"messages": [turn]}, params={"wait": 30}).json()
    assert posted["pending"] == 0
    for mode in ("hybrid", "semantic", "keyword"):
        answer = serving.client.post(
            "/recall", json={"query": "what is the parrot called?", "mode": mode}
        ).json()
        assert answer["results"][0]["id"] == posted["ids"][0], mode
    assert serving.client.delete("/sessions/new").json() == {"deleted": 1}
    assert serving.stop() in {0, -signal.SIGTERM}


def test_without_a_key_the_network_is_refused_in_a_sentence(
    database_url: str, prepared_home: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recall", "serve", "--host", "0.0.0.0", "--port", "0"],
        env=os.environ
        | {
            "DATABASE_URL": database_url,
            "RECALL_HOME": str(prepared_home),
            "RECALL_ENGINE": ENGINE,
        },
        cwd=prepared_home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert "would serve everybody without a key" in done.stderr
    assert "Traceback" not in done.stderr
