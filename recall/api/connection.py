"""HTTP/1.1 with limits of time and size for a request's header, which uvicorn leaves to proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

#: Seconds from a request's first byte, or a connection's beginning, to the end of the header.
HEADER_SECONDS = 15.0
LARGEST_HEADER = 64 * 1024  # bytes


class Connection(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it; a connection without a whole header in time is closed."""

    _timer: asyncio.TimerHandle | None = None
    _header = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first header."""
        super().connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._header_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a header, and refuse one without end."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_header()
        super().data_received(data)
        if self._timer is not None:
            self._header += len(data)
            if self._header > LARGEST_HEADER:
                self._refuse(431, f"A request's head must take at most {LARGEST_HEADER} bytes.")

    def on_headers_complete(self) -> None:
        """Wait no more: what follows is the body, which `Bodies` limits."""
        self._header_came()
        super().on_headers_complete()

    def _await_header(self) -> None:
        self._header = 0
        self._timer = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _header_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._header:
            self._refuse(408, f"A request's head must come within {HEADER_SECONDS:g} s.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._header_came()
        if self.transport.is_closing():
            return
        kind: dict[int, Any] = {408: "too_slow", 431: "too_large"}
        body = to_json({"error": {"type": kind[status], "message": message}})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()
