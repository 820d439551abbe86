"""Who is let in: by the wait to expect, turn by turn, and nobody for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_api import error

from recall.api import admission
from recall.api.admission import Full, Limiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Running

pytestmark = pytest.mark.anyio

ANN, BOB = b"ann", b"bob"


async def hold(limiter: Limiter, who: bytes, until: asyncio.Event, told: list[bytes]) -> None:
    async with limiter.slot(who):
        told.append(who)
        await until.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def start(
    limiter: Limiter, who: bytes, many: int, until: asyncio.Event, told: list[bytes]
) -> list[Any]:
    return [asyncio.create_task(hold(limiter, who, until, told)) for _ in range(many)]


async def test_a_limiter_lets_so_many_in_and_the_next_when_one_leaves() -> None:
    limiter, told, until = Limiter(4), list[bytes](), asyncio.Event()
    tasks = start(limiter, ANN, 3, until, told) + start(limiter, BOB, 3, until, told)
    await settle()
    assert Counter(told) == {ANN: 3, BOB: 1}
    until.set()
    await asyncio.gather(*tasks)
    assert Counter(told) == {ANN: 3, BOB: 3}
    assert limiter.expected(ANN) < admission.LONGEST_WAIT


async def test_one_caller_never_holds_every_slot() -> None:
    limiter, told, until = Limiter(8), list[bytes](), asyncio.Event()
    crowd = start(limiter, ANN, 20, until, told)
    await settle()
    assert told == [ANN] * 6
    other = start(limiter, BOB, 1, until, told)
    await settle()
    assert told[-1] == BOB
    until.set()
    await asyncio.gather(*crowd, *other)


async def test_callers_take_turns_whatever_each_has_waiting() -> None:
    limiter, told = Limiter(1), list[bytes]()
    until = asyncio.Event()
    first = start(limiter, ANN, 1, until, told)
    await settle()
    rest = start(limiter, ANN, 10, until, told) + start(limiter, BOB, 3, until, told)
    await settle()
    until.set()
    await asyncio.gather(*first, *rest)
    assert told[:7] == [ANN, ANN, BOB, ANN, BOB, ANN, BOB]


async def test_who_would_wait_too_long_is_told_at_once_and_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "FIRST_GUESS", 1.0)
    limiter, told, until = Limiter(1), list[bytes](), asyncio.Event()
    tasks = start(limiter, ANN, 3, until, told)  # one is in, two wait
    await settle()
    with pytest.raises(Full) as full:
        async with limiter.slot(ANN):
            pytest.fail("let in")
    assert full.value.seconds == pytest.approx(3.0)
    tasks += start(limiter, BOB, 1, until, told)  # whose turn comes before the second of ann's
    await settle()
    assert not any(task.done() for task in tasks)
    until.set()
    await asyncio.gather(*tasks)


async def test_who_waited_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "LONGEST_WAIT", 0.05)
    limiter, told, until = Limiter(1), list[bytes](), asyncio.Event()
    holding = start(limiter, ANN, 1, until, told)
    await settle()
    waiting = start(limiter, BOB, 1, until, told)
    assert isinstance((await asyncio.gather(*waiting, return_exceptions=True))[0], Full)
    until.set()
    await asyncio.gather(*holding)
    async with limiter.slot(BOB):  # and keeps nothing
        pass


@pytest.mark.parametrize("end", ["give back", "raise"])
async def test_a_slot_is_given_back_once(end: str) -> None:
    limiter = Limiter(1)
    for _ in range(5):
        try:
            async with limiter.slot(ANN) as slot:
                if end == "raise":
                    raise KeyError
                slot.give_back()
                async with limiter.slot(BOB):
                    slot.give_back()
        except KeyError:
            pass


steps = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "cancel", "pause"]), st.integers(0, 9)), max_size=60
)


@given(steps, st.integers(1, 4))
async def test_whatever_comes_leaves_or_gives_up_no_slot_is_lost(
    steps: list[tuple[str, int]], slots: int
) -> None:
    limiter = Limiter(slots)
    inside, most = 0, 0
    tasks: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    async def visit(who: bytes, until: asyncio.Event) -> None:
        nonlocal inside, most
        async with limiter.slot(who):
            inside += 1
            most = max(most, inside)
            try:
                await until.wait()
            finally:
                inside -= 1

    for what, which in steps:
        if what == "come":
            until = asyncio.Event()
            tasks.append((asyncio.create_task(visit(bytes([which % 3]), until)), until))
        elif what == "pause":
            await asyncio.sleep(0)
        elif tasks and what == "leave":
            tasks[which % len(tasks)][1].set()
        elif tasks:
            tasks[which % len(tasks)][0].cancel()
    for _, until in tasks:
        until.set()
    await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
    assert inside == 0 and most <= slots
    assert not limiter._held and not limiter._waiting


def asgi(path: str, method: str = "POST") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [], "client": ("::1", 1)}


async def test_what_tells_how_the_service_is_stands_in_no_line() -> None:
    stuck = asyncio.Event()
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        if scope["path"] not in {"/health", "/ready", "/metrics"}:
            await stuck.wait()

    gate = admission.Admission(app, 1)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    call: Callable[[str], Awaitable[None]] = lambda path: gate(asgi(path), receive, send)  # noqa: E731
    crowd = [asyncio.ensure_future(call("/recall")) for _ in range(30)]
    await settle()
    assert seen == ["/recall"]
    for path in ("/health", "/ready", "/metrics"):
        await call(path)
    write = asyncio.ensure_future(call("/messages"))  # a limiter of its own
    await settle()
    assert seen[-1] == "/messages"
    stuck.set()
    await asyncio.gather(*crowd, write)
    assert seen.count("/recall") == 30


def test_while_the_database_is_held_up_callers_are_told_soon_and_when_to_come_again(
    serve: Callable[..., Running], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LONGEST_WAIT", 0.3)
    url = serve(pool_size=1).url

    def question(number: int) -> httpx.Response:
        body = {"query": f"harbour {number}", "mode": "keyword"}
        return httpx.post(f"{url}/recall", json=body, timeout=60)

    with ThreadPoolExecutor(8) as callers, psycopg.connect(database_url) as holding:
        holding.execute("lock table recall.corpus_count in access exclusive mode")
        asked = [callers.submit(question, number) for number in range(8)]
        told = list(islice(as_completed(asked, timeout=30), 7))  # all but the one that has the slot
        for answer in told:
            assert "ask again in" in error(answer.result(), 503, "overloaded")["message"]
            assert int(answer.result().headers["retry-after"]) >= 1
        assert httpx.get(f"{url}/health").status_code == 200
        holding.rollback()
        assert [answer.result().status_code for answer in asked if answer not in told] == [200]
