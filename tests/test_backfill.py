"""Backfill: interrupted anywhere, run again, it ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SENTENCES, SESSIONS, START

from recall import backfill as module
from recall import keys, memories
from recall.backfill import Tally, backfill
from recall.models import Message, Note
from recall.sources import Found, Skipped
from recall.sources.registry import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from recall.database import Database

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


@settings(max_examples=15)
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
