"""One client's connection through a front, and the network that all of them share."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recall.chaos import wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK = 1 << 16  # bytes read at once
#: Seconds for TLS to say that a connection ends.
GOODBYE = 1.0
#: Reads that wait for a slow or silent network before the line stops reading from their sender.
WAITING = 4096


@dataclass
class Traffic:
    """What came to the front since it was opened."""

    connections: int = 0
    statements: int = 0
    up: int = 0  # bytes of clients
    down: int = 0  # bytes of the server


@dataclass
class Loss:
    """COMMITs still to be lost: before they reach the server or behind it, and how."""

    times: int
    reached: bool = True  # the server commits, and its answer is lost
    silent: bool = False  # the client hears nothing more, not even that the connection ended
    late: float = 0.0  # seconds behind which a COMMIT that was held up arrives all the same

    def strikes(self, message: bytes, upward: bool) -> bool:
        """Return whether `message` and what follows it is lost; counts it."""
        if upward == self.reached:
            return False
        met = wire.asks_commit(message) if upward else wire.says_committed(message)
        if not met or self.times < 1:
            return False
        self.times -= 1
        return True


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Network:
    """The state of what lies between clients and server: a shut gate holds bytes, as TCP would."""

    up: asyncio.Event = field(default_factory=_open_gate)
    down: asyncio.Event = field(default_factory=_open_gate)
    delay_up: float = 0.0
    delay_down: float = 0.0
    refuses: bool = False
    loss: Loss = field(default_factory=lambda: Loss(0))
    traffic: Traffic = field(default_factory=Traffic)


class Line:
    """A client's connection from its first byte to its last."""

    def __init__(self, client: Stream, network: Network) -> None:
        self._reader, self._writer = client
        self._network = network
        self._server: asyncio.StreamWriter | None = None
        self._silent = False

    async def run(self, tls: ssl.SSLContext | None, reach: Callable[[], Awaitable[Stream]]) -> None:
        """Carry what comes in both directions until either side ends; then end the other."""
        try:
            opening = await self._opening(tls)
            if opening is not None:
                await self._carry_both(opening, await reach())
                if wire.asks_cancel(opening):
                    await self._part()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass  # a side is gone, and so is the line
        finally:
            self.cut()

    async def _part(self) -> None:
        """End the client's side as TLS does: to libpq any other end means that a cancel failed."""
        self._writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._writer.wait_closed()

    def cut(self) -> None:
        """End both sides at once and without a word; to TLS that is an unexpected end of file."""
        for side in (self._writer, self._server):
            if side is not None:
                side.transport.abort()

    def vanish(self) -> None:
        """Drop the server's side; the client's stays open, and nobody answers there."""
        self._silent = True
        if self._server is not None:
            self._server.transport.abort()

    async def _opening(self, tls: ssl.SSLContext | None) -> bytes | None:
        """Return the packet that the server shall see first; the client's TLS ends here."""
        encrypted = False
        while True:
            code, packet = await wire.read_opening(self._reader)
            await self._network.up.wait()
            await self._network.down.wait()
            if code == wire.SSL_REQUEST and tls is not None:
                self._writer.write(b"S")
                await self._writer.start_tls(tls)
                encrypted = True
            elif code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
                self._writer.write(b"N")
            elif tls is not None and not encrypted and code != wire.CANCEL_REQUEST:
                self._writer.write(
                    wire.error_response("28000", "connection is insecure (try sslmode=require)")
                )
                await self._writer.drain()
                return None
            else:
                return packet

    async def _carry_both(self, opening: bytes, server: Stream) -> None:
        answers, self._server = server
        self._server.write(opening)
        for side in (self._writer, self._server):
            # At 1, a drained write has reached the kernel, so a cut behind it loses nothing. (At 0,
            # asyncio's TLS would pause a writer that has written nothing.)
            side.transport.set_write_buffer_limits(1)
        ways = {
            asyncio.ensure_future(self._carry(self._reader, self._server, upward=True)),
            asyncio.ensure_future(self._carry(answers, self._writer, upward=False)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        while self._silent and await _read(self._reader):
            pass  # until the client gives up

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, upward: bool
    ) -> None:
        """Read bytes as they come; deliver them after the delay, when the gate is open."""
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        delivering = asyncio.ensure_future(self._deliver(arrived, sink, upward))
        now = asyncio.get_running_loop().time
        try:
            data = b"."
            while data and not delivering.done():
                data = await _read(source)
                traffic = self._network.traffic
                traffic.up += len(data) if upward else 0
                traffic.down += 0 if upward else len(data)
                await arrived.put((now(), data))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(
        self,
        arrived: asyncio.Queue[tuple[float, bytes]],
        sink: asyncio.StreamWriter,
        upward: bool,
    ) -> None:
        network, messages = self._network, wire.MessageStream()
        now = asyncio.get_running_loop().time
        while True:
            at, data = await arrived.get()
            delay = network.delay_up if upward else network.delay_down
            if (early := at + delay - now()) > 0:
                await asyncio.sleep(early)
            await (network.up if upward else network.down).wait()
            if not data or self._silent:
                return
            passing, lost = self._sift(messages.cut(data), upward)
            sink.write(passing)
            await sink.drain()
            if lost:
                return await self._lose(sink, lost)

    def _sift(self, messages: list[bytes], upward: bool) -> tuple[bytes, bytes]:
        """Return the bytes that go on, and those from the message on that a loss strikes."""
        for place, message in enumerate(messages):
            if self._network.loss.strikes(message, upward):
                return b"".join(messages[:place]), b"".join(messages[place:])
            if upward and wire.starts_statement(message):
                self._network.traffic.statements += 1
        return b"".join(messages), b""

    async def _lose(self, sink: asyncio.StreamWriter, lost: bytes) -> None:
        loss = self._network.loss
        if loss.late and not loss.reached:
            self._writer.transport.abort()  # the client is gone before its COMMIT arrives
            await asyncio.sleep(loss.late)
            sink.write(lost)
            await sink.drain()
            await asyncio.sleep(loss.late)  # a pooler forgets what it has of a server cut off
        if loss.silent:
            self.vanish()
        else:
            self.cut()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(CHUNK)
    except OSError:
        return b""
