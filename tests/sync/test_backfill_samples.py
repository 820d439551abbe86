"""Backfill of every sample: counted, twice, torn at every row, and killed for good."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from histories import Tearing, Torn, stored
from made_exports import BRANCHES, ROOT, claude, said, talk, written
from samples import SAMPLES, Sample, opened
from sources_reading import sample

from recall.memory import keys
from recall.sources.opening import open_source
from recall.sync import ahead
from recall.sync.backfill import backfill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio


@pytest.fixture(params=SAMPLES, ids=str)
def each(request: pytest.FixtureRequest) -> Sample:
    wanted: Sample = request.param
    return wanted


@pytest.fixture
def target(each: Sample, empty_url: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Where the sample lies, and its own count of its rows by kind."""
    with opened(each, empty_url) as found:
        yield found


async def test_its_rows_are_stored_or_skipped_and_a_second_run_stores_nothing(
    each: Sample,
    target: tuple[str, dict[str, int]],
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
) -> None:
    place, counted = target
    assert counted == each.rows, "by the source's own count"
    assert open_source(place).system.name == each.name
    first = await backfill(database, caller, open_source(place))
    assert first.read == each.read == open_source(place).count()
    assert (first.stored, first.known, first.changed) == (sum(each.stored.values()), 0, 0)
    assert first.skipped == each.skipped
    kinds = "select kind, count(*) from memory where key not like '%#%' group by 1"
    assert dict(owner.execute(kinds.encode()).fetchall()) == each.stored
    second = await backfill(database, caller, open_source(place))
    assert (second.stored, second.changed, second.known) == (0, 0, first.stored)
    assert (second.read, second.skipped) == (first.read, first.skipped)


async def torn(
    database: Database,
    owner: psycopg.Connection[Any],
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupt a backfill behind every single row; it must end as if it never had been."""
    undisturbed = await keys.caller_of(database, "undisturbed")
    whole = await backfill(database, undisturbed, open_source(place))
    monkeypatch.setattr(ahead, "BATCH_ITEMS", 1)
    caller = await keys.caller_of(database, "torn")
    interruptions = 0
    while True:
        try:
            tally = await backfill(database, caller, Tearing(open_source(place), 1))
            break
        except Torn:
            interruptions += 1
    assert interruptions == len(list(open_source(place).read())) - 1
    assert tally == whole
    assert stored(owner, caller) == stored(owner, undisturbed)


async def test_torn_behind_every_row_it_ends_as_if_undisturbed(
    target: tuple[str, dict[str, int]],
    database: Database,
    owner: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await torn(database, owner, target[0], monkeypatch)


@pytest.mark.parametrize("kind", ["chatgpt", "claude"])
async def test_exports_torn_behind_every_row_end_as_if_undisturbed(
    kind: str,
    database: Database,
    owner: psycopg.Connection[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conversation = (
        talk(*BRANCHES, current_node="a2")
        if kind == "chatgpt"
        else claude(said("q", "hello", ROOT), said("a", "hi", "q"), said("b", "", "a"))
    )
    again = {**conversation, "id": "d", "uuid": "d"}
    place = written(tmp_path / "conversations.json", conversation, again)
    assert open_source(place).system.name == kind
    await torn(database, owner, place, monkeypatch)


#: Backfills a row at a time and slowly, and kills itself before a row.
KILLED = """
import asyncio, os, signal, sys, time
from recall.sync import ahead
from recall.sync.backfill import backfill
from recall.database.caller import Caller
from recall.database.units import Database
from recall.base.settings import Settings
from recall.sources.opening import open_source

ahead.BATCH_ITEMS = 1
class Slow:
    def __init__(self, source):
        self.source, self.system, self.origin = source, source.system, source.origin
    def read(self, after=None):
        for number, item in enumerate(self.source.read(after)):
            if number == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)
            yield item

async def main():
    database = Database(sys.argv[1], Settings())
    await database.open()
    await backfill(database, Caller(1), Slow(open_source(sys.argv[2])))

asyncio.run(main())
"""
FILES = [each for each in SAMPLES if each.where == "file"]


@pytest.mark.parametrize("each", FILES, ids=str)
async def test_killed_in_the_middle_it_ends_as_if_undisturbed(
    each: Sample,
    database: Database,
    database_url: str,
    caller: Caller,
    owner: psycopg.Connection[Any],
) -> None:
    place = sample(each.file)
    command = [sys.executable, "-c", KILLED, database_url, place, str(each.read // 2 + 1)]
    killed = await asyncio.to_thread(subprocess.run, command, env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    undisturbed = await keys.caller_of(database, "undisturbed")
    whole = await backfill(database, undisturbed, open_source(place))
    assert 0 < len(stored(owner, caller)) < len(stored(owner, undisturbed))
    assert await backfill(database, caller, open_source(place)) == whole
    assert stored(owner, caller) == stored(owner, undisturbed)
