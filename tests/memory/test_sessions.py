"""Reading sessions back: any page size, either way, every row once."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import START

from recall.contract.errors import Invalid, NotFound
from recall.contract.values import Message
from recall.memory import keys, memories, sessions
from recall.memory.forget import forget_memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.memory.sessions import Page

    Read = Callable[[str | None], Awaitable[Page]]

pytestmark = pytest.mark.anyio
_numbers = count()

#: Hours after START at which turns were said; several at once are common.
hours = st.lists(st.integers(0, 5), max_size=12)


async def fresh_caller(database: Database) -> Caller:
    return await keys.caller_of(database, f"history {next(_numbers)}")


def turn(session: str, hour: int, text: str) -> Message:
    at = START + timedelta(hours=hour)
    return Message(session_id=session, role="user", content=text, created_at=at)


async def forward(read: Read) -> list[Page]:
    pages = [await read(None)]
    while pages[-1].next:
        pages.append(await read(pages[-1].next))
        assert pages[-1].rows, "a cursor led to an empty page"
    return pages


async def backward(read: Read, last: Page) -> list[Page]:
    pages = [last]
    while pages[0].previous:
        pages.insert(0, await read(pages[0].previous))
        assert pages[0].rows, "a cursor led to an empty page"
    return pages


async def both_ways(read: Read) -> list[int]:
    """Return the ids in order; pages must be the same rows in both directions."""
    pages = await forward(read)
    ids = [row["id"] for page in pages for row in page.rows]
    assert len(set(ids)) == len(ids)
    back = await backward(read, pages[-1])
    assert [row["id"] for page in back for row in page.rows] == ids
    return ids


@given(hours.filter(bool), st.integers(1, 14))
async def test_any_page_size_yields_every_message_once_in_order(
    database: Database, hours: list[int], limit: int
) -> None:
    caller = await fresh_caller(database)
    turns = [turn("s", hour, f"turn {n}") for n, hour in enumerate(hours)]
    stored = await memories.save_messages(database, caller, turns)

    async def read(cursor: str | None) -> Page:
        return await sessions.list_messages(database, caller, "s", cursor, limit)

    expected = sorted(zip(hours, stored.ids, strict=True))
    assert await both_ways(read) == [id for _, id in expected]


@given(hours, st.integers(1, 14))
async def test_any_page_size_yields_every_session_once_newest_first(
    database: Database, hours: list[int], limit: int
) -> None:
    caller = await fresh_caller(database)
    turns = [turn(f"s{n}", hour, "x") for n, hour in enumerate(hours)]
    if turns:
        await memories.save_messages(database, caller, turns)

    async def read(cursor: str | None) -> Page:
        return await sessions.list_sessions(database, caller, cursor, limit)

    await both_ways(read)
    rows = [row for page in await forward(read) for row in page.rows]
    assert {row["key"] for row in rows} == {f"s{n}" for n in range(len(hours))}
    places = [(row["last_at"], row["id"]) for row in rows]
    assert places == sorted(places, reverse=True)
    assert all(row["messages"] == 1 for row in rows)


async def test_a_page_of_everything_has_no_neighbours(database: Database, caller: Caller) -> None:
    await memories.save_messages(database, caller, [turn("s", n, "x") for n in range(3)])
    page = await sessions.list_messages(database, caller, "s", None, 3)
    assert (len(page.rows), page.previous, page.next) == (3, None, None)


async def test_what_is_added_meanwhile_is_neither_repeated_nor_in_the_way(
    database: Database, caller: Caller
) -> None:
    await memories.save_messages(database, caller, [turn("s", n, f"{n}") for n in (1, 2, 4)])
    first = await sessions.list_messages(database, caller, "s", None, 2)
    await memories.save_messages(database, caller, [turn("s", n, f"{n}") for n in (0, 3)])
    rest = await sessions.list_messages(database, caller, "s", first.next, 9)
    assert [row["content"] for row in (*first.rows, *rest.rows)] == ["1", "2", "3", "4"]


async def test_a_page_whose_rows_were_erased_still_leads_on(
    database: Database, caller: Caller
) -> None:
    stored = await memories.save_messages(database, caller, [turn("s", n, "x") for n in range(4)])
    first = await sessions.list_messages(database, caller, "s", None, 2)
    for id in stored.ids[:2]:
        await forget_memory(database, caller, "message", id)
    rest = await sessions.list_messages(database, caller, "s", first.next, 9)
    assert [row["id"] for row in rest.rows] == list(stored.ids[2:])


async def test_a_session_that_is_not_there_is_said(database: Database, caller: Caller) -> None:
    with pytest.raises(NotFound, match="no session 'x'"):
        await sessions.list_messages(database, caller, "x", None, 5)


@pytest.mark.parametrize(
    "cursor", ["x", "AAAA", "bnVsbA", "WzEsMiwzXQ", "é", "W10", "Int9Ig", "=", "eyJhIjoxfQ"]
)
async def test_a_cursor_of_somebody_elses_making_is_refused(
    database: Database, caller: Caller, cursor: str
) -> None:
    with pytest.raises(Invalid, match="cursor") as caught:
        await sessions.list_sessions(database, caller, cursor, 5)
    assert caught.value.field == "cursor"


@given(st.binary(max_size=60))
async def test_no_bytes_at_all_crash_a_cursor(
    database: Database, caller: Caller, raw: bytes
) -> None:
    import base64

    text = base64.urlsafe_b64encode(b'["2025-01-01", ' + raw + b", true]").decode()
    try:
        await sessions.list_sessions(database, caller, text, 5)
    except Invalid as error:
        assert error.field == "cursor"
