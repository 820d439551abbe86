"""As much of Postgres's protocol as a front must know.

How a connection opens, where a message ends, which message is the client's COMMIT, and which the
server's answer to it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

#: Codes of a first packet that asks for something else than a session, in place of its version.
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104

#: Bytes of a first packet: it holds a few names, so more is not Postgres's protocol.
LONGEST_OPENING = 10_000


async def read_opening(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return what a first packet asks for, and the packet; raises ConnectionError on nonsense."""
    head = await reader.readexactly(8)
    length, code = struct.unpack("!II", head)
    if not 8 <= length <= LONGEST_OPENING:
        raise ConnectionError("this is not Postgres's protocol")
    return code, head + await reader.readexactly(length - 8)


def asks_cancel(opening: bytes) -> bool:
    """Return whether a first packet asks to cancel what another connection does."""
    return int.from_bytes(opening[4:8]) == CANCEL_REQUEST


def error_response(state: str, text: str) -> bytes:
    """Return an ErrorResponse that ends a connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": text}
    body = b"".join(f"{name}{value}\0".encode() for name, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


class MessageStream:
    """Cuts a stream into messages, each a tag, four bytes of length, and a body."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def cut(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes."""
        self._rest += data
        whole, start = [], 0
        while len(self._rest) - start >= 5:
            end = start + 1 + int.from_bytes(self._rest[start + 1 : start + 5])
            if end > len(self._rest):
                break
            whole.append(bytes(self._rest[start:end]))
            start = end
        del self._rest[:start]
        return whole


def starts_statement(message: bytes) -> bool:
    """Return whether the client has something executed: Query or Execute."""
    return message[:1] in (b"Q", b"E")


def asks_commit(message: bytes) -> bool:
    """Return whether the client asks for COMMIT: as a Query, or as a Parse of any name."""
    body = message[5:]
    if message[:1] == b"P":
        body = body.partition(b"\0")[2]
    elif message[:1] != b"Q":
        return False
    return body.partition(b"\0")[0].strip(b" ;").upper() == b"COMMIT"


def says_committed(message: bytes) -> bool:
    """Return whether the server says that a COMMIT is done."""
    return message[:1] == b"C" and message[5:] == b"COMMIT\0"
