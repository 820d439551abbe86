"""Who is asking: which tenant a request acts for."""

from __future__ import annotations

import ipaddress
import time
from typing import Annotated

from fastapi import Depends, Request

from recall import keys
from recall.database import Database
from recall.errors import Misconfigured, Unauthorized
from recall.service import Service

#: Seconds that a key's tenant is remembered: a revoked key opens nothing after as long.
REMEMBERED = 10.0
MOST_REMEMBERED = 10_000


class Gate:
    """Tells a request's tenant from its key; without any key configured, only loopback enters."""

    def __init__(self, database: Database, default: int) -> None:
        self._database = database
        self._default = default
        self._known: dict[str, tuple[float, int]] = {}
        self._keyed: tuple[float, bool] = (0.0, False)

    async def check_bind(self, host: str) -> None:
        """Refuse to serve the network without keys."""
        if not _loopback(host) and not await self._has_keys():
            raise Misconfigured(
                f"RECALL_HOST={host} would serve everybody without a key. Make one with "
                "`recall keys create NAME`, or serve on 127.0.0.1."
            )

    async def tenant(self, request: Request) -> int:
        """Return the tenant that the request acts for; raises Unauthorized."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return await self._tenant_of(key.strip())
        if await self._has_keys():
            raise Unauthorized("This service wants a key: send `Authorization: Bearer KEY`.")
        # A web page elsewhere can make a browser call 127.0.0.1 under a name of its own.
        if not _loopback(request.url.hostname or ""):
            raise Unauthorized("Without keys recall answers only to 127.0.0.1 and localhost.")
        return self._default

    async def _tenant_of(self, key: str) -> int:
        now = time.monotonic()
        until, tenant = self._known.get(key, (0.0, 0))
        if until > now:
            return tenant
        found = await keys.tenant_of(self._database, key)
        if found is None:
            raise Unauthorized("This key opens nothing.")
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = (now + REMEMBERED, found)
        return found

    async def _has_keys(self) -> bool:
        until, keyed = self._keyed
        if until < time.monotonic():
            keyed = any(key.revoked_at is None for key in await keys.listed(self._database))
            self._keyed = (time.monotonic() + REMEMBERED, keyed)
        return keyed


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _tenant(request: Request) -> int:
    gate: Gate = request.app.state.gate
    return await gate.tenant(request)


async def _service(request: Request) -> Service:  # a plain function would be given a thread
    service: Service = request.app.state.service
    return service


Tenant = Annotated[int, Depends(_tenant)]
Running = Annotated[Service, Depends(_service)]
