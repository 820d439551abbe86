"""The gate: which caller a request acts for, told by its key.

A service bound to loopback is *keyless* as long as the database has no key: it acts for the default
tenant, and answers this machine alone. Once it has seen a key in the database it wants one, until
it is started again: revoking the last key shuts a service, and never opens one. A service bound to
any other address always wants a key.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from recall.api.wire_errors import explained, refuse
from recall.contract.errors import Misconfigured, RecallError, Unauthorized
from recall.database.caller import Caller
from recall.database.units import Database
from recall.memory import keys
from recall.runtime.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

T = TypeVar("T")

#: Seconds that a key's caller is remembered: a revoked key opens nothing after as long.
REMEMBERED = 10.0
#: Seconds that an unknown key is remembered as such: a new key opens after as long at the latest.
REFUSED = 3.0
MOST_REMEMBERED = 10_000
#: Paths that want no key and no slot.
OPEN = {"/health", "/ready", "/metrics"}
#: Keys that are looked up side by side: guessed ones must not take the connections of known ones.
LOOKUPS = 2

_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?", re.ASCII)


async def check_bind(database: Database, host: str) -> None:
    """Raise Misconfigured where the network would be served while there is no key."""
    if not _loopback(host) and not await keys.any_live_key(database):
        raise Misconfigured(
            f"RECALL_HOST={host} would serve everybody without a key. Make one with "
            "`recall keys create NAME`, or serve on 127.0.0.1."
        )


class Gate:
    """Knows the caller of a request by its key."""

    def __init__(self, database: Database, default: Caller, host: str) -> None:
        self._database = database
        self._default = default
        self._keyless = _loopback(host)
        self._looked = -REMEMBERED
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._unknown: dict[bytes, float] = {}
        self._lookups = asyncio.Semaphore(LOOKUPS)

    async def caller(self, request: HTTPConnection) -> Caller:
        """Return the caller that the request acts for; raises Unauthorized when there is none."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return await self._caller_by(keys.key_digest(key.strip()))
        if not await self._still_keyless():
            raise Unauthorized("This service wants a key: send `Authorization: Bearer KEY`.")
        # DNS rebinding: a web page can have a browser call 127.0.0.1 under the page's own name.
        if not (_from_here(request) and _to_here(request)):
            raise Unauthorized("Without keys recall answers only to 127.0.0.1 and localhost.")
        return self._default

    async def _caller_by(self, digest: bytes) -> Caller:
        async with nullcontext() if digest in self._known else self._lookups:
            now = time.monotonic()
            until, caller = self._known.get(digest, (0.0, None))
            if caller and until > now:
                return caller
            if self._unknown.get(digest, 0.0) < now:
                caller = await keys.caller_by_key(self._database, digest)
                if caller is not None:
                    _remember(self._known, digest, (now + REMEMBERED, caller))
                    return caller
                self._known.pop(digest, None)
                _remember(self._unknown, digest, now + REFUSED)
        raise Unauthorized("This key opens nothing.")

    async def _still_keyless(self) -> bool:
        if self._keyless and self._looked + REMEMBERED <= time.monotonic():
            self._keyless = not await keys.any_live_key(self._database)
            self._looked = time.monotonic()
        return self._keyless


def _remember(known: dict[bytes, T], digest: bytes, value: T) -> None:
    """Keep a value by a key's digest, whose length does not depend on what was sent."""
    known.pop(digest, None)
    if len(known) >= MOST_REMEMBERED:
        del known[next(iter(known))]
    known[digest] = value


def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _from_here(request: HTTPConnection) -> bool:
    return request.client is not None and _loopback(request.client.host)


def _to_here(request: HTTPConnection) -> bool:
    """Return whether the one Host that the request names is this machine's loopback."""
    named = [_HOST.fullmatch(host) for host in request.headers.getlist("host")]
    return len(named) == 1 and named[0] is not None and _loopback(named[0][1])


class KeyFirst:
    """Middleware that checks the key before the body is read: without a right key nothing is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN and _shows(scope):
            gate: Gate = scope["app"].state.gate
            try:
                scope["recall.caller"] = await gate.caller(HTTPConnection(scope))
            except RecallError as error:
                return await refuse(explained(error), receive, send)
        await self._app(scope, receive, send)


def _shows(scope: Scope) -> bool:
    """Return whether a request comes with a body or a key."""
    names = {name for name, _ in scope["headers"]}
    return bool(names & {b"content-length", b"transfer-encoding", b"authorization"})


def sender(scope: Scope) -> bytes:
    """Return a request's sender, by what it shows and no look at the database: key, or address."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return hashlib.blake2b(value, digest_size=16).digest()
    return str((scope.get("client") or ("",))[0]).encode()


async def _caller(request: Request) -> Caller:
    known: Caller | None = request.scope.get("recall.caller")
    gate: Gate = request.app.state.gate
    return known or await gate.caller(request)


async def _service(request: Request) -> Service:  # a plain function would be given a thread
    service: Service = request.app.state.service
    return service


Asker = Annotated[Caller, Depends(_caller)]
Running = Annotated[Service, Depends(_service)]
