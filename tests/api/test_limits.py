"""Bodies: how large, how slow, how many together; the key before the body; and large batches."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_api import count, error, turn

from recall.api import bodies, unpacking, wire_errors
from recall.api import connection as heads
from recall.api.unpacking import LARGE, LARGEST_MEMORY, read_batch
from recall.contract.errors import Invalid
from recall.contract.values import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from conftest import Running

POST = "POST /messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


def connect(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def heard(connection: socket.socket) -> bytes:
    """Return everything until the server hangs up."""
    said = b""
    try:
        while part := connection.recv(65536):
            said += part
    except ConnectionError:
        pass
    return said


@pytest.mark.parametrize("how", ["content-length", "chunked"])
def test_a_key_that_opens_nothing_is_refused_before_the_body_is_read(
    how: str, serve: Callable[..., Running], owner: psycopg.Connection[Any]
) -> None:
    owner.execute("insert into api_key (tenant_id, name, digest) values (1, 'agent', '')")
    length = {"content-length": "content-length: 60000000", "chunked": "transfer-encoding: chunked"}
    for key in ("", "authorization: Bearer wrong\r\n"):
        with closing(connect(serve())) as connection:
            connection.sendall(f"{POST}{key}{length[how]}\r\n\r\n".encode())
            answer = connection.recv(65536)  # and not a byte of the body was sent
            assert b" 401 " in answer and b'"unauthorized"' in answer


def test_a_refused_caller_that_goes_on_sending_still_reads_its_answer(
    serve: Callable[..., Running], owner: psycopg.Connection[Any]
) -> None:
    owner.execute("insert into api_key (tenant_id, name, digest) values (1, 'agent', '')")
    body = b'{"messages":[' + b" " * 20_000_000 + b"]}"
    headers = {"content-type": "application/json", "authorization": "Bearer wrong"}
    answer = httpx.post(f"{serve().url}/messages", content=body, headers=headers, timeout=30)
    error(answer, 401, "unauthorized")


def test_any_body_but_a_batch_is_small(client: httpx.Client) -> None:
    large = b'{"query":"' + b"x" * bodies.LARGEST_OTHER + b'"}'
    headers = {"content-type": "application/json"}
    for method, path in (("POST", "/recall"), ("PUT", "/notes/1")):
        answer = client.request(method, path, content=large, headers=headers)
        assert str(bodies.LARGEST_OTHER) in error(answer, 413, "too_large")["message"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "QUIET", 0.3)
    monkeypatch.setattr(bodies, "SLOWEST", 1.0)
    monkeypatch.setattr(heads, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(wire_errors, "LINGER", 0.1)


def test_a_body_that_stops_coming_is_ended(impatient: None, server: Running) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(f'{POST}content-length: 50\r\n\r\n{{"messages"'.encode())
        answer = heard(connection)
    assert b" 408 " in answer and b'"too_slow"' in answer and b"nothing was stored" in answer


def test_a_body_that_drips_is_ended(impatient: None, server: Running) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(f"{POST}content-length: 5000\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            for _ in range(600):
                connection.sendall(b" ")
                time.sleep(0.05)


@pytest.mark.parametrize("sent", ["POST /recall HTTP/1.1\r\nhost: localhost\r\n", ""])
def test_a_head_that_does_not_end_is_hung_up_on(
    sent: str, impatient: None, server: Running
) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(sent.encode())
        answer = heard(connection)
    assert (b" 408 " in answer and b"within 0.5 s" in answer) if sent else answer == b""


def test_a_second_head_that_does_not_end_is_hung_up_on_too(
    impatient: None, server: Running
) -> None:
    whole = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with closing(connect(server)) as connection:
        for _ in range(3):
            connection.sendall(whole.encode())
            time.sleep(0.3)  # longer together than one head may take
        connection.sendall(b"GET /health HT")
        answer = heard(connection)
    assert answer.count(b" 200 ") == 3 and answer.count(b" 408 ") == 1


def test_a_head_without_end_is_refused(server: Running) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        try:
            for number in range(2_000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 100))
        except ConnectionError:
            pass
        answer = heard(connection)
    assert answer == b"" or b" 431 " in answer  # the rest on its way may take the answer along
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_bodies_that_are_too_many_together_are_refused_and_leave_nothing_behind(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, owner: psycopg.Connection[Any]
) -> None:
    server = serve(worker=False)  # what is deleted here, a worker would still be indexing
    monkeypatch.setattr(bodies, "MOST_HELD", 3_000_000)
    monkeypatch.setattr(bodies, "MOST_HELD_BY_ONE", 2_000_000)
    body = {"messages": [turn("x" * 100_000, key=str(n)) for n in range(9)]}
    with httpx.Client(base_url=server.url, timeout=30) as client:
        with closing(connect(server)) as held:
            held.sendall(f"{POST}content-length: 1500000\r\n\r\n".encode() + b" " * 1_400_000)
            while (answer := client.post("/messages", json=body)).status_code == 202:
                owner.execute("delete from memory")  # what was announced is not there yet
            found = error(answer, 503, "overloaded")
            assert "nothing was stored" in found["message"] and answer.headers["retry-after"]
            assert client.post("/recall", json={"query": "x"}).status_code == 200
        while client.post("/messages", json=body).status_code == 503:
            time.sleep(0.02)  # it takes a moment to see that the other hung up
    assert count(owner, "memory") == 9


def batch(*elements: str, field: str = "messages") -> bytes:
    return f'{{"{field}":[{",".join(elements)}]}}'.encode()


ONE = json.dumps(turn("é" * 100, metadata={"a": [1, None, True, "x"]}), ensure_ascii=False)
MANY_FIELDS = "{" + ",".join(f'"k{n}":1' for n in range(50_000)) + "}"
SPACES = " " * (LARGEST_MEMORY - 5)


def test_a_large_batch_is_stored_like_a_small_one(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    texts = [f"{number} " + "漢字 \\ \" ' 😀 \n" * 500 for number in range(200)]
    body = {
        "messages": [
            turn(text, created_at=f"2025-01-01T00:{n % 60:02}Z") for n, text in enumerate(texts)
        ]
    }
    for ascii in (True, False):
        raw = json.dumps(body, ensure_ascii=ascii, indent=1).encode()
        assert len(raw) > LARGE
        headers = {"content-type": "application/json"}
        answer = client.post("/messages", content=raw, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] == 200
    rows = owner.execute("select content from memory order by id").fetchall()
    assert [row[0] for row in rows] == texts * 2


LARGE_AND_WRONG: tuple[tuple[bytes, int, str | None, str], ...] = (
    (batch(*["{}"] * 200_000), 422, "messages[0].session_id", "is missing"),
    (batch(*[ONE] * 20_000), 422, "messages", "at most 1000 elements"),
    (batch(*[ONE] * 900, '{"role":"user"}'), 422, "messages[900].session_id", "is missing"),
    (batch(*[ONE] * 900, "1"), 422, "messages[900]", "should be"),
    (batch(ONE, "[" * 300_000), 400, None, "cannot be read as JSON"),
    (batch(ONE, '{"a":' * 300_000), 400, None, "cannot be read as JSON"),
    (batch(*[ONE] * 900) + b"x", 400, None, "Extra data"),
    (batch(*[ONE] * 900)[:-1], 400, None, "Expecting"),
    (batch(*[ONE] * 900, ""), 400, None, "Expecting"),
    (batch(*[ONE] * 900)[:-2] + b'],"x":1}', 422, "x", "not a field"),
    (batch(*[ONE] * 900, field="mesages"), 422, "mesages", "not a field"),
    (batch(*[ONE] * 900, field="notes"), 422, "notes[0].session_id", "not a field"),
    (b'{"messages":"' + b"x" * 300_000 + b'"}', 422, "messages", "must be a list"),
    (b'{"messages":{' + b" " * 300_000 + b"}}", 422, "messages", "must be a list"),
    (b"[" + b" " * 300_000 + b"]", 400, None, "Expecting"),
    (batch(*[ONE] * 900).replace(b"\xc3", b"\xff", 1), 400, None, "cannot be read as JSON"),
    (batch('{"content":"' + "x" * LARGEST_MEMORY + '"}'), 422, None, "messages[0] is not JSON, or"),
    (batch(MANY_FIELDS), 422, "messages[0]", "64 fields"),
)  # fmt: skip


def test_a_large_batch_that_is_wrong_says_where_and_stores_nothing(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    headers = {"content-type": "application/json"}
    for raw, status, field, part in LARGE_AND_WRONG:
        assert len(raw) > LARGE, part
        answer = client.post("/messages", content=raw, headers=headers)
        found = error(answer, status, "invalid")
        assert found.get("field") == field, found
        assert part in found["message"], found
    assert count(owner, "memory") == 0


contents = st.lists(
    st.one_of(st.text(min_size=1, max_size=30), st.sampled_from(["\ud800", "\x00a", '"]}', "\\"])),
    min_size=1,
    max_size=6,
)


@given(contents, st.booleans(), st.sampled_from(["", " ", "\n\t "]), st.integers(1, 60))
def test_a_batch_is_read_the_same_through_any_window(
    contents: list[str], ascii: bool, space: str, window: int
) -> None:
    body = {"messages": [turn(text, metadata={"n": [1.5, -2, {}]}) for text in contents]}
    text = json.dumps(body, ensure_ascii=ascii, separators=(f",{space}", f":{space}"))
    raw = f"{space}{text}{space}".encode("utf-8", "surrogatepass")
    largest = max(len(json.dumps(message).encode()) for message in body["messages"]) * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "LARGEST_MEMORY", largest + window)
        patch.setattr(unpacking, "LARGE", 10)
        made = read_batch(raw)
    expected = [Message.model_validate(message) for message in json.loads(raw)["messages"]]
    assert made == {"messages": expected}


def test_a_memory_larger_than_any_may_be_ends_the_reading() -> None:
    with pytest.raises(Invalid, match="takes more than"):
        read_batch(b'{"messages":[{"content":"' + b"x" * (3 * LARGEST_MEMORY) + b'"}]}')
    assert read_batch(b'{"messages":[' + SPACES.encode() * 3 + b"]}") == {"messages": []}
    assert read_batch(b"{" + SPACES.encode() + b"}") == {}
