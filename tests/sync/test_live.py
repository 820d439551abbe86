"""The real writers at work while `recall follow` runs; TEST_LIVE_PYTHON names a Python with them.

Their requirements differ from recall's own (the Agents SDK wants an older `websockets`), so that
they live in an environment of their own; `.ci/run` makes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ENGINE

from recall.contract.values import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio

PYTHON = os.environ.get("TEST_LIVE_PYTHON", "")
WRITERS = Path(__file__).with_name("live_writers.py")

#: A server is read as a whole once a minute, for edits and deletions; a test cannot wait that long.
FOLLOW = """
from recall.sync import sweep
sweep.PASS = 1.0
from recall.cli import app
app()
"""


class Writer:
    """A real writer in its own Python."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, **order: str) -> None:
        """Let it do something, and wait until that is committed."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def writing(kind: str, package: str, place: str) -> Iterator[Writer]:
    if not PYTHON:
        pytest.skip("TEST_LIVE_PYTHON names no Python that has the real writers")
    if subprocess.run([PYTHON, "-c", f"import {package}"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no {package}")
    command = [PYTHON, "-W", "ignore", str(WRITERS), kind, place]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Writer(process)
        process.stdin.close()
    assert process.returncode == 0


@contextmanager
def following(database_url: str, home: Path, place: str) -> Iterator[None]:
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "RECALL_HOME": str(home),
        "RECALL_ENGINE": ENGINE,
    }
    command = [sys.executable, "-c", FOLLOW, "follow", place]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith("Following") for line in lines)
        yield
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 0


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file, or a database of the writer's own."""
    if request.param == "file":
        return str(tmp_path / "conversations.db")
    url: str = request.getfixturevalue("empty_url")
    return url


WORDS = ("harbour", "kitchen", "violin", "glacier", "lantern")


@pytest.mark.parametrize(
    ("kind", "package", "place"),
    [
        ("agents", "agents", "file"),
        ("chatkit", "chatkit, psycopg2", "postgres"),
        ("praisonai", "praisonai.persistence, psycopg2", "postgres"),
        ("praisonai", "praisonai.persistence", "file"),
    ],
    indirect=["place"],
)
async def test_what_real_software_says_edits_and_deletes_is_so_in_recall(
    kind: str,
    package: str,
    place: str,
    database: Database,
    database_url: str,
    home: Path,
    caller: Caller,
    searcher: Searcher,
) -> None:
    async def found(word: str, **more: Any) -> list[str]:
        answer = await searcher.recall(caller, Question(query=word, **more))
        return [hit.content for hit in answer.results]

    async def soon(text: str, is_there: Callable[[list[str]], bool], **more: Any) -> None:
        deadline = time.monotonic() + 60
        while not is_there(await found(text, **more)):
            assert time.monotonic() < deadline, (text, await found(text, **more))
            await asyncio.sleep(0.05)

    with writing(kind, package, place) as writer:
        writer.do(do="say", text="The first word.")
        with following(database_url, home, place):
            for word in WORDS:
                text = f"The {word} is closed."
                writer.do(do="say", text=text)
                await soon(word, lambda hits: text in hits, mode="keyword")  # noqa: B023
            for word in WORDS:
                assert f"The {word} is closed." in await found(f"Is the {word} open?")
            writer.do(do="edit", old="The violin is closed.", text="The trumpet is open.")
            await soon("trumpet", lambda hits: hits == ["The trumpet is open."], mode="keyword")
            await soon("violin", lambda hits: hits == [], mode="keyword")
            writer.do(do="delete", old="The glacier is closed.")
            await soon("glacier", lambda hits: hits == [], mode="keyword")
            hits = await found("What is closed?", limit=50)
            left = {"The harbour is closed.", "The kitchen is closed.", "The lantern is closed."}
            assert {hit for hit in hits if "closed" in hit} == left
            assert "The first word." in hits
