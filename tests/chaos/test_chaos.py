"""`recall chaos` itself: that it hurts, in every way, and sees what is wrong."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from recall.chaos import checks
from recall.chaos.book import Book, Card, Row
from recall.contract.values import Message
from recall.memory import memories

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from recall.base.settings import Settings
    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.embedding import Embedder
    from recall.indexing.worker import Worker

#: A run is chance as much as seed; another one is tried with TEST_CHAOS_SEED, also `random`.
SEED = os.environ.get("TEST_CHAOS_SEED", "7")
PATIENCE = 300.0  # seconds; half of it unless the machine is busy
KINDS = {
    *("kill", "stop and continue", "mute", "deafen", "refuse", "delay", "cut", "vanish"),
    *("lose a COMMIT", "suspend", "kill postmaster", "kill backend", "kill keeper"),
}
#: What needs something installed or allowed, and how a run begins to say that it is missing.
IF_POSSIBLE = {
    "kill PgBouncer": "PgBouncer is not installed",
    "fill the disk": "No small disk can be mounted",
    "turn the clock": "libfaketime is not installed",
}


def chaos(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RECALL_HOME": str(home), "RECALL_ENGINE": "cpu-int8"}
    command = [sys.executable, "-m", "recall", "chaos", *arguments]
    process = subprocess.Popen(
        command,
        env=environment | {"COLUMNS": "500"},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()  # it puts its own processes away
        output, errors = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def test_trouble_of_every_kind_loses_doubles_and_raises_nothing(
    home: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = str(random.randrange(10**6)) if SEED == "random" else SEED
    ended = chaos(home, "--seconds", "0", "--seed", seed)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (settled,) = re.findall(r"queue empty +([\d.]+) s", ended.stdout)
    with capsys.disabled():
        print(f"\n  chaos, seed {seed}: queue empty {settled} s after everything was healed")
    assert f"recall chaos --seed {seed}" in ended.stdout
    (line,) = re.findall(r"^ *faults +(.+?) *$", ended.stdout, re.MULTILINE)
    possible = {kind for kind, missing in IF_POSSIBLE.items() if missing not in ended.stdout}
    assert {each.rpartition(" ")[0] for each in line.split(", ")} == KINDS | possible


def test_a_database_that_is_given_is_hurt_by_its_network_alone(
    home: Path, embedder: Embedder, database_url: str
) -> None:
    ended = chaos(home, "--seconds", "5", "--seed", "1", "--database", database_url)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "only its network and recall are hurt" in ended.stdout
    again = chaos(home, "--seconds", "5", "--database", database_url)
    assert again.returncode == 1
    assert "holds memories" in again.stderr
    assert "Traceback" not in again.stderr


def card(tag: str, text: str | None, id: int | None = None) -> Card:
    return Card(tag, "message", None, "s", "u", {text}, id)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("lost", []),
        ("stored twice", [Row(1, None, "a said"), Row(2, None, "a said")]),
        ("not as last said", [Row(1, None, "a said before")]),
        ("not as last said", [Row(2, None, "a said")]),
        ("of nobody", [Row(1, None, "a said"), Row(2, None, "b said")]),
    ],
)
def test_what_is_not_as_it_was_acknowledged_is_seen(kind: str, rows: list[Row]) -> None:
    book = Book()
    book.open(card("a", "a said", 1))
    assert [name for name, wrong in book.differences(rows).items() if wrong] == [kind]


def test_what_is_back_though_it_was_erased_is_seen() -> None:
    book = Book()
    book.open(card("a", None, 1))
    assert book.differences([]) == {name: [] for name in book.differences([])}
    assert book.differences([Row(1, None, "a said")])["back though erased"] == ["a"]


def test_a_request_without_answer_may_have_taken_effect_or_not_and_once() -> None:
    book = Book()
    unknown = book.open(card("a", None))
    unknown.wish("a said")
    unknown.unanswered()
    once = [Row(1, None, "a said")]
    for rows in ([], once):
        assert not any(book.differences(rows).values())
    assert book.differences(once * 2)["stored twice"]


@pytest.mark.anyio
async def test_what_is_wrong_in_the_index_is_seen(
    database: Database,
    caller: Caller,
    worker: Worker,
    settings: Settings,
    database_url: str,
    owner: psycopg.Connection[Any],
) -> None:
    book = Book()
    messages = [
        Message(session_id="s", role="user", content=f"{mark} says that it rains")
        for mark in ("a", "b", "c")
    ]
    stored = await memories.save_messages(database, caller, messages)
    for message, id in zip(messages, stored.ids, strict=True):
        book.open(card(message.content[0], message.content, id))
    assert len(checks.differences_from(database_url, book)["not indexed once"]) == 3
    assert checks.wait_until_empty(database_url, 0.1)[1] == 3
    await worker.drain()
    assert not any(checks.differences_from(database_url, book).values())
    assert checks.wait_until_empty(database_url, 0.1)[1] == 0
    owner.execute("delete from embedding where chunk_id = (select min(id) from chunk)")
    assert len(checks.differences_from(database_url, book)["not indexed once"]) == 1
    owner.execute("update word_count set chunks = chunks + 1")
    found = await checks.findings(database_url, settings)
    assert any("word counts" in each for each in found)
