"""API keys: which tenant each lets in. A key is shown once and kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.contract.errors import Invalid, NotFound
from recall.database.caller import OWNER, Caller
from recall.database.fetching import fetch_all, fetch_value

if TYPE_CHECKING:
    from datetime import datetime

    from recall.database.units import Connection, Database


LONGEST_TENANT = 255


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed: everything but the key."""

    id: int
    tenant: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


def key_digest(key: str) -> bytes:
    """Return the digest of a key, a plain SHA-256: a random key cannot be guessed from it."""
    return hashlib.sha256(key.encode()).digest()


async def create_key(database: Database, tenant: str, name: str) -> str:
    """Make a key for `tenant`, which is made when it does not exist, and return the key.

    Raises Invalid when no tenant can be called that.
    """
    _check(tenant)
    key = f"recall_{secrets.token_urlsafe(32)}"

    async def work(connection: Connection) -> None:
        await connection.execute(query("ensure_tenant"), [tenant])
        await connection.execute(query("create_key"), [name, key_digest(key), tenant])

    await database.as_owner(work)
    return key


def _check(tenant: str) -> None:
    """Raise Invalid for a tenant's name that the database would refuse."""
    if not 1 <= len(tenant) <= LONGEST_TENANT:
        raise Invalid(f"A tenant's name has 1 to {LONGEST_TENANT} characters.", "tenant")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in tenant):
        raise Invalid("A tenant's name must be text in UTF-8.", "tenant")


async def list_keys(database: Database) -> list[Key]:
    """Return every key, oldest first."""

    async def work(connection: Connection) -> list[Key]:
        return await fetch_all(connection, Key, query("keys"))

    return await database.read(OWNER, work)


async def revoke_key(database: Database, id: int) -> None:
    """Make a key open nothing any more.

    Raises NotFound when there is no such live key.
    """

    async def work(connection: Connection) -> bool:
        return await fetch_value(connection, query("revoke_key"), [id]) is not None

    if not await database.as_owner(work):
        raise NotFound(f"There is no live key {id}.")


async def any_live_key(database: Database) -> bool:
    """Return whether any key opens anything."""

    async def work(connection: Connection) -> bool:
        return bool(await fetch_value(connection, query("any_live_key")))

    return await database.read(OWNER, work)


async def caller_by_key(database: Database, digest: bytes) -> Caller | None:
    """Return whom the key of this digest lets in, or None."""

    async def work(connection: Connection) -> Caller | None:
        tenant = await fetch_value(connection, query("tenant_of_key"), [digest])
        return None if tenant is None else Caller(tenant)

    return await database.read(OWNER, work)


async def caller_of(database: Database, name: str) -> Caller:
    """Return a caller of the tenant called `name`, which is made when it does not exist.

    Raises Invalid when no tenant can be called that.
    """
    _check(name)

    async def work(connection: Connection) -> Caller:
        await connection.execute(query("ensure_tenant"), [name])
        return Caller(await fetch_value(connection, query("tenant_by_name"), [name]))

    return await database.as_owner(work)


async def known_caller(database: Database, name: str) -> Caller:
    """Return a caller of the tenant called `name`.

    Raises NotFound when there is none, Invalid when no tenant can be called that.
    """
    _check(name)

    async def work(connection: Connection) -> Caller:
        tenant = await fetch_value(connection, query("tenant_by_name"), [name])
        if tenant is None:
            raise NotFound(f"There is no tenant {name!r}.")
        return Caller(tenant)

    return await database.read(OWNER, work)
