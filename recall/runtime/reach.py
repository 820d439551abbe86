"""Reaching the database: its addresses, checked before a start, and then the database itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from recall.database.units import Database
from recall.embedded import keeper
from recall.schema import migrate, preflight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from recall.base.settings import Settings


class Address(NamedTuple):
    """Where the database is: the URLs for traffic and for the schema, and the embedded server."""

    url: str
    direct: str
    server: keeper.Server | None


@asynccontextmanager
async def reached(settings: Settings, writes: bool = True) -> AsyncIterator[Address]:
    """Yield where the database is; without a URL the embedded server is started first.

    `writes` is whether anything will be stored. Raises Misconfigured where the server cannot serve
    recall, and Unavailable where none answers.
    """
    if not settings.embedded:
        await preflight.check_server(settings.pooled_url, settings.direct_url, writes)
        yield Address(settings.pooled_url, settings.direct_url, None)
        return
    use = await asyncio.to_thread(keeper.start, settings.home)
    try:
        yield Address(use.server.url(), use.server.url(), use.server)
    finally:
        use.release()


@asynccontextmanager
async def open_database(
    settings: Settings, ground: Callable[[str], object] = migrate.migrate
) -> AsyncIterator[Database]:
    """Open the database, the embedded one when no URL is set, its schema up to date.

    A command that only reads gives `migrate.check` as `ground`: it refuses a schema that it cannot
    read as it is, and changes nothing. A new embedded database is migrated for readers too. Raises
    what `reached` raises, and SchemaRefused where the schema is not for this version.
    """
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(
            reached(settings, writes=ground is migrate.migrate)
        )
        if address.server:
            ground = await asyncio.to_thread(migrate.first, address.direct, ground)
        await asyncio.to_thread(ground, address.direct)
        database = Database(address.url, settings, address.server)
        await database.open()
        stack.push_async_callback(database.close)
        yield database
