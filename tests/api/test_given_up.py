"""A caller that hangs up: its work ends with it, unless its answer has begun."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from recall.api.given_up import GivenUp

if TYPE_CHECKING:
    from conftest import Running


def note(client: httpx.Client) -> int:
    stored = client.post("/notes", json={"notes": [{"content": "first"}]}, params={"wait": 30})
    return int(stored.json()["ids"][0])


def waiting(owner: psycopg.Connection[Any]) -> int:
    """Return how many connections of this database wait for a lock."""
    row = owner.execute(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    ).fetchone()
    return int(row[0]) if row else 0


def until(owner: psycopg.Connection[Any], many: int) -> None:
    deadline = time.monotonic() + 20
    while waiting(owner) != many:
        assert time.monotonic() < deadline, waiting(owner)
        time.sleep(0.02)


@pytest.mark.parametrize("request_", ["PUT", "DELETE", "POST"])
def test_what_a_caller_gave_up_is_not_done_once_the_database_is_free_again(
    request_: str,
    server: Running,
    client: httpx.Client,
    database_url: str,
    owner: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="psycopg")  # as `recall serve` does
    id = note(client)
    with psycopg.connect(database_url, options="-c search_path=recall,public") as holding:
        with caplog.at_level(logging.INFO):
            if request_ == "POST":
                holding.execute("lock table memory in exclusive mode")
            else:
                holding.execute("select from memory where id = %s for update", [id])
            with pytest.raises(httpx.ReadTimeout):
                if request_ == "PUT":
                    httpx.put(f"{server.url}/notes/{id}", json={"content": "old"}, timeout=1)
                elif request_ == "POST":
                    body = {"notes": [{"content": "old"}]}
                    httpx.post(f"{server.url}/notes", json=body, timeout=1)
                else:
                    httpx.delete(f"{server.url}/notes/{id}", timeout=1)
            until(owner, 0)  # the statement under way was ended: nobody waits for the lock
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    answer = client.put(f"/notes/{id}", json={"content": "new"})
    assert answer.status_code == 202
    contents = owner.execute("select content from memory").fetchall()
    assert contents == [("new",)]
    assert 'status="499"' in client.get("/metrics").text


def call(app: Any, *messages: tuple[float, dict[str, Any]]) -> tuple[list[Any], Any]:
    """Run `app` behind GivenUp; each message comes after so many seconds."""
    sent: list[Any] = []
    coming = list(messages)

    async def receive() -> Any:
        if not coming:
            await asyncio.Event().wait()
        pause, message = coming.pop(0)
        await asyncio.sleep(pause)
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    return sent, GivenUp(app)({"type": "http"}, receive, send)


BODY = {"type": "http.request", "body": b"{}", "more_body": False}
GONE = {"type": "http.disconnect"}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b""}

pytest_anyio = pytest.mark.anyio


@pytest_anyio
async def test_work_that_waits_is_cancelled_when_the_caller_goes() -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == BODY
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")

    sent, run = call(app, (0, BODY), (0.01, GONE))
    await run
    assert ended == ["cancelled"]
    assert [message.get("status") for message in sent] == [499]
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


@pytest_anyio
async def test_a_body_in_pieces_is_passed_on_and_then_watched() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await asyncio.sleep(30)

    part = {"type": "http.request", "body": b"{", "more_body": True}
    _, run = call(app, (0, part), (0, part), (0.01, BODY), (0.01, GONE))
    await run


@pytest_anyio
async def test_an_answer_that_has_begun_is_finished() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await asyncio.sleep(0.05)
        await send(END)

    sent, run = call(app, (0, BODY), (0.01, GONE))
    await run
    assert sent == [START, END]


@pytest_anyio
async def test_an_application_that_listens_itself_hears_the_caller_go() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        assert await receive() == BODY
        assert await receive() == GONE
        await send(END)

    sent, run = call(app, (0, BODY), (0.01, GONE))
    await run
    assert sent == [START, END]


@pytest_anyio
async def test_a_cancellation_from_elsewhere_goes_through() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(30)

    _, run = call(app, (0, BODY))
    task = asyncio.ensure_future(run)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest_anyio
async def test_whoever_is_gone_before_the_body_is_there_is_not_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("served")

    _, run = call(app, (0, GONE))
    await run
