"""How much is remembered, how much of it waits, and on what it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recall.base.queries import query
from recall.database.caller import OWNER
from recall.database.fetching import Row, fetch_one

if TYPE_CHECKING:
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.indexing.profiles import Profile


async def read_status(
    database: Database, caller: Caller, profile: Profile | None
) -> dict[str, Any]:
    """Return the counts of `caller`, the active profile and the database's versions and size."""

    async def work(connection: Connection) -> dict[str, Any]:
        counts = await fetch_one(connection, Row, query("status"))
        server = await fetch_one(connection, Row, query("server"))
        active = {"profile": asdict(profile) if profile else None}
        return {**(counts or {}), **active, "database": server}

    return await database.read(caller, work)


async def ready(database: Database) -> None:
    """Ask the database for an answer; raises Unavailable when it has none."""

    async def work(connection: Connection) -> None:
        await connection.execute(query("ready"))

    await database.read(OWNER, work)
