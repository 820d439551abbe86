"""A bell between processes: who stores rings, workers elsewhere wake up.

Only a hint: a worker that misses it finds the job by polling. Listening wants a connection that
stays the same, so it uses the direct URL; an idle one does not keep Neon awake. When it breaks,
the pauses between attempts grow, so that a suspended database may sleep.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import psycopg

from recall.database import NO_TENANT
from recall.errors import Unavailable
from recall.queries import query

if TYPE_CHECKING:
    from collections.abc import Callable

    from recall.database import Connection, Database

log = logging.getLogger("recall.bell")

FIRST_PAUSE, LAST_PAUSE = 1.0, 15 * 60.0


class Bell:
    """Rings for workers in other processes, once however often it is asked to meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Wake the workers soon; never waits, never fails."""
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(query("ring"))

        try:
            await self._database.run(work, NO_TENANT)
        except Unavailable as error:
            log.warning("%s Workers will find the job by themselves.", error)


async def listen(url: str, wake: Callable[[], None], to: str = "listen") -> None:
    """Call `wake` at every ring until cancelled; the query `to` says on which channel."""
    pause = FIRST_PAUSE
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, connect_timeout=15
            ) as connection:
                await connection.execute(query(to))
                wake()  # whatever rang while nobody listened
                async for _ in connection.notifies():
                    pause = FIRST_PAUSE
                    wake()
        except psycopg.OperationalError:
            log.info("The bell is out of reach; polling until it is back.")
        await asyncio.sleep(pause)
        pause = min(pause * 2, LAST_PAUSE)
