"""The register of followed sources: what workers follow beside their work, one of them each.

A worker claims a source by a lease that it renews. Where it was registered with a trigger, its
tables tell when they change.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from recall.base import urls
from recall.base.queries import query
from recall.contract.errors import Invalid, SourceUnreadable
from recall.database.caller import OWNER, Caller
from recall.sources.opening import open_source
from recall.sync import trigger
from recall.sync.backfill import as_kept, entered

if TYPE_CHECKING:
    from recall.database.units import Connection, Database
    from recall.sources.source import Source

LONGEST_WAIT = 15 * 60.0  # seconds between two looks at a quiet server


@dataclass(frozen=True)
class Followed:
    """A source to follow."""

    target: str
    kind: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    user: str | None = None  # given to memories that name no user
    longest_wait: float = LONGEST_WAIT
    trigger: bool = False  # the source's tables tell when they change

    @property
    def place(self) -> str:
        """The path or URL; a target `$NAME` stands in the environment, where passwords belong."""
        if not self.target.startswith("$"):
            return self.target
        place = os.environ.get(self.target[1:], "")
        if not place:
            raise SourceUnreadable(f"The environment variable {self.target[1:]} is not set.")
        return urls.source(place, self.target[1:])

    def open(self) -> Source:
        """Open the source."""
        return open_source(self.place, self.kind, **self.options)

    def install(self) -> None:
        """Put triggers on the source's tables, when that is wanted."""
        if self.trigger:
            trigger.install(self.place, self.open())

    def uninstall(self) -> None:
        """Take the triggers off the source's tables."""
        if self.trigger:
            trigger.uninstall(self.place, self.open())


async def register(database: Database, caller: Caller, followed: Followed) -> None:
    """Let a worker follow a source."""
    caller.need("admin")
    if urls.holds_password(followed.target):
        raise Invalid("A password is not kept: put the URL into a variable and give '$NAME'.")
    source = await asyncio.to_thread(followed.open)
    await asyncio.to_thread(followed.install)
    place = await entered(database, caller, source)
    values = asdict(followed) | {"kind": source.name}

    async def work(connection: Connection) -> None:
        await connection.execute(query("follow_source"), [json.dumps(values), place.id])
        await connection.execute(query("ring_register"))

    await database.as_caller(caller, work)


async def unregister(database: Database, caller: Caller, target: str) -> Followed | None:
    """Follow a source no more; its memories stay. Returns what was registered."""

    async def work(connection: Connection) -> Followed | None:
        cursor = await connection.execute(query("unfollow_source"), [target])
        row = await cursor.fetchone()
        await connection.execute(query("ring_register"))
        return as_kept(Followed, row[0]) if row else None

    return await database.as_caller(caller, work, needs="admin")


async def registered(database: Database) -> list[tuple[str, Followed]]:
    """Return every registered source behind its tenant's name."""

    async def work(connection: Connection) -> list[tuple[str, Followed]]:
        rows = await (await connection.execute(query("followed_sources"))).fetchall()
        return [(name, as_kept(Followed, values)) for name, values in rows]

    return await database.read(OWNER, work)


class Claimed(NamedTuple):
    """A registered source that this worker follows, by its id, for its caller."""

    id: int
    caller: Caller
    followed: Followed


async def claim(database: Database, name: str, seconds: float) -> tuple[list[Claimed], float]:
    """Claim what is free for the worker `name`, keep what it has, and return both.

    Behind them stand the seconds until another worker's lease runs out.
    """

    async def work(connection: Connection) -> tuple[list[Claimed], float]:
        cursor = await connection.execute(query("followers"))
        dead = [other for (other,) in await cursor.fetchall() if _dead(other)]
        values = {"name": name, "seconds": seconds, "own": [name, *dead]}
        rows = await (await connection.execute(query("claim_followed"), values)).fetchall()
        claimed = [
            Claimed(id, Caller(tenant), as_kept(Followed, kept)) for id, tenant, kept in rows
        ]
        row = await (await connection.execute(query("next_free"), [name])).fetchone()
        return claimed, row[0] if row and row[0] is not None else inf

    return await database.as_owner(work)


async def release(database: Database, name: str, within: float | None = None) -> None:
    """Let others follow what the worker `name` followed, and tell them."""

    async def work(connection: Connection) -> None:
        cursor = await connection.execute(query("release_followed"), [name])
        if cursor.rowcount:
            await connection.execute(query("ring_register"))

    await database.as_owner(work, within=within)


def worker_name() -> str:
    """Return a name for a follower in this process, which no other follower ever has."""
    return f"{_processes()}:{os.getpid()}:{uuid4().hex}"


def _processes() -> str:
    """Name what this process's number is unique in: this boot's namespace of processes.

    The host's name is none: containers may share one, each with a process 1.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux: nobody can be asked for
        return "unknown"


def _dead(name: str) -> bool:
    """Return whether a follower is known to be no more; others' leases run out by themselves."""
    processes, _, rest = name.partition(":")
    process = rest.partition(":")[0]
    if processes == "unknown" or processes != _processes() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False
