"""A cluster on disk, and what its own programs do to it: make it, start it, ask it, stop it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from recall.contract.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAJOR = "18"
START_SECONDS = 60
STOP_SECONDS = 30
LAST_BREATH = 5  # seconds in which the children of a killed postmaster have exited
PORT = 5432  # names the socket; nothing listens on the network
#: sun_path holds 108 bytes on Linux and 104 on macOS, and Postgres adds ".s.PGSQL.5432.lock".
LONGEST_SOCKET_FOLDER = 80
#: Holds the socket's folder where a home's path is too long. Not TMPDIR, which differs by process:
#: every process must find the same socket.
SHORT = Path("/tmp")
PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Server:
    """A cluster's folder, Postgres's programs, and the account that runs it (None: this user)."""

    root: Path
    binaries: Path
    account: str | None

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """The file that the server logs to."""
        return self.data / "server.log"

    @property
    def socket(self) -> Path:
        """The socket's folder: in the root, or a private one in /tmp when that path is too long."""
        inside = self.root / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return SHORT / f"recall-{os.getuid()}-{short}"

    def url(self, database: str = "recall") -> str:
        """Return the URL of `database` on this server."""
        # Every part is spelled out: what a URL leaves out libpq takes from PG* variables.
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket))}&port={PORT}"


def alive(server: Server) -> bool:
    """Return whether the postmaster (the server's first process) lives; True when nobody can know.

    Read from its pid file and /proc: nothing connects and no program is run. A pid alone proves
    nothing, for it may be another program's by now, or a zombie's; a live postmaster's working
    folder is the data folder.
    """
    try:
        pid = _pid(server)
    except PermissionError:
        return True
    if pid is None:
        return False
    if PROCESSES.is_dir():
        return _inside(server, str(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def create_cluster(server: Server) -> None:
    """Make the cluster; raises Misconfigured with the reason when that cannot be done here."""
    # A half-made cluster of an interrupted first start has no PG_VERSION and nothing to lose.
    for entry in server.data.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    try:
        execute(
            server,
            [
                *("initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *("--no-instructions", "-D", str(server.data)),
            ],
        )
    except Unavailable as error:
        raise Misconfigured(
            f"The embedded Postgres cannot make its cluster in {server.data}: {error}. "
            "Give RECALL_HOME a folder with room, or set DATABASE_URL."
        ) from error


def check_major(server: Server) -> None:
    """Raise Misconfigured when another major version of Postgres made the cluster."""
    major = (server.data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    if major != MAJOR:
        raise Misconfigured(
            f"{server.data} was made by Postgres {major}, and recall carries {MAJOR}. Dump it "
            f"with Postgres {major} and restore it, or set RECALL_HOME to another folder."
        )


def boot(server: Server) -> None:
    """Start the server; raises Unavailable with its own last words when it does not."""
    _reap(server)
    options = " ".join(f"-c {name}={value}" for name, value in _memory_settings().items())
    options += f" -c listen_addresses='' -p {PORT} -k {shlex.quote(str(server.socket))}"
    command = ["pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", str(server.data)]
    began = time.monotonic()
    while True:
        try:
            execute(server, [*command, "-l", str(server.log), "-o", options])
            return
        except Unavailable as error:
            if answers(server):  # it was slow, or recovered from a crash
                return
            # A killed postmaster is dead a moment later, and its last children after it. Until
            # then its socket's lock may outlive its pid file.
            lingers = _lingers(server) or _exists(_pid(server))
            if time.monotonic() - began > (START_SECONDS if lingers else LAST_BREATH):
                raise Unavailable(
                    f"The embedded Postgres does not start: {_last_words(server)}; "
                    f"{server.log} says more."
                ) from error
            time.sleep(0.5)


def forget_stranger(server: Server) -> None:
    """Remove the pid file of a dead server when its pid is now another program's.

    Postgres would take that program for a server and refuse to start. Call it only when no process
    uses the cluster: in another container that shares the folder, pids mean other processes.
    """
    with suppress(OSError):
        # While children of the dead postmaster linger the file stays: by it Postgres refuses to
        # start a second server on the memory that they share.
        if _exists(_pid(server)) and not _lingers(server):
            (server.data / "postmaster.pid").unlink()


def answers(server: Server) -> bool:
    """Return whether the server takes connections."""
    try:
        execute(server, ["pg_isready", "-q", "-h", str(server.socket), "-p", str(PORT)])
    except Unavailable:
        return False
    return True


def stop(server: Server) -> None:
    """Stop the server, whoever is connected; raises Unavailable when it cannot be stopped.

    A server that cannot write its last checkpoint is stopped without it, and recovers at its next
    start.
    """
    command = ["pg_ctl", "stop", "-D", str(server.data), "-t", str(STOP_SECONDS), "-m"]
    try:
        execute(server, [*command, "fast"])
    except Unavailable:
        if alive(server):
            execute(server, [*command, "immediate"])


def execute(server: Server, command: Sequence[str]) -> None:
    """Run one of Postgres' programs as the server's account.

    Raises Unavailable with the program's own words when it fails.
    """
    program, *arguments = command
    # Not a pipe: the server that pg_ctl starts inherits it, and reading it would never end.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        done = subprocess.run(
            [server.binaries / program, *arguments],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={name: v for name, v in os.environ.items() if not name.startswith("PG")},
            user=server.account,
            group=server.account,
            extra_groups=[] if server.account else None,
            check=False,
        )
        if done.returncode != 0:
            output.seek(0)
            raise Unavailable(f"{program} failed: {_reason(output.read())}")


def _pid(server: Server) -> int | None:
    """Return the pid that the server wrote down; None when it wrote none."""
    try:
        with (server.data / "postmaster.pid").open(encoding="ascii", errors="replace") as file:
            return int(file.readline())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _inside(server: Server, process: str) -> bool:
    """Return whether a process works inside the data folder, as all of Postgres' do."""
    try:
        return (PROCESSES / process / "cwd").samefile(server.data)
    except OSError:  # gone, a zombie, or of somebody else
        return False


def _lingers(server: Server) -> bool:
    """Return whether processes of an earlier start are still there; True where nobody can tell."""
    if not PROCESSES.is_dir():
        return True
    return any(_inside(server, each.name) for each in PROCESSES.iterdir() if each.name.isdecimal())


def _exists(pid: int | None) -> bool:
    """Return whether a process has this number, be it dead and waiting for its parent."""
    return pid is not None and (PROCESSES / str(pid)).exists()


def _reap(server: Server) -> None:
    """Take leave of a dead postmaster that became our child: as pid 1 nobody else does.

    Until then its pid exists, and Postgres believes that it runs.
    """
    pid = _pid(server)
    if pid is not None:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _reason(output: str) -> str:
    """Return the line of a program's output that says why, without full stop."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search("error:|FATAL:", line)]
    said = (telling or lines or ["it said nothing"])[-1]
    return re.split(r"(?:error|FATAL):\s+", said)[-1].rstrip(".")


def _last_words(server: Server) -> str:
    """Return why the server did not start, from the end of its log."""
    try:
        with server.log.open("rb") as file:
            file.seek(max(0, server.log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return "its log cannot be read"
    return _reason(text)


def _memory_settings() -> dict[str, str]:
    """Return settings fit for this machine's memory, shared with a model and other programs."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    shared_memory = Path("/dev/shm")
    roomy = shared_memory.is_dir() and shutil.disk_usage(shared_memory).free >= 1 << 30
    return {
        "shared_buffers": f"{min(max(total // 8, 128), 2048)}MB",
        "effective_cache_size": f"{total // 2}MB",
        "maintenance_work_mem": f"{min(max(total // 12, 64), 2048)}MB",
        "work_mem": "16MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "max_connections": "200",
        # A container's /dev/shm is often 64 MB, too little for a parallel HNSW build.
        "dynamic_shared_memory_type": "posix" if roomy else "mmap",
        "unix_socket_permissions": "0700",
    }
