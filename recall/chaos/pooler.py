"""PgBouncer as Neon runs it, only stricter: few servers, so that clients really change servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from recall.chaos.ports import free_port
from recall.contract.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from recall.embedded import keeper

START_SECONDS = 20.0
#: Short: `server_login_retry`, because a longer one would be an outage that Neon does not have;
#: `query_wait_timeout`, so that a client hears soon; `server_idle_timeout`, because tests drop
#: databases, which an idle connection would hold.
CONFIGURATION = """
[databases]
* = host={socket} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
server_idle_timeout = 5
server_login_retry = 1
query_wait_timeout = 5
ignore_startup_parameters = extra_float_digits
"""


def installed() -> bool:
    """Return whether this machine has PgBouncer."""
    return shutil.which("pgbouncer") is not None


class Pooler:
    """PgBouncer in transaction mode before an embedded server."""

    def __init__(self, server: keeper.Server, size: int = 3) -> None:
        """Choose a port; raises Misconfigured when PgBouncer is not installed."""
        if not installed():
            raise Misconfigured("PgBouncer is not installed; with Debian: apt install pgbouncer.")
        self.port = free_port()
        self._account = server.account
        self._process: subprocess.Popen[bytes] | None = None
        self._file = _private_folder(server) / f"{self.port}.ini"
        self._file.write_text(CONFIGURATION.format(socket=server.socket, port=self.port, size=size))
        self._file.chmod(0o644)

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        alive = self._process is not None and self._process.poll() is None
        return self._process.pid if alive and self._process else None

    def start(self) -> None:
        """Start PgBouncer and wait until it listens; raises Unavailable when it does not."""
        as_other = ["-u", self._account] if self._account else []
        self._process = subprocess.Popen(
            ["pgbouncer", "-q", *as_other, str(self._file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable("PgBouncer does not start.") from None
                time.sleep(0.01)

    def kill(self) -> None:
        """End PgBouncer as Neon does when it suspends: by SIGKILL, so that no client is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _private_folder(server: keeper.Server) -> Path:
    """Return a folder that the account of the server may enter."""
    folder = server.root / "pooler"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    return folder
