"""The register of followed sources: what workers follow beside their work, one of them each.

Where a source was registered with a trigger, its tables tell when they change.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from recall.base import urls
from recall.base.queries import query
from recall.contract.errors import Invalid
from recall.database.caller import OWNER
from recall.database.fetching import Row, fetch_all, fetch_value
from recall.sync.entry import entry_of
from recall.sync.followed import Followed

if TYPE_CHECKING:
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database


async def add_to_register(database: Database, caller: Caller, followed: Followed) -> None:
    """Let a worker follow a source.

    Raises Invalid when its URL holds a password, SourceUnreadable when it cannot be opened or takes
    no trigger, and Forbidden without the right "admin".
    """
    caller.need("admin")
    if urls.holds_password(followed.target):
        raise Invalid("A password is not kept: put the URL into a variable and give '$NAME'.")
    source = await asyncio.to_thread(followed.open)
    await asyncio.to_thread(followed.install)
    entry = await entry_of(database, caller, source)
    text = replace(followed, kind=source.system.name).as_text()

    async def work(connection: Connection) -> None:
        await connection.execute(query("follow_source"), [text, entry.id])
        await connection.execute(query("ring_register"))

    await database.as_caller(caller, work)


async def remove_from_register(database: Database, caller: Caller, target: str) -> Followed | None:
    """Follow a source no more; its memories stay. Returns what was registered.

    Raises Forbidden without the right "admin".
    """

    async def work(connection: Connection) -> Followed | None:
        kept = await fetch_value(connection, query("unfollow_source"), [target])
        await connection.execute(query("ring_register"))
        return Followed.of(kept) if kept else None

    return await database.as_caller(caller, work, needs="admin")


async def read_register(database: Database) -> list[tuple[str, Followed]]:
    """Return every registered source behind its tenant's name."""

    async def work(connection: Connection) -> list[tuple[str, Followed]]:
        rows = await fetch_all(connection, Row, query("followed_sources"))
        return [(row["name"], Followed.of(row["followed"])) for row in rows]

    return await database.read(OWNER, work)
