"""The register of followed sources: what every worker follows beside its work."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recall.backfill import entered
from recall.database import NO_TENANT
from recall.errors import Invalid, SourceUnreadable
from recall.queries import query
from recall.sources.registry import open_source

if TYPE_CHECKING:
    from recall.database import Connection, Database
    from recall.sources import Source

LONGEST_WAIT = 15 * 60.0  # seconds between two looks at a quiet server


@dataclass(frozen=True)
class Followed:
    """A source to follow."""

    target: str
    kind: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    user: str | None = None  # given to memories that name no user
    longest_wait: float = LONGEST_WAIT

    def open(self) -> Source:
        """Open the source; a target `$NAME` stands in the environment, where passwords belong."""
        target = self.target
        if target.startswith("$"):
            target = os.environ.get(target[1:], "")
            if not target:
                raise SourceUnreadable(f"The environment variable {self.target[1:]} is not set.")
        return open_source(target, self.kind, **self.options)


async def register(database: Database, tenant: int, followed: Followed) -> None:
    """Let every worker follow a source from its next start on."""
    if urlsplit(followed.target).password:
        raise Invalid("A password is not kept: put the URL into a variable and give '$NAME'.")
    source = await asyncio.to_thread(followed.open)
    place = await entered(database, tenant, source)
    values = asdict(followed) | {"kind": source.name}

    async def work(connection: Connection) -> None:
        await connection.execute(query("follow_source"), [json.dumps(values), place.id])

    await database.run(work, tenant)


async def unregister(database: Database, tenant: int, target: str) -> bool:
    """Follow a source no more; its memories stay. Returns whether it was registered."""

    async def work(connection: Connection) -> bool:
        cursor = await connection.execute(query("unfollow_source"), [target])
        return await cursor.fetchone() is not None

    return await database.run(work, tenant)


async def registered(database: Database) -> list[tuple[int, str, Followed]]:
    """Return every registered source behind its tenant's id and name."""

    async def work(connection: Connection) -> list[tuple[int, str, Followed]]:
        rows = await (await connection.execute(query("followed_sources"))).fetchall()
        return [(tenant, name, Followed(**values)) for tenant, name, values in rows]

    return await database.run(work, NO_TENANT)
