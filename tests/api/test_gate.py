"""Who gets in: with a key, without one, from this machine and from the network."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from recall.api.gate import Gate, check_bind
from recall.contract.errors import Unauthorized
from recall.database.caller import Caller
from recall.memory import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from conftest import Running

    from recall.database.units import Database

pytestmark = pytest.mark.anyio


def own_address() -> str:
    """Return an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def request(key: str | None = None, host: str = "127.0.0.1", peer: str = "127.0.0.1") -> Any:
    headers = [(b"host", host.encode())]
    if key is not None:
        headers.append((b"authorization", f"Bearer {key}".encode()))
    return HTTPConnection({"type": "http", "headers": headers, "client": (peer, 5)})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The digests that the database was asked for."""
    digests: list[bytes] = []
    look_up = keys.caller_by_key

    async def counted(database: Database, digest: bytes) -> Caller | None:
        digests.append(digest)
        return await look_up(database, digest)

    monkeypatch.setattr(keys, "caller_by_key", counted)
    return digests


@pytest.mark.parametrize("address", ["127.0.0.1", None])
def test_revoking_the_last_key_opens_nothing(
    address: str | None,
    serve: Callable[..., Running],
    owner: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recall.api.gate.REMEMBERED", 0.05)
    address = address or own_address()
    owner.execute(
        "insert into api_key (tenant_id, name, digest) values (1, 'agent', %s)",
        [keys.key_digest("open sesame")],
    )
    port = serve(host="0.0.0.0").url.rpartition(":")[2]
    with httpx.Client(base_url=f"http://{address}:{port}", timeout=30) as client:
        bearer = {"authorization": "Bearer open sesame"}
        assert client.get("/sessions", headers=bearer).status_code == 200
        owner.execute("update api_key set revoked_at = now()")
        while client.get("/sessions", headers=bearer).status_code != 401:
            time.sleep(0.05)
        for host in ("localhost", "127.0.0.1", "[::1]", f"{address}:{port}"):
            for path in ("/sessions", "/recall?q=x", "/users/u"):
                method = "DELETE" if "users" in path else "GET"
                answer = client.request(method, path, headers={"host": host})
                assert answer.status_code == 401, (host, path, answer.text)
        assert client.get("/health").status_code == 200


async def test_a_keyless_service_is_keyed_from_its_first_key_until_it_starts_again(
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recall.api.gate.REMEMBERED", 0.0)
    gate = Gate(database, caller, "127.0.0.1")
    await check_bind(database, "127.0.0.1")
    assert await gate.caller(request()) == caller
    key = await keys.create_key(database, "ann", "agent")
    with pytest.raises(Unauthorized, match="wants a key"):
        await gate.caller(request())
    assert await gate.caller(request(key)) == await keys.caller_of(database, "ann")
    owner.execute("update api_key set revoked_at = now()")
    for refused in (request(), request(key)):
        with pytest.raises(Unauthorized):
            await gate.caller(refused)
    assert await Gate(database, caller, "127.0.0.1").caller(request()) == caller


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("localhost", "192.0.2.7"),
        ("127.0.0.1", "2001:db8::7"),
        ("192.0.2.7", "127.0.0.1"),
        ("evil.example@127.0.0.1", "127.0.0.1"),
        ("127.0.0.1@evil.example", "127.0.0.1"),
        ("127.0.0.1.evil.example", "127.0.0.1"),
        ("localhost/evil.example", "127.0.0.1"),
        ("localhost:8000:9", "127.0.0.1"),
        ("localhost evil.example", "127.0.0.1"),
        ("", "127.0.0.1"),
        (":8000", "127.0.0.1"),
    ],
)
async def test_without_keys_peer_and_host_must_both_be_this_machine(
    host: str, peer: str, database: Database, caller: Caller
) -> None:
    gate = Gate(database, caller, "127.0.0.1")
    with pytest.raises(Unauthorized, match="only to 127"):
        await gate.caller(request(host=host, peer=peer))
    for fine in ("localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.2:80", "[::1]:8000"):
        assert await gate.caller(request(host=fine, peer="::1")) == caller


async def test_two_hosts_or_none_are_not_this_machine(database: Database, caller: Caller) -> None:
    gate = Gate(database, caller, "127.0.0.1")
    for headers in ([], [(b"host", b"localhost"), (b"host", b"evil.example")]):
        scope = {"type": "http", "headers": headers, "client": ("127.0.0.1", 5)}
        with pytest.raises(Unauthorized):
            await gate.caller(HTTPConnection(scope))
    unknown = {"type": "http", "headers": [(b"host", b"localhost")], "client": None}
    with pytest.raises(Unauthorized):
        await gate.caller(HTTPConnection(unknown))


async def test_a_key_is_looked_up_once_in_a_while_whether_it_opens_or_not(
    database: Database, caller: Caller, asked: list[bytes]
) -> None:
    gate = Gate(database, caller, "127.0.0.1")
    key = await keys.create_key(database, "ann", "agent")
    for _ in range(5):
        await gate.caller(request(key))
        with pytest.raises(Unauthorized, match="opens nothing"):
            await gate.caller(request("wrong"))
    assert asked == [keys.key_digest(key), keys.key_digest("wrong")]


async def test_keys_that_open_nothing_take_no_place_from_those_that_do(
    database: Database, caller: Caller, asked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recall.api.gate.MOST_REMEMBERED", 4)
    gate = Gate(database, caller, "127.0.0.1")
    key = await keys.create_key(database, "ann", "agent")
    ann = await gate.caller(request(key))
    for n in range(20):
        with pytest.raises(Unauthorized):
            await gate.caller(request(f"wrong {n}"))
    assert await gate.caller(request(key)) == ann
    assert asked.count(keys.key_digest(key)) == 1
    assert len(asked) == 21


async def test_a_service_bound_to_the_network_asks_for_keys_only_at_its_start(
    database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keys.create_key(database, "ann", "agent")
    gate = Gate(database, caller, "0.0.0.0")
    await check_bind(database, "0.0.0.0")

    async def never(database: Database) -> bool:
        raise AssertionError("asked again")

    monkeypatch.setattr(keys, "any_live_key", never)
    with pytest.raises(Unauthorized, match="wants a key"):
        await gate.caller(request())


def test_a_right_that_a_key_lacks_is_named(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reader(database: Database, digest: bytes) -> Caller:
        return Caller(1, rights=frozenset({"read"}))

    async def writer(database: Database, digest: bytes) -> Caller:
        return Caller(1, rights=frozenset({"write"}))

    monkeypatch.setattr(keys, "caller_by_key", reader)
    note = {"notes": [{"content": "a note"}]}
    with httpx.Client(base_url=serve().url, headers={"Authorization": "Bearer any"}) as client:
        assert client.post("/recall", json={"query": "a note"}).status_code == 200
        for method, path, json, right in (
            ("POST", "/notes", note, "write"),
            ("DELETE", "/users/ann", None, "erase"),
            ("POST", "/failed/retry", None, "write"),
        ):
            answer = client.request(method, path, json=json)
            assert answer.status_code == 403
            error = answer.json()["error"]
            assert error["type"] == "forbidden"
            assert f"'{right}'" in error["message"]
        monkeypatch.setattr(keys, "caller_by_key", writer)
        waiting = client.post("/notes?wait=5", json=note, headers={"Authorization": "Bearer b"})
        assert waiting.status_code == 403
        assert client.post("/notes", json=note, headers={"Authorization": "Bearer b"}).json() == {
            "ids": [1],
            "accepted": 1,
            "duplicates": 0,
        }
