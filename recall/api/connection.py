"""A connection whose head must come in time: a proxy would see to it, and not everybody has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

#: Seconds from a request's first byte, or a connection's beginning, to the end of its head.
HEAD_SECONDS = 15.0
LARGEST_HEAD = 64 * 1024


class Connection(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it; who does not finish a request's head is hung up on."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and refuse one without end."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        super().data_received(data)
        if self._timer is not None:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse(431, f"A request's head must take at most {LARGEST_HEAD} bytes.")

    def on_headers_complete(self) -> None:
        """Wait no more: what follows is the body's affair."""
        self._head_came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _head_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._head:
            self._refuse(408, f"A request's head must come within {HEAD_SECONDS:g} s.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._head_came()
        if self.transport.is_closing():
            return
        kind: dict[int, Any] = {408: "too_slow", 431: "too_large"}
        body = to_json({"error": {"type": kind[status], "message": message}})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()
