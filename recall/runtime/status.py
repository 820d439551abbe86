"""How much is remembered, how much of it waits, and on what it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recall.base.queries import query
from recall.database.caller import OWNER

if TYPE_CHECKING:
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.indexing.profiles import Profile


async def read_status(
    database: Database, caller: Caller, profile: Profile | None
) -> dict[str, Any]:
    """Return the counts of `caller`, the active profile and the database's versions and size."""

    async def work(connection: Connection) -> dict[str, Any]:
        counts = await _row(connection, "status")
        server = await _row(connection, "server")
        return {**counts, "profile": asdict(profile) if profile else None, "database": server}

    return await database.read(caller, work)


async def _row(connection: Connection, statement: str) -> dict[str, Any]:
    cursor = await connection.execute(query(statement))
    row = await cursor.fetchone()
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, row or (), strict=True))


async def ready(database: Database) -> None:
    """Ask the database for an answer; raises Unavailable when it has none."""

    async def work(connection: Connection) -> None:
        await connection.execute(query("ready"))

    await database.read(OWNER, work)
