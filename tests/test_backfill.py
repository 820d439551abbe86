"""Backfill: interrupted anywhere, run again, it ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sources_reading import database as sqlite_file
from sources_reading import sample
from strategies import SENTENCES, SESSIONS, START
from typer.testing import CliRunner

from recall import backfill as module
from recall import build, keys, memories
from recall.backfill import Tally, Wanted, backfill
from recall.cli import app
from recall.errors import SourceUnreadable
from recall.models import Message, Note
from recall.sources import Found, Skipped
from recall.sources.registry import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recall.database import Database
    from recall.models import Profile
    from recall.worker import Worker

pytestmark = pytest.mark.anyio


class Torn(Exception):
    """The source broke."""


class History:
    """A source made of a list; it breaks before row `breaks_at`."""

    name = "made"

    def __init__(self, rows: int, origin: str = "here", breaks_at: int | None = None) -> None:
        self.origin = origin
        self._rows = rows
        self.breaks_at = breaks_at

    def read(self, after: Any = None) -> Iterator[Found | Skipped]:
        for n in range(after or 0, self._rows):
            if n == self.breaks_at:
                raise Torn(n)
            yield self._row(n)

    def _row(self, n: int) -> Found | Skipped:
        if n % 7 == 3:
            return Skipped("empty" if n % 2 else "not text", f"row {n}", n + 1)
        if n % 11 == 5:
            return Found(Note(content=f"note {n}", key=f"made:{n}"), n + 1)
        # Every thirteenth row tells an earlier one again.
        told = n - 2 if n % 13 == 12 else n
        text = f"{SENTENCES[told % len(SENTENCES)]} ({told})"
        message = Message(
            session_id=SESSIONS[told % 3],
            role="user",
            content=text,
            key=f"made:{told}",
            created_at=START,
        )
        return Found(message, n + 1)

    def count(self) -> int:
        return self._rows

    def rewind(self, position: Any) -> Any:
        return position

    def fingerprint(self) -> None:
        return None

    def ids(self) -> Iterator[str]:
        return iter(())


def stored(owner: psycopg.Connection[Any], tenant: int) -> list[Any]:
    """Return what is remembered, without what a second run may number differently."""
    return owner.execute(
        "select m.key, m.kind, s.key, m.content, m.created_at from memory as m"
        " left join session as s on s.id = m.session_id where m.tenant_id = %s"
        " and m.kind = 'message' union all select key, kind, null, content, null from memory"
        " where tenant_id = %s and kind = 'note' order by 1",
        [tenant, tenant],
    ).fetchall()


def reconciles(tally: Tally, rows: int) -> bool:
    return tally.read == tally.stored + tally.known + sum(tally.skipped.values()) == rows


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)


async def test_every_row_is_stored_known_or_skipped_with_its_reason(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    skipped: list[Skipped] = []
    reports: list[int] = []
    tally = await backfill(
        database, tenant, History(57), lambda t: reports.append(t.read), skipped.append
    )
    assert reconciles(tally, 57)
    assert tally.skipped == {"empty": 4, "not text": 4}
    assert [s.where for s in skipped] == [f"row {n}" for n in range(57) if n % 7 == 3]
    assert reports == [10, 20, 30, 40, 50, 57]
    assert len(stored(owner, tenant)) == tally.stored


async def test_a_second_run_stores_nothing(database: Database, tenant: int) -> None:
    first = await backfill(database, tenant, History(57))
    again = await backfill(database, tenant, History(57))
    assert again.stored == 0
    assert again.known == first.stored + first.known
    assert reconciles(again, 57)


async def test_a_history_that_grew_gives_only_what_is_new(database: Database, tenant: int) -> None:
    first = await backfill(database, tenant, History(30))
    whole = await backfill(database, tenant, History(57))
    assert whole.stored + first.stored == (await fresh(database, 57)).stored


async def fresh(database: Database, rows: int) -> Tally:
    """Return what an undisturbed run into an empty tenant does."""
    return await backfill(database, await keys.tenant_id(database, "fresh"), History(rows))


async def test_an_empty_history_is_nothing(database: Database, tenant: int) -> None:
    assert await backfill(database, tenant, History(0)) == Tally()


@examples(max_examples=15)
@given(st.lists(st.integers(0, 56), max_size=4))
async def test_torn_anywhere_any_number_of_times_it_ends_as_if_undisturbed(
    database: Database, owner: psycopg.Connection[Any], breaks: list[int]
) -> None:
    tenant = await keys.tenant_id(database, f"torn {breaks}")
    for place in breaks:
        source = History(57, breaks_at=place)
        try:
            await backfill(database, tenant, source)
        except Torn:
            continue
    tally = await backfill(database, tenant, History(57))
    assert reconciles(tally, 57)
    undisturbed = await keys.tenant_id(database, "undisturbed")
    await backfill(database, undisturbed, History(57))
    assert stored(owner, tenant) == stored(owner, undisturbed)


async def test_what_was_stored_before_the_break_is_kept_and_not_read_again(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    with pytest.raises(Torn):
        await backfill(database, tenant, History(57, breaks_at=40))
    assert len(stored(owner, tenant)) > 0
    source = History(57)
    places: list[int] = []
    read = source.read
    source.read = lambda after=None: (places.append(after or 0), read(after))[1]  # type: ignore[method-assign]
    assert reconciles(await backfill(database, tenant, source), 57)
    assert places[0] >= 20


async def test_a_backfill_waits_behind_live_messages(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, tenant, History(20))
    await memories.save_messages(
        database, tenant, [Message(session_id="s", role="user", content="live")]
    )
    rows = owner.execute(
        "select m.content from job as j join memory as m on m.id = j.memory_id"
        " order by lane, memory_id limit 1"
    ).fetchall()
    assert rows == [("live",)]


async def test_sources_and_tenants_keep_their_places_apart(database: Database) -> None:
    one = await keys.tenant_id(database, "one")
    two = await keys.tenant_id(database, "two")
    for tenant, origin in ((one, "a"), (two, "a"), (one, "b")):
        with pytest.raises(Torn):
            await backfill(database, tenant, History(57, origin, breaks_at=40))
        assert reconciles(await backfill(database, tenant, History(57, origin)), 57)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A history in recall's own form."""
    file = tmp_path / "history.jsonl"
    rows = [
        {"type": "message", "session_id": f"s{n % 5}", "role": "user", "key": f"k{n}",
         "content": f"{SENTENCES[n % len(SENTENCES)]} {n}", "created_at": START.isoformat()}
        for n in range(300)
    ]  # fmt: skip
    rows.append({"type": "note", "content": "a note", "key": "note"})
    text = "\n".join(json.dumps(row) for row in rows)
    file.write_text(f"{text}\nnot json\n", encoding="utf-8")
    return file


async def test_lines_are_read_twice_and_stored_once(
    database: Database, tenant: int, lines: Path
) -> None:
    tally = await backfill(database, tenant, open_source(str(lines), "jsonl"))
    assert (tally.stored, tally.known, tally.skipped) == (301, 0, {"not JSON": 1})
    again = await backfill(database, tenant, open_source(str(lines), "jsonl"))
    assert (again.stored, again.known, again.read) == (0, 301, 302)


KILLED = """
import asyncio, os, signal, sys
from recall import backfill as module
from recall.backfill import backfill
from recall.database import Database
from recall.settings import Settings
from recall.sources.registry import open_source

module.BATCH = 10
def report(tally):
    if tally.read >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = Database(sys.argv[1], Settings())
    await database.open()
    await backfill(database, 1, open_source(sys.argv[2], "jsonl"), report)

asyncio.run(main())
"""


async def test_killed_in_the_middle_it_ends_as_if_undisturbed(
    database: Database,
    tenant: int,
    database_url: str,
    owner: psycopg.Connection[Any],
    lines: Path,
) -> None:
    for place in ("90", "200"):
        killed = subprocess.run(  # noqa: ASYNC221
            [sys.executable, "-c", KILLED, database_url, str(lines), place],
            cwd=lines.parent,
            env=dict(os.environ),
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
    tally = await backfill(database, tenant, open_source(str(lines), "jsonl"))
    assert (tally.stored, tally.known, tally.read) == (301, 0, 302)
    undisturbed = await keys.tenant_id(database, "undisturbed")
    await backfill(database, undisturbed, open_source(str(lines), "jsonl"))
    assert stored(owner, tenant) == stored(owner, undisturbed)
    assert owner.execute("select count(*) from job where tenant_id = %s", [tenant]).fetchall() == [
        (301,)
    ]


class Told:
    """A source of memories by key, told in order; a position is how many were told."""

    name, origin = "told", "here"

    def __init__(self, *items: Found | Skipped) -> None:
        self.items = items

    def read(self, after: Any = None) -> Iterator[Found | Skipped]:
        return iter(self.items[after or 0 :])

    def count(self) -> int:
        return sum(isinstance(item, Skipped) or item.row for item in self.items)

    def rewind(self, position: Any) -> Any:
        return position

    def fingerprint(self) -> None:
        return None

    def ids(self) -> Iterator[str]:
        return (item.memory.key or "" for item in self.items if isinstance(item, Found))


def message(key: str, content: str, place: int = 1, row: bool = True, **more: Any) -> Found:
    values = {"session_id": "s", "role": "user", "created_at": START} | more
    return Found(Message(key=key, content=content, **values), place, row)


def note(key: str, content: str, place: int = 1, **more: Any) -> Found:
    return Found(Note(key=key, content=content, created_at=START, **more), place)


async def test_a_row_that_says_something_else_is_changed_and_indexed_again(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, tenant, Told(message("a", "old"), note("n", "old"), message("b", "b")))
    owner.execute("delete from job")
    told = Told(message("a", "new"), note("n", "old", title="T"), message("b", "b"))
    tally = await backfill(database, tenant, told)
    assert (tally.stored, tally.changed, tally.known, tally.memories) == (0, 2, 1, 2)
    assert reconciles(tally, 3) is False, "changed rows are a part of their own"
    assert tally.read == 3
    assert owner.execute("select key, content, title from memory order by 1").fetchall() == [
        ("a", "new", None),
        ("b", "b", None),
        ("n", "old", "T"),
    ]
    queued = "select m.key from job as j join memory as m on m.id = j.memory_id order by 1"
    assert owner.execute(queued).fetchall() == [("a",), ("n",)]
    assert (await backfill(database, tenant, told)).changed == 0


async def test_metadata_alone_is_changed_without_indexing_again(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, tenant, Told(message("a", "a", metadata={"read": False})))
    owner.execute("delete from job")
    tally = await backfill(database, tenant, Told(message("a", "a", metadata={"read": True})))
    assert tally.changed == 1
    assert owner.execute("select metadata from memory").fetchall() == [({"read": True},)]
    assert owner.execute("select count(*) from job").fetchall() == [(0,)]


async def test_what_another_source_or_a_caller_stored_is_not_changed(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(
        database, tenant, [Message(session_id="s", role="user", content="own", key="own")]
    )
    other = Told(message("theirs", "theirs"))
    other.origin = "elsewhere"
    await backfill(database, tenant, other)
    tally = await backfill(database, tenant, Told(message("own", "x"), message("theirs", "y")))
    assert (tally.known, tally.changed) == (2, 0)
    assert owner.execute("select content from memory order by 1").fetchall() == [
        ("own",),
        ("theirs",),
    ]


async def test_the_last_telling_of_a_key_counts_whatever_the_batches(
    database: Database, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [message("a", "first", 1), message("b", "b", 2), message("a", "last", 3)]
    for size in (1, 2, 10):
        monkeypatch.setattr(module, "BATCH", size)
        tenant = await keys.tenant_id(database, f"batches of {size}")
        assert (await backfill(database, tenant, Told(*items))).read == 3
        told = "select content from memory where tenant_id = %s and key = 'a'"
        assert owner.execute(told, [tenant]).fetchall() == [("last",)]


async def test_the_pieces_of_a_long_row_are_one_row(database: Database, tenant: int) -> None:
    pieces = [message("a", "1", 1), message("a#2", "2", 2, row=False), message("b", "b", 3)]
    tally = await backfill(database, tenant, Told(*pieces))
    assert (tally.read, tally.stored, tally.memories) == (2, 2, 3)
    assert (await backfill(database, tenant, Told(*pieces))).known == 2


async def test_older_rows_are_skipped_and_counted(database: Database, tenant: int) -> None:
    since = START + timedelta(days=1)
    new = message("b", "b", 2, created_at=since)
    said: list[Skipped] = []
    tally = await backfill(
        database,
        tenant,
        Told(message("a", "a", 1), new),
        on_skip=said.append,
        wanted=Wanted(since=since),
    )
    assert (tally.stored, tally.skipped, tally.listed, said) == (1, {"before --since": 1}, 0, [])


async def test_a_limit_counts_rows_and_the_next_run_accounts_for_all(
    database: Database, tenant: int
) -> None:
    tally = await backfill(database, tenant, History(57), wanted=Wanted(limit=15))
    assert reconciles(tally, 15)
    assert reconciles(await backfill(database, tenant, History(57)), 57)


async def test_an_interrupted_run_is_not_gone_on_with_by_one_that_asks_for_something_else(
    database: Database, tenant: int
) -> None:
    with pytest.raises(Torn):
        await backfill(database, tenant, History(57, breaks_at=40))
    assert reconciles(await backfill(database, tenant, History(57), wanted=Wanted(user="ann")), 57)


async def test_a_user_is_given_to_memories_that_name_none(
    database: Database, tenant: int, owner: psycopg.Connection[Any]
) -> None:
    source = Told(message("a", "a", 1), message("b", "b", 2, user_id="bob"))
    await backfill(database, tenant, source, wanted=Wanted(user="ann"))
    users = owner.execute("select key, user_id from memory order by 1").fetchall()
    assert users == [("a", "ann"), ("b", "bob")]


async def test_strict_stops_at_a_bad_row_and_not_at_what_is_left_out_on_purpose(
    database: Database, tenant: int
) -> None:
    fine = Told(message("a", "a", 1), Skipped("system prompt", "row 2", 2))
    assert (await backfill(database, tenant, fine, wanted=Wanted(strict=True))).read == 2
    bad = Told(*fine.items, Skipped("not JSON", "row 3", 3, "x"))
    with pytest.raises(SourceUnreadable, match=r"row 3: not JSON \(x\)"):
        await backfill(database, tenant, bad, wanted=Wanted(strict=True))


async def test_an_acknowledgement_that_was_lost_counts_no_row_twice(
    database: Database, tenant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, lost = module.keep, []

    async def losing(connection: Any, *arguments: Any) -> None:
        await keep(connection, *arguments)
        if len(lost) < 3:
            # Everything is committed, and the answer never comes.
            lost.append(await connection.execute("commit"))
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(module, "keep", losing)
    tally = await backfill(database, tenant, History(57))
    assert lost and reconciles(tally, 57)
    assert tally.stored == (await fresh(database, 57)).stored


@pytest.mark.parametrize(
    ("file", "stored", "skipped"),
    [
        ("openzess-sqlite.db", 4, {}),
        ("chatkit-sqlite.db", 4, {"reasoning": 1, "hidden context": 1, "no text": 1}),
        ("openai-agents-sqlite.db", 5, {}),
        ("moltnet-sqlite.db", 7, {"removed room": 1, "empty": 1}),
        ("moltnet-json.json", 7, {"removed room": 1, "empty": 1}),
        ("praisonai-sqlite.db", 5, {}),
    ],
)
async def test_every_sample_reconciles_and_a_second_run_stores_nothing(
    database: Database, tenant: int, file: str, stored: int, skipped: dict[str, int]
) -> None:
    path = sample(file)
    first = await backfill(database, tenant, open_source(path))
    assert (first.stored, first.known, first.skipped) == (stored, 0, skipped)
    assert first.read == open_source(path).count()
    second = await backfill(database, tenant, open_source(path))
    assert (second.stored, second.changed, second.known) == (0, 0, stored)
    assert second.skipped == skipped


async def test_tables_of_several_batches_are_read_in_one_thread(
    database: Database, tenant: int, tmp_path: Path
) -> None:
    """A connection of SQLite does not change threads, and pages outlive a batch."""
    path = sqlite_file(
        tmp_path / "chat.db",
        "create table sessions (id varchar primary key, title varchar, created_at datetime)",
        "create table messages (id integer primary key, session_id varchar, role varchar,"
        " content varchar, created_at datetime)",
        rows={"messages": [(n, "s", "user", f"text {n}", "2026-01-01") for n in range(3_000)]},
    )
    results = await asyncio.gather(
        *(asyncio.to_thread(open_source(path).count) for _ in range(4)),
        backfill(database, tenant, open_source(path)),
    )
    assert results[-1].stored == 3_000  # type: ignore[union-attr]


SLOW = """
import sys, time
from recall.sources import jsonl
steps = jsonl.JsonLines._steps
def slowly(self, after):
    for number, step in enumerate(steps(self, after)):
        if number % 10 == 0:
            time.sleep(0.05)
        yield step
jsonl.JsonLines._steps = slowly
from recall import backfill
backfill.BATCH = 10
from recall.cli import app
app()
"""


def kill_at(
    wanted: int, command: list[str], environment: dict[str, str], owner: psycopg.Connection[Any]
) -> None:
    """Run a command and kill it when so many memories are stored."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while owner.execute("select count(*) from memory").fetchall()[0][0] < wanted:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()


def finish(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def insert(file: Path, places: Sequence[int], line: str) -> None:
    rows = file.read_text().splitlines()
    for place in places:
        rows.insert(place, line)
    file.write_text("\n".join(rows) + "\n")


async def test_the_command_killed_at_any_time_ends_as_if_undisturbed(
    database: Database,
    tenant: int,
    database_url: str,
    owner: psycopg.Connection[Any],
    lines: Path,
    home: Path,
) -> None:
    insert(lines, (250, 170, 90, 20), "not json either")
    rejects = lines.parent / "rejects.jsonl"
    environment = os.environ | {"DATABASE_URL": database_url, "RECALL_HOME": str(home)}
    command = [sys.executable, "-c", SLOW, "backfill", "jsonl", str(lines), "--no-index"]
    command += ["--skipped", str(rejects)]
    for wanted in (60, 180):
        kill_at(wanted, command, environment, owner)
    said = finish(command, environment)
    assert "Going on behind" in said
    assert "306 rows = 301 stored + 0 already there + 5 skipped (5 not JSON)" in said
    with rejects.open() as file:
        assert len(list(file)) == 5, "each bad row once"
    undisturbed = await keys.tenant_id(database, "undisturbed")
    await backfill(database, undisturbed, open_source(str(lines), "jsonl"))
    assert stored(owner, tenant) == stored(owner, undisturbed)


def test_a_trial_reads_everything_and_needs_no_database(
    lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["backfill", str(lines), "--dry-run"])
    assert "It is read as jsonl." in result.stdout
    assert (
        "302 rows = 300 messages in 5 sessions + 1 notes + 1 skipped (1 not JSON); "
        "nothing was stored" in result.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--option", "assume_tz=Nowhere/Else"), "is no time zone"),
        (("--option", "nope=1"), "has no option nope; it takes assume_tz"),
        (("--option", "nope"), "is not NAME=VALUE"),
        (("--since", "soon"), "is no time"),
        (("--strict",), "not JSON"),
    ],
)
def test_what_cannot_be_done_is_said(
    lines: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["backfill", "jsonl", str(lines), "--dry-run", *arguments])
    assert result.exit_code and said in result.output
    assert "Traceback" not in result.output


async def test_a_first_large_load_builds_its_index_behind_the_rows(
    settings: Any, database: Database, tenant: int, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "LARGE", 20)
    said: list[str] = []
    await backfill(database, tenant, History(57))
    async with build.deferred(settings, said.append):
        assert await build.missing(database) == 1
        await worker.drain()
    assert await build.missing(database) == 0
    assert said[0].startswith("A first large load") and "vectors" in said[1]
    # Now something is there, and the index stays.
    await backfill(database, tenant, History(90, "elsewhere"))
    async with build.deferred(settings, said.append):
        assert await build.missing(database) == 0
    assert len(said) == 3


async def test_a_load_that_was_interrupted_is_repaired(
    settings: Any, database: Database, tenant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "LARGE", 20)
    await backfill(database, tenant, History(57))
    with pytest.raises(Torn):
        async with build.deferred(settings, lambda said: None):
            # While one process loads, no other builds.
            assert await build.repair(settings, lambda said: None) == 0
            raise Torn
    assert (await build.examine(database, settings, fix=False)).found == 1
    assert (await build.examine(database, settings, fix=True)).repaired
    assert (await build.examine(database, settings, fix=False)).found == 0


async def test_a_service_that_starts_repairs_what_a_load_left(
    settings: Any, database: Database, owner: psycopg.Connection[Any], profile: Profile
) -> None:
    owner.execute(f"drop index embedding_{profile.id}_hnsw".encode())
    async with build.repairing(database, settings):
        for _ in range(600):
            if not await build.missing(database):
                break
            await asyncio.sleep(0.05)
    assert await build.missing(database) == 0
