"""The bell: a process that makes jobs rings with its commit, and workers everywhere wake up.

LISTEN belongs to one server process, so it uses the direct URL. An idle listener sends no statement
and does not keep Neon awake. When Neon suspends, it cuts the connection, and to connect again at
once would wake the server that just fell asleep. So a bell that was cut waits until this process
uses the database anyway, or for LONGEST; a process without requests (`recall worker`), for a
quarter of an hour. A bell that listens again calls every wake once: rings may have been missed.

A connection can stop carrying bytes without an error. A process hears its own rings too: when one
does not come back, the connection is cut and made anew.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from recall.base.faults import translated
from recall.base.queries import query
from recall.contract.errors import Unavailable
from recall.database.connections import HOW, cut
from recall.database.transaction import RING_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recall.base.supervisor import Duty
    from recall.database.connections import Connection
    from recall.database.units import Database

JOBS, REGISTER, SOURCES = "recall_job", "recall_register", "recall_source"

#: Seconds that a bell which was cut waits for this process to use the database by itself.
LONGEST = 2 * 3600.0
ALONE = 15 * 60.0
#: Seconds between a ring of this process and the time by which it must have heard it.
ECHO = 5.0
#: Seconds between two attempts at a server that is away.
FIRST_PAUSE, LAST_PAUSE = 1.0, 10.0

DEAF = (
    "rings do not come back. Where DATABASE_DIRECT_URL leads to a pooler, jobs made by other "
    "processes are heard of late."
)


class Bell:
    """Listens for one process; `wakes` has by channel what to call."""

    def __init__(
        self,
        database: Database,
        url: str,
        wakes: Mapping[str, Callable[[], None]],
        longest: float = LONGEST,
    ) -> None:
        self._database = database
        self._url = url
        self._wakes = wakes
        self._longest = longest
        self._heard_at = time.monotonic()
        self._deaf = False

    async def listen(self, duty: Duty) -> None:
        """Call the wake of each ring's channel, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._listen(duty)
            except psycopg.OperationalError as error:
                duty.fails(translated(error))
            if time.monotonic() - began > LAST_PAUSE:  # it listened, and was cut
                pause = FIRST_PAUSE
                self._database.pulse.answered.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._database.pulse.answered.wait(), self._longest)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _listen(self, duty: Duty) -> None:
        connection = await psycopg.AsyncConnection.connect(self._url, **HOW)
        try:
            await self._hear_all(connection, duty)
        finally:
            connection.pgconn.finish()  # a goodbye that is awaited could itself be cancelled

    async def _hear_all(self, connection: Connection, duty: Duty) -> None:
        for statement in ("listen_jobs", "listen_register", "listen_sources"):
            await connection.execute(query(statement))
        self._heard_at = time.monotonic()
        if not self._deaf:
            duty.rests()
        for wake in self._wakes.values():  # rings may have been missed
            wake()
        echo = asyncio.create_task(self._want_echoes(connection, duty))
        try:
            async for ring in connection.notifies():
                self._deaf = False
                duty.rests()
                self._hear(ring)
        finally:
            echo.cancel()

    def _hear(self, ring: psycopg.Notify) -> None:
        self._heard_at = time.monotonic()
        if ring.payload == str(self._database.pulse.process):
            return
        wake = self._wakes.get(ring.channel, lambda: None)
        wake()
        # A process rings once a second at most, and may store more behind that ring.
        asyncio.get_running_loop().call_later(2 * RING_EVERY, wake)

    async def _want_echoes(self, connection: Connection, duty: Duty) -> None:
        """Cut the connection when a ring of this process did not come back."""
        while True:
            await asyncio.sleep(ECHO)
            rang_at = self._database.pulse.rang_at
            if self._heard_at < rang_at < time.monotonic() - ECHO:
                self._deaf = True
                duty.fails(Unavailable(DEAF))
                cut(connection)
                return
