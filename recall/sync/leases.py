"""Leases on registered sources: each is followed by one of all workers.

A worker claims a source for some seconds and claims it again before they are over.
"""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from recall.base.queries import query
from recall.database.caller import Caller
from recall.database.fetching import Row, fetch_all, fetch_value, fetch_values
from recall.sync.followed import Followed

if TYPE_CHECKING:
    from recall.database.units import Connection, Database


class Claimed(NamedTuple):
    """A registered source that this worker follows, by its id, for its caller."""

    id: int
    caller: Caller
    followed: Followed


async def claim_sources(
    database: Database, name: str, seconds: float
) -> tuple[list[Claimed], float]:
    """Claim what is free for the worker `name`, keep what it has, and return both.

    Behind them stand the seconds until another worker's lease runs out.
    """

    async def work(connection: Connection) -> tuple[list[Claimed], float]:
        dead = [
            other for other in await fetch_values(connection, query("followers")) if _dead(other)
        ]
        values = {"name": name, "seconds": seconds, "own": [name, *dead]}
        rows = await fetch_all(connection, Row, query("claim_followed"), values)
        claimed = [
            Claimed(row["id"], Caller(row["tenant_id"]), Followed.of(row["followed"]))
            for row in rows
        ]
        free = await fetch_value(connection, query("next_free"), [name])
        return claimed, inf if free is None else free

    return await database.as_owner(work)


async def release_sources(database: Database, name: str, within: float | None = None) -> None:
    """Let others follow what the worker `name` followed, and tell them.

    `within` is the deadline in seconds.
    """

    async def work(connection: Connection) -> None:
        cursor = await connection.execute(query("release_followed"), [name])
        if cursor.rowcount:
            await connection.execute(query("ring_register"))

    await database.as_owner(work, within=within)


def worker_name() -> str:
    """Return a name for a follower in this process, which no other follower ever has."""
    return f"{_processes()}:{os.getpid()}:{uuid4().hex}"


def _processes() -> str:
    """Return a name for the namespace that a process's number is unique in, of this boot.

    Not the host's name: containers may share one, and each has a process 1.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux: no other process can be looked up
        return "unknown"


def _dead(name: str) -> bool:
    """Return whether a follower's process is known to have ended; if not known, its lease ends."""
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
