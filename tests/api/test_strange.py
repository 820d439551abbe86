"""Strange requests: each gets a sentence in the contract's form, and none finds a fault of ours."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from test_api import WAIT, ask, count, error, post, turn

from recall.api.wire_errors import LastResort
from recall.contract import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    import psycopg
    from conftest import Running
    from starlette.types import Message, Receive, Scope, Send

JSON = {"content-type": "application/json"}


def deep(levels: int) -> str:
    """Return JSON of so many objects, one in the other."""
    return '{"a":' * levels + "1" + "}" * levels


def packed(cursor: object) -> str:
    raw = cursor if isinstance(cursor, bytes) else json.dumps(cursor).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


AT = "2026-01-01T00:00:00+00:00"
CURSORS: tuple[object, ...] = (
    b'["2026-01-01T00:00:00+00:00",1e400,true]',
    b"[" * 30_000,
    b'{"a":' * 5_000,
    b"\xff\xfe",
    b'["\\ud800",1,true]',
    [AT, 10**40, True],
    [AT, 2**63, True],
    [AT, -1, True],
    [AT, 1.5, True],
    [AT, "1", True],
    [AT, True, True],
    [AT, 1, 2],
    [AT, 1],
    [AT, 1, True, 1],
    [1e400, 1, True],
    [None, None, None],
    ["2026-01-01T00:00:00+99:99", 1, True],
    {"a": 1},
    [],
)


def test_a_cursor_of_any_making_is_read_or_refused(client: httpx.Client) -> None:
    post(client, turn())
    for cursor in CURSORS:
        for path in ("/sessions", "/sessions/s/messages"):
            answer = client.get(path, params={"cursor": packed(cursor)})
            assert error(answer, 422, "invalid")["field"] == "cursor", cursor


def test_what_postgres_cannot_store_is_cleaned_from_a_path_too(client: httpx.Client) -> None:
    """An id is stored without its NULs, so it is asked for without them."""
    post(client, turn(session_id="a\x00b", user_id="u\x00"))
    assert len(client.get("/sessions/a%00b/messages").json()["messages"]) == 1
    error(client.get("/sessions/c%00d/messages"), 404, "not_found")
    assert client.delete("/users/u%00").json() == {"deleted": 1}
    for method, path, field in (
        ("GET", "/sessions/%00/messages", "session_id"),
        ("DELETE", "/sessions/%00", "session_id"),
        ("DELETE", "/users/%00", "user_id"),
        ("DELETE", f"/users/{'x' * 256}", "user_id"),
    ):
        assert error(client.request(method, path), 422, "invalid")["field"] == field


@pytest.mark.parametrize("name", ["neighbors", "metadata"])
def test_json_in_a_url_is_read_or_refused(name: str, client: httpx.Client) -> None:
    wrong = ["[" * 15_000, deep(3_000), deep(400), "{", "", "[]", "1", '{"a":NaN}', '{"a":1e400}']
    if name == "neighbors":
        wrong += ['{"before":99999999999999999999}', '{"after":1.5}']
    for value in [*wrong, "Infinity", '"x"']:
        answer = client.get("/recall", params={"q": "x", name: value})
        found = error(answer, 422, "invalid")
        assert found["field"].startswith(name) and found["message"].startswith(found["field"])
    fine = {"neighbors": '{"before":1}', "metadata": deep(32)}[name]
    assert client.get("/recall", params={"q": "x", name: fine}).status_code == 200


def test_metadata_nests_32_deep_and_no_deeper_so_that_all_of_it_comes_back(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    for levels in (33, 300, 480):
        metadata = json.loads(deep(levels))
        for method, path, body, field in (
            ("POST", "/messages", {"messages": [turn(metadata=metadata)]}, "messages[0].metadata"),
            ("POST", "/notes", {"notes": [{"content": "x", "metadata": metadata}]}, "notes[0]."),
            ("PUT", "/notes/1", {"content": "x", "metadata": metadata}, "metadata"),
            ("POST", "/recall", {"query": "x", "metadata": metadata}, "metadata"),
        ):
            found = error(client.request(method, path, json=body), 422, "invalid")
            assert found["field"].startswith(field) and "at most 32 deep" in found["message"]
    assert count(owner, "memory") == 0
    post(client, turn(metadata=json.loads(deep(32))), **WAIT)
    (hit,) = ask(client, "hello", metadata=json.loads(deep(32)))
    assert hit["metadata"] == json.loads(deep(32))


def test_metadata_that_was_stored_deeper_is_readable(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    post(client, turn(created_at=AT), **WAIT)
    (before,) = ask(client, "hello")
    owner.execute("update memory set metadata = %s::jsonb", [deep(400)])
    (message,) = client.get("/sessions/s/messages").json()["messages"]
    assert message["metadata"] == json.loads(deep(400))
    (hit,) = ask(client, "hello")
    assert hit["metadata"] == message["metadata"]
    assert hit.keys() == before.keys()


STRANGE: tuple[tuple[str, str, bytes, dict[str, str]], ...] = (
    ("POST", "/messages", b"[" * 1_000_000, JSON),
    ("POST", "/messages", b'{"messages":' + b"[" * 100_000, JSON),
    ("POST", "/messages", b"\xff\xfe", JSON),
    ("POST", "/messages", b'{"messages":[{"content":"\xff"}]}', JSON),
    ("POST", "/messages", b'{"messages":[' + b"9" * 5_000 + b"]}", JSON),
    ("POST", "/messages", '{"messages":[]}'.encode("utf-32"), JSON),
    ("POST", "/messages", b'{"messages":[]}', {"content-type": "text/plain"}),
    ("POST", "/messages", b'{"messages":[]}', {"content-type": "multipart/form-data"}),
    ("POST", "/messages", b"\x1f\x8b\x08", JSON | {"content-encoding": "gzip"}),
    ("POST", "/messages?wait=NaN", b'{"messages":[]}', JSON),
    ("POST", "/messages?wait=1e400", b'{"messages":[]}', JSON),
    ("POST", "/recall", b'{"query":"x","limit":1e400}', JSON),
    ("POST", "/recall", b'{"query":"x","since":1e400}', JSON),
    ("POST", "/recall", b'{"query":"x","since":NaN}', JSON),
    ("POST", "/recall", b'{"query":"x","until":"2025-01-01T00:00:00+24:00"}', JSON),
    ("POST", "/recall", b'{"query":"\\u0000"}', JSON),
    ("POST", "/recall", b'{"query":"x","' + b"k" * 100_000 + b'":1}', JSON),
    ("POST", "/recall", b'{"query":"x","kinds":[' + b'"note",' * 100_000 + b'"note"]}', JSON),
    ("GET", "/recall?q=x&since=-1e30", b"", {}),
    ("GET", "/recall?q=x&recency_half_life=NaN", b"", {}),
    ("GET", "/recall?q=%00", b"", {}),
    ("GET", "/recall?q=x&user_id=%00", b"", {}),
    ("GET", f"/notes/{'9' * 400}", b"", {}),
    ("GET", f"/{'a' * 5_000}", b"", {}),
    ("GET", "/%00", b"", {}),
    ("HEAD", "/recall", b"", {}),
    ("OPTIONS", "/messages", b"", {}),
)


def test_none_of_it_is_a_fault_of_ours(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    for method, path, body, headers in STRANGE:
        answer = client.request(method, path, content=body, headers=headers)
        assert answer.status_code in {400, 404, 405, 422}, (path, body[:50], answer.text)
        if method != "HEAD":
            kinds = {404: "not_found", 405: "method_not_allowed"}
            kind = kinds.get(answer.status_code, "invalid")
            said = error(answer, answer.status_code, kind)
            assert len(said["message"]) < 600, path
    assert count(owner, "memory") == 0


def test_strange_questions_are_answered(client: httpx.Client) -> None:
    post(client, turn("it's a 'quoted' \\ text in C:\\Windows"), **WAIT)
    for query in (
        "it's \"it's it's\" -it's'",
        "\"C:\\Windows 'quoted'\" -\\",
        '-""',
        '"',
        "-",
        "\u202e",
    ):
        for mode in ("hybrid", "semantic", "keyword"):
            ask(client, query, mode=mode, explain=True, recency_half_life=1e-320)
    assert client.get(
        "/recall", params={"q": "it", "since": "2025-01-01T00:00:00+23:59"}
    ).is_success


def test_a_method_that_is_not_for_a_path_is_told_those_that_are(client: httpx.Client) -> None:
    for path, allowed in (
        ("/notes/1", "DELETE, GET, PUT"),
        ("/messages", "POST"),
        ("/recall", "GET, POST"),
        ("/sessions/s/messages", "DELETE, GET"),
    ):
        answer = client.patch(path)
        error(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed, path


def test_an_explanation_speaks_of_words_and_phrases_as_they_are_asked(client: httpx.Client) -> None:
    post(client, turn("The pooler drops idle connections; it's the pooler's fault."), **WAIT)
    (hit,) = ask(client, 'pooler "idle connections" "the pooler\'s fault"', explain=True)
    assert set(hit["explain"]["by_word"]) == {
        *("pooler", "idle", "connections", "fault"),
        *('"idle connections"', '"the pooler s fault"'),
    }


def test_a_fault_of_ours_is_one_sentence_for_the_caller_and_one_record_in_the_log(
    serve: Callable[..., Running],
    client: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret from deep inside")

    monkeypatch.setattr("recall.memory.memories.read_note", broken)
    with caplog.at_level(logging.INFO):
        answer = client.get("/notes/1")
    found = error(answer, 500, "internal")
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "acknowledged is kept" in found["message"]
    records = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in records] == ["GET /notes/{id} failed"]
    assert 'status="500"' in client.get("/metrics").text


@pytest.mark.anyio
async def test_a_fault_behind_half_an_answer_breaks_it_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(RuntimeError):
        await LastResort(app)({"type": "http", "method": "GET"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_the_types_on_the_wire_stay() -> None:
    """Written down a second time: a caller's code compares with these words."""
    promised = {
        errors.RecallError: (500, "recall_error"),
        errors.Invalid: (422, "invalid"),
        errors.Unauthorized: (401, "unauthorized"),
        errors.Forbidden: (403, "forbidden"),
        errors.NotFound: (404, "not_found"),
        errors.Unavailable: (503, "unavailable"),
        errors.Overloaded: (503, "overloaded"),
        errors.NotReady: (503, "not_ready"),
        errors.Broken: (500, "broken"),
        errors.Misconfigured: (500, "misconfigured"),
        errors.SchemaRefused: (500, "schema_refused"),
        errors.ModelMismatch: (500, "model_mismatch"),
        errors.ModelMissing: (500, "model_missing"),
        errors.ModelCorrupt: (500, "model_corrupt"),
        errors.SourceUnreadable: (500, "source_unreadable"),
    }
    assert promised == errors.WIRE


def test_every_error_has_a_type_of_its_own_on_the_wire() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    assert [each for each in classes if each not in errors.WIRE] == []
    assert len({kind for _, kind in errors.WIRE.values()}) == len(errors.WIRE)


def test_an_error_without_a_type_has_that_of_its_base() -> None:
    class Newer(errors.Overloaded):
        pass

    assert errors.on_the_wire(Newer("x")) == (503, "overloaded")
