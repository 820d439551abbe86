"""Connections kept warm for the next unit of work; a unit that finds none connects.

No task connects in the background, so none can die unnoticed: a failure to connect is raised in the
unit that wanted the connection. No statement checks a connection before its use: one that the
server closed while it lay idle (Neon's suspend closes all) has a readable socket, which is looked
at; and when one is lost all the same, the idle ones, as old, are closed too.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from recall.contract.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Connection = AsyncConnection[tuple[Any, ...]]

#: Seconds for one attempt to connect. A server that takes longer to wake goes on waking, and the
#: next attempt finds it awake; a longer wait would only hold on to a network path that is gone.
CONNECT_SECONDS = 5
#: Seconds that an idle connection is kept: far below Neon's five minutes before a suspend.
IDLE_SECONDS = 60.0
#: Units that may wait for each connection.
MOST_WAITING = 32

#: How every connection is made. TCP's keepalives find a peer that vanished; they are no statements,
#: so they keep no server from sleeping.
HOW: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # behind a pooler the next transaction has another server process
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "recall",
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds that sent bytes may stay unacknowledged
}


class Connections:
    """At most `size` connections to `url`, given to one unit of work at a time."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._permits = asyncio.Semaphore(size)
        self._waiting = 0
        self._idle: list[tuple[float, Connection]] = []  # oldest first
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """Lend a connection to the block.

        Raises Overloaded when too many units wait for one, and what connecting raises.
        """
        if self._waiting >= self._size * MOST_WAITING:
            raise Overloaded("Too many requests wait for the database; try again.")
        self._waiting += 1
        try:
            await self._permits.acquire()
        finally:
            self._waiting -= 1
        try:
            connection = self._warm() or await AsyncConnection.connect(self._url, **HOW)
            try:
                yield connection
            finally:
                await self._put_back(connection)
        finally:
            self._permits.release()

    async def drain(self) -> None:
        """Close the idle connections: when one was lost, those as old are lost too."""
        idle, self._idle = self._idle, []
        for _, connection in idle:
            await connection.close()

    async def close(self) -> None:
        """Close what is idle now, and what is in use when its unit ends."""
        self._closed = True
        if self._sweep:
            self._sweep.cancel()
        await self.drain()

    def _warm(self) -> Connection | None:
        while self._idle:
            _, connection = self._idle.pop()
            if not _hung_up(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _put_back(self, connection: Connection) -> None:
        unfit = connection.pgconn.transaction_status != TransactionStatus.IDLE
        if unfit or self._closed:
            await connection.close()
            return
        self._idle.append((time.monotonic(), connection))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_old)

    def _close_old(self) -> None:
        """Close what lay idle for long, and come back for the rest."""
        self._sweep = None
        now = time.monotonic()
        while self._idle and now - self._idle[0][0] >= IDLE_SECONDS:
            self._idle.pop(0)[1].pgconn.finish()
        if self._idle:
            wait = IDLE_SECONDS - (now - self._idle[0][0])
            self._sweep = asyncio.get_running_loop().call_later(wait, self._close_old)


def cut(connection: Connection) -> None:
    """End a connection at once, whatever the network does: its unit fails, its server rolls back.

    Where packets vanish, psycopg's way to cancel a query waits ten seconds. Shutting the socket
    down is local, and needs no answer.
    """
    with (
        suppress(OSError, psycopg.OperationalError),  # it ended by itself meanwhile
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as peer,
    ):
        peer.shutdown(socket.SHUT_RDWR)


def _hung_up(connection: Connection) -> bool:
    """Return whether bytes or an end arrived while idle: a server then says that it hangs up."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
