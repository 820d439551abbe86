"""The HTTP contract of design.md §4, against the real server over a real socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from strategies import SENTENCES

from recall.api.bodies import LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from conftest import Databases, Running

    from recall.base.settings import Settings

WAIT = {"wait": 30}
HIT = {
    *("id", "key", "kind", "session_id", "title", "role", "author", "user_id", "content"),
    *("created_at", "metadata", "score", "count"),
}


def turn(content: str = "hello", **more: Any) -> dict[str, Any]:
    return {"session_id": "s", "role": "user", "content": content} | more


def post(client: httpx.Client, *messages: dict[str, Any], **params: Any) -> dict[str, Any]:
    answer = client.post("/messages", json={"messages": list(messages)}, params=params)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def ask(client: httpx.Client, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/recall", json={"query": query} | more)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def error(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the error of an answer, which has the form of the contract and one sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (name,) = answer.json()
    assert name == "error"
    found = answer.json()["error"]
    assert set(found) in ({"type", "message"}, {"type", "message", "field"})
    assert found["type"] == kind
    assert found["message"].endswith(".") and "\n" not in found["message"]
    return dict(found)


def count(owner: psycopg.Connection[Any], table: str) -> int:
    row = owner.execute(f"select count(*) from {table}".encode()).fetchone()
    return int(row[0]) if row else 0


def test_messages_are_acknowledged_in_order_and_known_keys_are_duplicates(
    client: httpx.Client,
) -> None:
    first = post(client, turn("one", key="a"), turn("two"))
    assert set(first) == {"ids", "accepted", "duplicates"}
    assert (first["accepted"], first["duplicates"]) == (2, 0)
    again = post(client, turn("three"), turn("one", key="a"))
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    assert again["ids"][1] == first["ids"][0]


def test_after_waiting_a_message_is_found_by_its_meaning(client: httpx.Client) -> None:
    stored = post(client, turn("My dog is ill and the vet cannot see him today."), **WAIT)
    assert stored["pending"] == 0
    (hit,) = ask(client, "sick puppy", mode="semantic")
    assert hit["id"] == stored["ids"][0]


def test_a_hit_has_the_fields_of_the_contract(client: httpx.Client) -> None:
    at = "2025-05-01T10:00:00Z"
    given = turn(
        "Hello there", key="k", author="Ada", user_id="u", created_at=at,
        metadata={"a": [1]}, session_title="Greeting",
    )  # fmt: skip
    post(client, given, **WAIT)
    answer = client.post("/recall", json={"query": "hello"}).json()
    assert set(answer) == {"results", "took_ms", "profile", "pending"}
    assert set(answer["took_ms"]) == {"embed", "search", "total"}
    (hit,) = answer["results"]
    assert set(hit) == HIT
    assert hit | {"id": 0, "score": 0} == {
        "id": 0, "key": "k", "kind": "message", "session_id": "s", "title": "Greeting",
        "role": "user", "author": "Ada", "user_id": "u", "content": "Hello there",
        "created_at": at, "metadata": {"a": [1]}, "score": 0, "count": 1,
    }  # fmt: skip


def test_neighbours_and_explanation_come_when_they_are_asked_for(client: httpx.Client) -> None:
    times = [f"2025-05-01T10:0{n}:00Z" for n in range(3)]
    turns = [turn(text, created_at=t) for text, t in zip(SENTENCES, times, strict=False)]
    post(client, *turns, **WAIT)
    around = {"before": 1, "after": 1}
    hit = ask(client, SENTENCES[1], limit=1, neighbors=around, explain=True)[0]
    assert set(hit) == {*HIT, "neighbors", "explain"}
    assert [t["content"] for t in hit["neighbors"]["before"]] == [SENTENCES[0]]
    assert [t["content"] for t in hit["neighbors"]["after"]] == [SENTENCES[2]]
    assert set(hit["neighbors"]["after"][0]) == {"id", "role", "author", "content", "created_at"}
    assert hit["explain"]["words"] + hit["explain"]["meaning"] == pytest.approx(hit["score"])


def test_asking_by_url_is_the_same(client: httpx.Client) -> None:
    post(client, *(turn(text, session_id=f"s{n % 3}") for n, text in enumerate(SENTENCES)), **WAIT)
    body: dict[str, Any] = {
        "query": "storm in the harbour", "limit": 4, "mode": "hybrid", "session_ids": ["s0", "s1"],
        "since": "2020-01-01T00:00:00Z", "explain": True,
    }  # fmt: skip
    params = [("q", "storm in the harbour"), ("limit", "4"), ("mode", "hybrid")]
    params += [("session_ids", "s0"), ("session_ids", "s1"), ("since", "2020-01-01T00:00:00Z")]
    by_body = ask(client, **body)
    by_url = client.get("/recall", params=[*params, ("explain", "true")]).json()["results"]
    assert by_url == by_body != []
    assert error(client.get("/recall"), 422, "invalid")["field"] == "query"
    assert error(client.get("/recall?q=x&limit=0"), 422, "invalid")["field"] == "limit"
    assert error(client.get("/recall?q=x&speed=9"), 422, "invalid")["field"] == "speed"


def test_a_note_is_written_read_replaced_and_erased(client: httpx.Client) -> None:
    given = {"content": "The harbour is closed.", "title": "Harbour", "key": "h", "category": "c"}
    answer = client.post("/notes", json={"notes": [given]}, params=WAIT)
    assert answer.status_code == 202
    (id,) = answer.json()["ids"]
    note = client.get(f"/notes/{id}").json()
    assert {name: note[name] for name in given} == given
    assert ask(client, "harbour", kinds=["note"])[0]["title"] == "Harbour"
    put = client.put(f"/notes/{id}", json={"content": "The harbour is open."})
    assert put.status_code == 202
    assert client.get(f"/notes/{id}").json()["content"] == "The harbour is open."
    assert client.delete(f"/notes/{id}").json() == {"deleted": 1}
    for attempt in (client.get, client.delete):
        assert str(id) in error(attempt(f"/notes/{id}"), 404, "not_found")["message"]
    error(client.put(f"/notes/{id}", json={"content": "x"}), 404, "not_found")
    assert ask(client, "harbour") == []


def test_sessions_and_their_messages_are_paged_both_ways(client: httpx.Client) -> None:
    post(client, *(turn(f"{n}", session_id=f"s/{n % 3}") for n in range(9)))
    first = client.get("/sessions", params={"limit": 2}).json()
    assert [s["session_id"] for s in first["sessions"]] == ["s/2", "s/1"]
    assert set(first["sessions"][0]) == {"session_id", "title", "created_at", "last_at", "messages"}
    rest = client.get("/sessions", params={"limit": 2, "cursor": first["next"]}).json()
    assert [s["session_id"] for s in rest["sessions"]] == ["s/0"]
    assert rest["next"] is None
    back = client.get("/sessions", params={"limit": 2, "cursor": rest["previous"]}).json()
    assert back["sessions"] == first["sessions"]
    page = client.get("/sessions/s/1/messages", params={"limit": 2}).json()
    assert [m["content"] for m in page["messages"]] == ["1", "4"]
    more = client.get("/sessions/s/1/messages", params={"cursor": page["next"]}).json()
    assert [m["content"] for m in more["messages"]] == ["7"]


def test_what_is_deleted_is_gone(client: httpx.Client, owner: psycopg.Connection[Any]) -> None:
    stored = post(
        client, turn("one"), turn("two"), turn("three", session_id="t/1", user_id="u/1"), **WAIT
    )
    assert client.delete(f"/messages/{stored['ids'][0]}").json() == {"deleted": 1}
    assert client.delete("/sessions/s").json() == {"deleted": 1}
    assert client.delete("/users/u/1").json() == {"deleted": 1}
    assert client.delete("/users/u/1").json() == {"deleted": 0}
    for path in (f"/messages/{stored['ids'][0]}", "/sessions/s", "/messages/999999"):
        error(client.delete(path), 404, "not_found")
    for table in ("memory", "session", "chunk", "embedding", "job"):
        assert count(owner, table) == 0, table


def test_status_says_how_much_there_is_and_how_much_of_it_waits(client: httpx.Client) -> None:
    post(client, turn("one"), turn("two"), **WAIT)
    status = client.get("/status").json()
    assert set(status) == {
        *("memories", "chunks", "pending", "failed", "oldest_pending_seconds", "profile"),
        *("database", "not_running"),
    }
    assert status["not_running"] == []
    assert (status["memories"], status["chunks"], status["pending"]) == (2, 2, 0)
    assert status["profile"]["dimension"] == 384
    assert {"postgres", "pgvector"} <= set(status["database"])


def test_health_readiness_and_metrics(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    post(client, turn())
    client.delete("/messages/12345")
    text = client.get("/metrics").text
    assert "recall_memories_stored_total 1.0" in text
    assert 'route="/messages/{id}"' in text and "/12345" not in text


BAD: list[tuple[str, str, Any, str | None, str]] = [
    ("POST", "/messages", {}, "messages", "is missing"),
    ("POST", "/messages", {"messages": []}, "messages", "at least 1 element"),
    ("POST", "/messages", {"messages": [turn()] * 1001}, "messages", "at most 1000 elements"),
    ("POST", "/messages", {"messages": {}}, "messages", "should be"),
    ("POST", "/messages", {"messages": [turn()], "x": 1}, "x", "not a field"),
    ("POST", "/messages", {"messages": [turn(), turn("")]}, "messages[1].content", "at least 1"),
    ("POST", "/messages", {"messages": [turn(), 1]}, "messages[1]", "should be"),
    ("POST", "/messages", {"messages": [turn("x" * 200_001)]}, "messages[0].content", "200,000"),
    ("POST", "/messages", {"messages": [turn(key="x" * 256)]}, "messages[0].key", "255"),
    ("POST", "/messages", {"messages": [turn(session_id="")]}, "messages[0].session_id", "1"),
    ("POST", "/messages", {"messages": [turn(role=None)]}, "messages[0].role", "string"),
    ("POST", "/messages", {"messages": [turn(nme=1)]}, "messages[0].nme", "not a field"),
    ("POST", "/messages", {"messages": [turn(metadata=[])]}, "messages[0].metadata", "should be"),
    ("POST", "/messages", {"messages": [turn(metadata={"a": "x" * 20000})]},
     "messages[0].metadata", "16384 bytes"),
    ("POST", "/messages", {"messages": [turn(created_at="soon")]},
     "messages[0].created_at", "date"),
    ("POST", "/messages", {"messages": [turn(created_at="0001-01-01T00:00:00+00:01")]},
     "messages[0].created_at", "between the years 2 and 9998"),
    ("POST", "/messages?wait=61", {"messages": [turn()]}, "wait", "at most 60"),
    ("POST", "/messages?wait=-1", {"messages": [turn()]}, "wait", "at least 0"),
    ("POST", "/notes", {"notes": [{"title": "t"}]}, "notes[0].content", "is missing"),
    ("POST", "/notes", {"notes": [{"content": "c", "title": "x" * 1001}]},
     "notes[0].title", "1,000"),
    ("PUT", "/notes/1", {}, "content", "is missing"),
    ("GET", "/notes/x", None, "id", "integer"),
    ("GET", "/notes/0", None, "id", "at least 1"),
    ("GET", f"/notes/{2**63}", None, "id", "at most"),
    ("DELETE", "/messages/x", None, "id", "integer"),
    ("POST", "/recall", {}, "query", "is missing"),
    ("POST", "/recall", {"query": ""}, "query", "at least 1 character"),
    ("POST", "/recall", {"query": " \n"}, "query", "blank"),
    ("POST", "/recall", {"query": "x" * 20_001}, "query", "20,000"),
    ("POST", "/recall", {"query": "x", "limit": 0}, "limit", "at least 1"),
    ("POST", "/recall", {"query": "x", "limit": 101}, "limit", "at most 100"),
    ("POST", "/recall", {"query": "x", "mode": "fuzzy"}, "mode", "hybrid"),
    ("POST", "/recall", {"query": "x", "kinds": ["letter"]}, "kinds[0]", "message"),
    ("POST", "/recall", {"query": "x", "kinds": []}, "kinds", "at least 1"),
    ("POST", "/recall", {"query": "x", "neighbors": {"before": 21}}, "neighbors.before", "20"),
    ("POST", "/recall", {"query": "x", "since": "x"}, "since", "date"),
    ("POST", "/recall", {"query": "x" + " -y" * 33}, "query", "at most 32"),
    ("POST", "/recall", {"query": "x", "kinds": ["note"] * 101}, "kinds", "at most 100"),
    ("POST", "/recall", {"query": "x", "metadata": {"a": [1] * 32}}, "metadata", "32 values"),
    ("POST", "/recall", {"query": "x", "until": "9999-12-31T23:00:00-01:30"}, "until", "9998"),
    ("POST", "/recall", {"query": "x", "group_by": "user"}, "group_by", "session"),
    ("POST", "/recall", {"query": "x", "max_tokens": 0}, "max_tokens", "at least 1"),
    ("POST", "/recall", {"query": "x", "sesion_ids": ["s"]}, "sesion_ids", "not a field"),
    ("GET", "/sessions?limit=0", None, "limit", "at least 1"),
    ("GET", "/sessions?limit=201", None, "limit", "at most 200"),
    ("GET", "/sessions?cursor=nonsense", None, "cursor", "recall gave out"),
]  # fmt: skip


def test_bad_input_gets_a_sentence_that_names_field_and_limit_and_changes_nothing(
    client: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    for method, path, body, field, part in BAD:
        found = error(client.request(method, path, json=body), 422, "invalid")
        assert found.get("field") == field, (path, body, found)
        assert found["message"].startswith(f"{field} "), found
        assert part in found["message"], found
    assert count(owner, "memory") == count(owner, "job") == count(owner, "session") == 0


def test_what_is_no_json_is_refused(client: httpx.Client, owner: psycopg.Connection[Any]) -> None:
    headers = {"content-type": "application/json"}
    for body in (b'{"messages":', b"{'a': 1}", b"nonsense", b"\xff\xfe"):
        error(client.post("/messages", content=body, headers=headers), 400, "invalid")
    for body in (b"[]", b'"text"', b"null", b"1", b""):
        error(client.post("/messages", content=body, headers=headers), 422, "invalid")
    deep = b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert client.post("/messages", content=deep, headers=headers).status_code in {400, 422}
    assert count(owner, "memory") == 0


def test_nul_and_surrogates_in_json_are_cleaned(client: httpx.Client) -> None:
    raw = rb'{"messages": [{"session_id": "s", "role": "user", "content": "a\u0000b\ud83d c"}]}'
    headers = {"content-type": "application/json"}
    answer = client.post("/messages", content=raw, headers=headers)
    assert answer.status_code == 202, answer.text
    (message,) = client.get("/sessions/s/messages").json()["messages"]
    assert message["content"] == "ab\ufffd c"


def test_unknown_paths_and_methods_are_said(client: httpx.Client) -> None:
    assert "/nowhere" in error(client.get("/nowhere"), 404, "not_found")["message"]
    error(client.get("/sessions/nobody/messages"), 404, "not_found")
    assert "PATCH" in error(client.patch("/notes/1"), 405, "method_not_allowed")["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Running) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    for lines in (f"content-length: {LARGEST_BODY + 1}", "transfer-encoding: chunked"):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"POST /messages HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n"
            connection.sendall(f"{head}content-type: application/json\r\n\r\n".encode())
            answer = b""
            if "chunked" in lines:
                piece = b" " * (1 << 20)
                try:
                    for _ in range(LARGEST_BODY // len(piece) + 2):
                        connection.sendall(b"100000\r\n" + piece + b"\r\n")
                except ConnectionError:
                    pass  # it hung up on us, which is its right
            while part := connection.recv(4096):
                answer += part
                if b"too_large" in answer:
                    break
            assert b" 413 " in answer and b"too_large" in answer


@pytest.fixture
def keyed(client: httpx.Client, settings: Settings) -> Iterator[dict[str, str]]:
    """Keys of two tenants, made while the service runs."""
    import asyncio

    from recall.database.units import Database
    from recall.memory import keys

    async def make() -> dict[str, str]:
        database = Database(settings.pooled_url, settings)
        await database.open()
        made = {name: await keys.create_key(database, name, name) for name in ("ann", "bob")}
        await database.close()
        return made

    yield asyncio.run(make())


def test_with_keys_only_they_open_and_each_its_own_tenant(
    serve: Callable[..., Running], keyed: dict[str, str]
) -> None:
    running = serve()
    with httpx.Client(base_url=running.url, timeout=30) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}):
            for path in ("/sessions", "/status", "/recall?q=x"):
                answer = client.get(path, headers=headers)
                error(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200
    ann, bob = (
        httpx.Client(
            base_url=running.url, timeout=30, headers={"authorization": f"Bearer {keyed[name]}"}
        )
        for name in ("ann", "bob")
    )
    with ann, bob:
        stored = post(ann, turn("ann's secret harbour", key="k"), **WAIT)
        assert ask(ann, "harbour")[0]["content"] == "ann's secret harbour"
        assert ask(bob, "harbour") == []
        assert bob.get("/sessions").json()["sessions"] == []
        error(bob.delete(f"/messages/{stored['ids'][0]}"), 404, "not_found")
        error(bob.get("/sessions/s/messages"), 404, "not_found")
        assert post(bob, turn("bob's", key="k"))["accepted"] == 1


def test_without_keys_only_this_machine_is_answered(client: httpx.Client) -> None:
    """A web page can make a browser call 127.0.0.1 under a name of the page's own."""
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::ffff:8.8.8.8]"):
        error(client.get("/sessions", headers={"host": host}), 401, "unauthorized")
    for host in ("localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/sessions", headers={"host": host}).status_code == 200, host


def test_without_keys_it_refuses_to_serve_the_network(serve: Callable[..., Running]) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.1"):
        with pytest.raises(RuntimeError, match="did not start"):
            serve(host=host)


def test_with_a_key_it_may_serve_the_network(
    serve: Callable[..., Running], keyed: dict[str, str]
) -> None:
    running = serve(host="0.0.0.0")
    assert httpx.get(f"{running.url}/health").status_code == 200


def test_the_schema_describes_every_route(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    for path in ("/messages", "/notes", "/notes/{id}", "/recall", "/sessions", "/status"):
        assert path in schema["paths"]
    names = [o["operationId"] for p in schema["paths"].values() for o in p.values()]
    assert len(set(names)) == len(names)


def test_while_the_database_is_away_the_service_lives_and_says_so(
    serve: Callable[..., Running],
    databases: Databases,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with httpx.Client(base_url=serve(statement_timeout=1.0).url, timeout=60) as client:
        post(client, turn())
        databases.drop(settings.pooled_url)
        answer = client.post("/messages", json={"messages": [turn()]})
        assert "database" in error(answer, 503, "unavailable")["message"]
        assert answer.headers["retry-after"]
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
