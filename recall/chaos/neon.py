"""Postgres as Neon arranges it, on one machine: it sleeps, and wakes for whoever connects.

    client ── pooled front, TLS ── PgBouncer, transaction mode ──┐
    client ── direct front, TLS ─────────────────────────────────┴── the embedded Postgres

It shows what Neon's signals do to a client. It does not show Neon's own proxy, its storage, its
quotas, or how long a real compute takes to wake.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from recall import embedded
from recall.chaos.certificate import make_certificate
from recall.chaos.front import ADDRESS, Backend, Front
from recall.chaos.pooler import Pooler
from recall.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from recall.chaos.certificate import Certificate

STOP_SECONDS = 60.0


class Neon:
    """The embedded server of a home behind a pooler and two fronts."""

    def __init__(self, home: Path, *, pooler: bool = True, encrypted: bool = True) -> None:
        """Raises Misconfigured when PgBouncer or openssl is wanted and not installed."""
        self._home = home
        self._use = embedded.start(home)
        self.server = self._use.server
        self._waking = threading.Lock()
        self._asleep = False
        self.certificate = make_certificate(home) if encrypted else None
        straight = Backend(str(self.server.socket), embedded.PORT)
        self.pooler = Pooler(self.server) if pooler else None
        pooled = Backend(ADDRESS, self.pooler.port) if self.pooler else straight
        self.pooled = Front(pooled, self.certificate, self.wake)
        self.direct = Front(straight, self.certificate, self.wake)

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._open.callback(self._use_no_more)
        if self.pooler:
            self._open.callback(self.pooler.kill)
            self.pooler.start()
        for front in (self.pooled, self.direct):
            self._open.enter_context(front)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def pooled_url(self, database: str = "recall") -> str:
        """Return the URL that serves traffic."""
        return front_url(self.pooled, database, self.certificate)

    def direct_url(self, database: str = "recall") -> str:
        """Return the URL for migrations and listening."""
        return front_url(self.direct, database, self.certificate)

    def suspend(self) -> None:
        """Stop with the signals that Neon uses; new connections are refused until it is done."""
        with self._waking:
            for front in (self.pooled, self.direct):
                front.refuse()
            self._asleep = True
            if self.pooler:
                self.pooler.kill()
            stop_server(self.server, signal.SIGINT)
            for front in (self.pooled, self.direct):
                front.heal()

    def wake(self) -> None:
        """Start what does not run; returns when it answers. The fronts call it."""
        with self._waking:
            if self._asleep or postmaster(self.server) is None:
                woken = embedded.start(self._home)
                self._use.release()
                self._use = woken
            if self.pooler and self.pooler.pid is None:
                self.pooler.start()
            self._asleep = False

    def _use_no_more(self) -> None:
        self._use.release()


def front_url(front: Front, database: str, certificate: Certificate | None) -> str:
    """Return the URL of `database` through `front`."""
    tls = {"sslmode": "disable"}
    if certificate:
        tls = {"sslmode": "verify-full", "sslrootcert": str(certificate.certificate)}
    return f"postgresql://postgres@{ADDRESS}:{front.port}/{database}?{urlencode(tls)}"


def postmaster(server: embedded.Server) -> int | None:
    """Return the pid of the server's first process, None when it does not run."""
    try:
        pid = int((server.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return None
    return pid


def stop_server(server: embedded.Server, how: signal.Signals) -> None:
    """Send the server's first process a signal that ends it, and wait for the end."""
    pid = postmaster(server)
    if pid is None:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    deadline = time.monotonic() + STOP_SECONDS
    while postmaster(server) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"Postgres (process {pid}) does not stop.")
        time.sleep(0.01)
