"""Backfill: interrupted anywhere, run again, it ends as if nothing had happened."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from histories import History, Told, Torn, lines_of, reconciles, stored
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sources_reading import database as sqlite_file
from strategies import START

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.database.transaction import Unit
from recall.memory import keys, memories
from recall.sources.opening import open_source
from recall.sources.reason import Reason
from recall.sources.source import Found, Skipped
from recall.sync import ahead
from recall.sync.backfill import Backfill, Terms, backfill
from recall.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BATCH_ITEMS", 10)


async def test_every_row_is_stored_known_or_skipped_with_its_reason(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    skipped: list[Skipped] = []
    reports: list[int] = []
    run = await Backfill.begin(database, caller, History(57), Terms())
    tally = await run.run(lambda tally: reports.append(tally.read), skipped.append)
    assert reconciles(tally, 57)
    assert tally.skipped == {"empty": 4, "no text": 4}
    assert [s.where for s in skipped] == [f"row {n}" for n in range(57) if n % 7 == 3]
    assert reports == [10, 20, 30, 40, 50, 57]
    assert len(stored(owner, caller)) == tally.stored


async def test_a_second_run_stores_nothing(database: Database, caller: Caller) -> None:
    first = await backfill(database, caller, History(57))
    again = await backfill(database, caller, History(57))
    assert again.stored == 0
    assert again.known == first.stored + first.known
    assert reconciles(again, 57)


async def test_a_history_that_grew_gives_only_what_is_new(
    database: Database, caller: Caller
) -> None:
    first = await backfill(database, caller, History(30))
    whole = await backfill(database, caller, History(57))
    assert whole.stored + first.stored == (await fresh(database, 57)).stored


async def fresh(database: Database, rows: int) -> Tally:
    """Return what an undisturbed run into an empty tenant does."""
    return await backfill(database, await keys.caller_of(database, "fresh"), History(rows))


async def test_an_empty_history_is_nothing(database: Database, caller: Caller) -> None:
    assert await backfill(database, caller, History(0)) == Tally()


@examples(max_examples=15)
@given(st.lists(st.integers(0, 56), max_size=4))
async def test_torn_anywhere_any_number_of_times_it_ends_as_if_undisturbed(
    database: Database, owner: psycopg.Connection[Any], breaks: list[int]
) -> None:
    caller = await keys.caller_of(database, f"torn {breaks}")
    for place in breaks:
        source = History(57, breaks_at=place)
        try:
            await backfill(database, caller, source)
        except Torn:
            continue
    tally = await backfill(database, caller, History(57))
    assert reconciles(tally, 57)
    undisturbed = await keys.caller_of(database, "undisturbed")
    await backfill(database, undisturbed, History(57))
    assert stored(owner, caller) == stored(owner, undisturbed)


async def test_what_was_stored_before_the_break_is_kept_and_not_read_again(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    with pytest.raises(Torn):
        await backfill(database, caller, History(57, breaks_at=40))
    assert len(stored(owner, caller)) > 0
    source = History(57)
    places: list[int] = []
    read = source.read

    def watched(after: int | None = None) -> Iterator[Found | Skipped]:
        places.append(after or 0)
        return read(after)

    source.read = watched  # type: ignore[method-assign]
    assert reconciles(await backfill(database, caller, source), 57)
    assert places[0] >= 20


async def test_a_backfill_waits_behind_live_messages(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, caller, History(20))
    await memories.save_messages(
        database, caller, [Message(session_id="s", role="user", content="live")]
    )
    rows = owner.execute(
        "select m.content from job as j join memory as m on m.id = j.memory_id"
        " order by lane, memory_id limit 1"
    ).fetchall()
    assert rows == [("live",)]


async def test_sources_and_tenants_keep_their_places_apart(database: Database) -> None:
    one = await keys.caller_of(database, "one")
    two = await keys.caller_of(database, "two")
    for caller, origin in ((one, "a"), (two, "a"), (one, "b")):
        with pytest.raises(Torn):
            await backfill(database, caller, History(57, origin, breaks_at=40))
        assert reconciles(await backfill(database, caller, History(57, origin)), 57)


async def test_lines_are_read_twice_and_stored_once(
    database: Database, caller: Caller, tmp_path: Path
) -> None:
    lines = lines_of(tmp_path / "history.jsonl")
    tally = await backfill(database, caller, open_source(str(lines), "jsonl"))
    assert (tally.stored, tally.known, tally.skipped) == (301, 0, {"not JSON": 1})
    again = await backfill(database, caller, open_source(str(lines), "jsonl"))
    assert (again.stored, again.known, again.read) == (0, 301, 302)


def message(key: str, content: str, place: int = 1, row: bool = True, **more: Any) -> Found:
    values: dict[str, Any] = {"session_id": "s", "role": "user", "created_at": START} | more
    return Found(Message(key=key, content=content, **values), place, row)


def note(key: str, content: str, place: int = 1, **more: Any) -> Found:
    return Found(Note(key=key, content=content, created_at=START, **more), place)


async def test_a_row_that_says_something_else_is_changed_and_indexed_again(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, caller, Told(message("a", "old"), note("n", "old"), message("b", "b")))
    owner.execute("delete from job")
    told = Told(message("a", "new"), note("n", "old", title="T"), message("b", "b"))
    tally = await backfill(database, caller, told)
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
    assert (await backfill(database, caller, told)).changed == 0


async def test_metadata_alone_is_changed_without_indexing_again(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await backfill(database, caller, Told(message("a", "a", metadata={"read": False})))
    owner.execute("delete from job")
    tally = await backfill(database, caller, Told(message("a", "a", metadata={"read": True})))
    assert tally.changed == 1
    assert owner.execute("select metadata from memory").fetchall() == [({"read": True},)]
    assert owner.execute("select count(*) from job").fetchall() == [(0,)]


async def test_what_another_source_or_a_caller_stored_is_not_changed(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    await memories.save_messages(
        database, caller, [Message(session_id="s", role="user", content="own", key="own")]
    )
    other = Told(message("theirs", "theirs"))
    other.origin = "elsewhere"
    await backfill(database, caller, other)
    tally = await backfill(database, caller, Told(message("own", "x"), message("theirs", "y")))
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
        monkeypatch.setattr(ahead, "BATCH_ITEMS", size)
        caller = await keys.caller_of(database, f"batches of {size}")
        assert (await backfill(database, caller, Told(*items))).read == 3
        told = "select content from memory where tenant_id = %s and key = 'a'"
        assert owner.execute(told, [caller.tenant]).fetchall() == [("last",)]


async def test_the_pieces_of_a_long_row_are_one_row(database: Database, caller: Caller) -> None:
    pieces = [message("a", "1", 1), message("a#2", "2", 2, row=False), message("b", "b", 3)]
    tally = await backfill(database, caller, Told(*pieces))
    assert (tally.read, tally.stored, tally.memories) == (2, 2, 3)
    assert (await backfill(database, caller, Told(*pieces))).known == 2


async def test_long_rows_make_small_batches(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "BATCH_CHARACTERS", 100)
    long = [message(f"k{n}", "x" * 60, n + 1) for n in range(5)]
    reports: list[int] = []
    run = await Backfill.begin(database, caller, Told(*long), Terms())
    await run.run(lambda tally: reports.append(tally.read))
    assert reports == [2, 4, 5]


async def test_older_rows_are_skipped_and_counted(database: Database, caller: Caller) -> None:
    since = START + timedelta(days=1)
    new = message("b", "b", 2, created_at=since)
    said: list[Skipped] = []
    source, terms = Told(message("a", "a", 1), new), Terms(since=since)
    run = await Backfill.begin(database, caller, source, terms)
    tally = await run.run(on_skip=said.append)
    assert (tally.stored, tally.skipped, tally.listed, said) == (1, {"before --since": 1}, 0, [])


async def test_a_limit_counts_rows_and_the_next_run_accounts_for_all(
    database: Database, caller: Caller
) -> None:
    tally = await backfill(database, caller, History(57), terms=Terms(limit=15))
    assert reconciles(tally, 15)
    assert reconciles(await backfill(database, caller, History(57)), 57)


async def test_an_interrupted_run_is_not_gone_on_with_by_one_that_asks_for_something_else(
    database: Database, caller: Caller
) -> None:
    with pytest.raises(Torn):
        await backfill(database, caller, History(57, breaks_at=40))
    assert reconciles(await backfill(database, caller, History(57), terms=Terms(user="ann")), 57)


async def test_a_user_is_given_to_memories_that_name_none(
    database: Database, caller: Caller, owner: psycopg.Connection[Any]
) -> None:
    source = Told(message("a", "a", 1), message("b", "b", 2, user_id="bob"))
    await backfill(database, caller, source, terms=Terms(user="ann"))
    users = owner.execute("select key, user_id from memory order by 1").fetchall()
    assert users == [("a", "ann"), ("b", "bob")]


async def test_strict_stops_at_a_bad_row_and_not_at_what_is_left_out_on_purpose(
    database: Database, caller: Caller
) -> None:
    fine = Told(message("a", "a", 1), Skipped(Reason.SYSTEM_PROMPT, "row 2", 2))
    assert (await backfill(database, caller, fine, terms=Terms(strict=True))).read == 2
    bad = Told(*fine.items, Skipped(Reason.NOT_JSON, "row 3", 3, "x"))
    with pytest.raises(SourceUnreadable, match=r"row 3: not JSON \(x\)"):
        await backfill(database, caller, bad, terms=Terms(strict=True))


async def test_an_acknowledgement_that_was_lost_counts_no_row_twice(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Unit._once
    lost: list[Any] = []

    async def losing(unit: Any, connection: Any, pulse: Any) -> Any:
        result = await once(unit, connection, pulse)
        if len(lost) < 3:
            # Everything is committed, and the answer never comes.
            lost.append(await connection.execute("commit"))
            raise psycopg.OperationalError("the connection is lost")
        return result

    monkeypatch.setattr(Unit, "_once", losing)
    tally = await backfill(database, caller, History(57))
    assert lost and reconciles(tally, 57)
    assert tally.stored == (await fresh(database, 57)).stored


async def test_tables_of_several_batches_are_read_in_one_thread(
    database: Database, caller: Caller, tmp_path: Path
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
        backfill(database, caller, open_source(path)),
    )
    assert results[-1].stored == 3_000  # type: ignore[union-attr]
