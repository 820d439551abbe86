"""Ports for those that are killed and started again."""

from __future__ import annotations

import random
import socket

from recall.contract.errors import Unavailable

#: Below the ephemeral ports, which the system gives to outgoing connections: while a killed process
#: is away, no connection takes its port.
FIRST, LAST = 20_000, 32_000
ATTEMPTS = 200


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses; raises Unavailable when none is found."""
    for _ in range(ATTEMPTS):
        port = random.randint(FIRST, LAST)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise Unavailable(f"No port between {FIRST} and {LAST} is free.")
