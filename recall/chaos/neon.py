"""Postgres as Neon arranges it, on one machine: it sleeps, and wakes for whoever connects.

    client ── pooled front, TLS ── PgBouncer, transaction mode ──┐
    client ── direct front, TLS ─────────────────────────────────┴── the embedded Postgres

This stand-in does to a client what Neon does: it ends connections, refuses, and wakes. It does not
show Neon's own proxy, its storage, its quotas, or how long a real compute takes to wake.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from recall.chaos.certificate import make_certificate
from recall.chaos.front import ADDRESS, Backend, Front
from recall.chaos.pooler import Pooler
from recall.embedded import cluster, keeper

if TYPE_CHECKING:
    from pathlib import Path

    from recall.chaos.certificate import Certificate


class Neon:
    """The embedded server of a home behind a pooler and two fronts, for the length of a block.

    The pooler and TLS may be left out; then both fronts lead straight to the server.
    """

    server: keeper.Server
    pooler: Pooler | None
    certificate: Certificate | None
    pooled: Front
    direct: Front

    def __init__(self, home: Path, *, pooler: bool = True, encrypted: bool = True) -> None:
        """Choose what the block starts."""
        self._home = home
        self._wants_pooler = pooler
        self._wants_tls = encrypted
        self._waking = threading.Lock()

    def __enter__(self) -> Self:
        """Raises Misconfigured when PgBouncer or openssl is wanted and not installed."""
        with ExitStack() as stack:
            use = keeper.start(self._home)
            stack.callback(use.release)
            self.server = use.server
            self.certificate = make_certificate(self._home) if self._wants_tls else None
            self.pooler = Pooler(self.server) if self._wants_pooler else None
            straight = Backend(str(self.server.socket), cluster.PORT)
            before = Backend(ADDRESS, self.pooler.port) if self.pooler else straight
            if self.pooler:
                stack.callback(self.pooler.kill)
                self.pooler.start()
            self.pooled = stack.enter_context(Front(before, self.certificate, self.wake))
            self.direct = stack.enter_context(Front(straight, self.certificate, self.wake))
            self._open = stack.pop_all()
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
        """Stop as Neon stops a compute: the pooler by SIGKILL, Postgres by a fast shutdown.

        A client that connects meanwhile is refused; one that connects afterwards wakes it.
        """
        with self._waking:
            for front in (self.pooled, self.direct):
                front.refuse()
            try:
                if self.pooler:
                    self.pooler.kill()
                if keeper.alive(self.server):
                    cluster.stop(self.server)
            finally:
                for front in (self.pooled, self.direct):
                    front.heal()

    def wake(self) -> None:
        """Start Postgres and the pooler, if they do not run; returns when both answer.

        The fronts call it for every client that connects.
        """
        with self._waking:
            if not keeper.alive(self.server):
                keeper.revive(self.server)
            if self.pooler and self.pooler.pid is None:
                self.pooler.start()


def front_url(front: Front, database: str, certificate: Certificate | None) -> str:
    """Return the URL of `database` through `front`."""
    tls = {"sslmode": "disable"}
    if certificate:
        tls = {"sslmode": "verify-full", "sslrootcert": str(certificate.certificate)}
    return f"postgresql://postgres@{ADDRESS}:{front.port}/{database}?{urlencode(tls)}"
