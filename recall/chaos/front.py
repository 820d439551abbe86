"""A TCP front that stands in for Neon's: it ends TLS, wakes what sleeps, and fails as asked.

    heal      bytes go through
    delay     they take their time, each direction its own
    refuse    new connections are closed at once, as while a server shuts down
    mute      nothing comes through, in either direction, on old connections and new ones; what was
              sent meanwhile arrives when the network is back, as TCP would have it
    deafen    requests arrive, answers do not
    vanish    the server's side of every connection is gone, and the client is not told
    cut       every connection ends without a word
    lose      the answer to the next COMMIT is lost, or the COMMIT is

A login passes untouched. It runs in the caller's loop (`open`, `aclose`) or in a thread of its own
(`with front:`), and may be told what to do from anywhere.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

from recall.chaos.line import Line, Loss, Network, Traffic
from recall.chaos.wire import SSL_REQUEST
from recall.contract.errors import RecallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recall.chaos.certificate import Certificate
    from recall.chaos.line import Stream

T = TypeVar("T")

ADDRESS = "127.0.0.1"
#: Bytes that a reader buffers before it pauses its transport. A reader whose connection turned to
#: TLS would pause the wrong transport (asyncio, Python 3.11); a line reads on at once, so as much
#: room as this is never full.
BUFFER = 1 << 26
#: Seconds for the front's loop to do as told: nothing in it takes long, so more is a defect.
PATIENCE = 30.0


@dataclass(frozen=True)
class Backend:
    """Where Postgres or its pooler listens: a host, or the folder of a socket, and a port."""

    host: str
    port: int
    tls: bool = False

    async def reach(self) -> Stream:
        """Return a connection; raises OSError when nobody listens."""
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        reader, writer = await asyncio.open_connection(self.host, self.port)
        if self.tls:
            import ssl

            writer.write((8).to_bytes(4) + SSL_REQUEST.to_bytes(4))
            if await reader.readexactly(1) == b"S":
                # A scratch database has no secrets to protect, so the certificate is not checked.
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                await writer.start_tls(context, server_hostname=self.host)
        return reader, writer


class Front:
    """The front; `port` is where it listens once it is open."""

    def __init__(
        self,
        backend: Backend,
        certificate: Certificate | None = None,
        wake: Callable[[], None] | None = None,
        port: int = 0,
    ) -> None:
        """Stand before `backend`. `wake` may block; new connections wait until it returns."""
        self.port = port
        self._backend = backend
        self._tls = certificate.server_context() if certificate else None
        self._wake = wake
        self._network = Network()
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- from open to close -----------------------------------------------------------------------

    async def open(self) -> None:
        """Listen, in the caller's loop."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(
            self._welcome, ADDRESS, self.port, backlog=1024, limit=BUFFER
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Listen no more and end every connection."""
        self._server.close()
        tasks = list(self._lines.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports say goodbye in the loop's next round
        self._loop = None

    def __enter__(self) -> Self:
        opened: threading.Event = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[opened], name="front", daemon=True)
        self._thread.start()
        opened.wait(PATIENCE)
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._finished.set)
        self._thread.join(PATIENCE)

    def _run(self, opened: threading.Event) -> None:
        async def stand() -> None:
            self._finished = asyncio.Event()
            await self.open()
            opened.set()
            await self._finished.wait()
            await self.aclose()

        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(stand())
        except BaseException as error:
            self._failure = error
        finally:
            opened.set()

    # -- what it is told --------------------------------------------------------------------------

    def heal(self) -> None:
        """Be a good network again; connections that were lost stay lost."""
        self._do(self._become)

    def delay(self, up: float, down: float) -> None:
        """Let each direction take so many seconds."""
        self._do(lambda: self._become(delays=(up, down)))

    def refuse(self) -> None:
        """Close new connections at once; those that are open stay."""
        self._do(lambda: self._become(refuses=True))

    def mute(self) -> None:
        """Carry nothing in either direction, on old connections and new ones."""
        self._do(lambda: self._become(up=False, down=False))

    def deafen(self) -> None:
        """Carry requests and no answers."""
        self._do(lambda: self._become(down=False))

    def vanish(self) -> None:
        """Drop the server's side of every connection and tell no client."""
        self._do(lambda: self._each(Line.vanish))

    def cut(self) -> None:
        """End every connection without a word."""
        self._do(lambda: self._each(Line.cut))

    def lose(
        self, times: int = 1, *, reached: bool = True, silent: bool = False, late: float = 0.0
    ) -> None:
        """Lose the answers to the next `times` COMMITs, or (not `reached`) the COMMITs themselves.

        `silent`: the client is not even told that its connection ended. `late`: it is cut off, and
        its COMMIT arrives so many seconds afterwards.
        """
        self._do(lambda: setattr(self._network, "loss", Loss(times, reached, silent, late)))

    # -- what it tells ----------------------------------------------------------------------------

    @property
    def losses_left(self) -> int:
        """How many COMMITs are still to be lost."""
        return self._do(lambda: self._network.loss.times)

    @property
    def traffic(self) -> Traffic:
        """What came to the front since it was opened."""
        return self._do(lambda: replace(self._network.traffic))

    @property
    def lines(self) -> int:
        """How many connections of clients are open."""
        return self._do(lambda: len(self._lines))

    # -- inside the loop --------------------------------------------------------------------------

    def _do(self, action: Callable[[], T]) -> T:
        """Return what `action` returns in the front's loop, wherever the caller is."""
        assert self._loop is not None, "the front is not open"
        if _running_loop() is self._loop:
            return action()

        async def there() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(PATIENCE)

    def _each(self, fault: Callable[[Line], None]) -> None:
        for line in list(self._lines):
            fault(line)

    def _become(
        self,
        *,
        up: bool = True,
        down: bool = True,
        refuses: bool = False,
        delays: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        network = self._network
        network.refuses, network.loss = refuses, Loss(0)
        network.delay_up, network.delay_down = delays
        for gate, is_open in ((network.up, up), (network.down, down)):
            gate.set() if is_open else gate.clear()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._network.traffic.connections += 1
        if self._network.refuses:
            writer.transport.abort()
            return
        line = Line((reader, writer), self._network)
        task = asyncio.current_task()
        assert task is not None
        self._lines[line] = task
        try:
            await line.run(self._tls, self._reach)
        except asyncio.CancelledError:
            pass  # the front closes
        finally:
            del self._lines[line]

    async def _reach(self) -> Stream:
        if self._wake is not None:
            try:
                await asyncio.to_thread(self._wake)
            except RecallError as error:
                raise ConnectionError(str(error)) from error
        return await self._backend.reach()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
